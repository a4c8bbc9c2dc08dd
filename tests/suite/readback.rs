//! Waiting for what is read back.

use std::time::{Duration, Instant};

use miadam::{Binding, Error, Hyperparams, MiAdam, Param, ParamGroup, Plane};

use crate::common::{Gpu, gpu};

/// One parameter of four elements, with a gradient of 1.
fn optimizer(gpu: &Gpu) -> MiAdam {
    let buffers = [gpu.buffer_of(&[0.0; 4]), gpu.buffer_of(&[1.0; 4])];
    let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", 4)]);
    MiAdam::new(&gpu.device, &gpu.queue, [group], [Binding::new("w", &buffers[0], &buffers[1])]).unwrap()
}

#[test]
fn a_wait_ends_with_the_value() {
    let Some(gpu) = gpu() else { return };
    let mut optimizer = optimizer(&gpu);
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).unwrap();
    let report = optimizer.read_report(&mut encoder).unwrap();
    let state = optimizer.read_state(&mut encoder).unwrap();
    let checkpoint = optimizer.read_checkpoint(&mut encoder, true).unwrap();
    // What is recorded later is not in them.
    optimizer.step(&mut encoder).unwrap();
    gpu.submit(encoder);
    let (report, state) = (report.wait().unwrap(), state.wait().unwrap());
    let checkpoint = checkpoint.wait().unwrap();
    assert_eq!([report.step, state.step, checkpoint.step()], [1; 3]);
    assert_eq!(state.params, checkpoint.states());
    let first_moment = state.params[0].plane(Plane::FirstMoment).unwrap();
    // 1 - β1 times 1, rounded once.
    assert!(first_moment.iter().all(|m| (m - 0.1).abs() <= f32::EPSILON * 0.1), "{first_moment:?}");
    assert_eq!(gpu.report(&optimizer).step, 2);
}

#[test]
fn a_future_is_there_once_the_device_is_polled() {
    let Some(gpu) = gpu() else { return };
    let optimizer = optimizer(&gpu);
    let mut encoder = gpu.encoder();
    let report = optimizer.read_report(&mut encoder).unwrap();
    gpu.submit(encoder);
    gpu.wait();
    assert_eq!(pollster::block_on(report).unwrap().step, 0);
}

#[test]
fn a_dropped_encoder_loses_it_at_once() {
    let Some(gpu) = gpu() else { return };
    let optimizer = optimizer(&gpu);
    let mut encoder = gpu.encoder();
    let (report, state) = (optimizer.read_report(&mut encoder).unwrap(), optimizer.read_state(&mut encoder).unwrap());
    drop(encoder);
    assert_eq!(report.wait(), Err(Error::ReadbackLost));
    assert_eq!(pollster::block_on(state), Err(Error::ReadbackLost));
}

#[test]
fn an_encoder_that_is_not_submitted_does_not_hang_it() {
    // A device of its own, which nobody else keeps busy.
    let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
    let optimizer = optimizer(&gpu);
    let mut encoder = gpu.encoder();
    let report = optimizer.read_report(&mut encoder).unwrap();
    let start = Instant::now();
    assert_eq!(report.wait(), Err(Error::ReadbackLost));
    let waited = start.elapsed();
    // About a second; more where the machine is busy.
    assert!(waited > Duration::from_millis(500) && waited < Duration::from_secs(20), "{waited:?}");
    // What comes late is for nobody, and does no harm.
    gpu.submit(encoder);
    gpu.wait();
    assert_eq!(gpu.report(&optimizer).step, 0);
}

/// However long the device takes for what was submitted before.
#[test]
fn a_device_that_is_busy_is_waited_for() {
    let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
    let len = 1 << 22;
    let buffers = [gpu.buffer_of(&vec![0.0; len]), gpu.buffer_of(&vec![1.0; len])];
    let group = ParamGroup::new(Hyperparams { order: 3, ..Hyperparams::default() }, [Param::new("w", len)]);
    let binding = Binding::new("w", &buffers[0], &buffers[1]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], [binding]).unwrap();
    // The first compiles.
    gpu.step(&mut optimizer);
    gpu.wait();
    let start = Instant::now();
    gpu.step(&mut optimizer);
    gpu.wait();
    // Enough for two seconds, at least on a software driver.
    let steps = (2.0 / start.elapsed().as_secs_f64()).ceil().min(1000.0) as u32;
    let mut encoder = gpu.encoder();
    (0..steps).for_each(|_| optimizer.step(&mut encoder).unwrap());
    let report = optimizer.read_report(&mut encoder).unwrap();
    gpu.submit(encoder);
    assert_eq!(report.wait().unwrap().step, 2 + steps);
}

#[test]
fn a_lost_device_is_an_error_and_no_panic() {
    for is_submitted in [true, false] {
        let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
        let optimizer = optimizer(&gpu);
        let mut encoder = gpu.encoder();
        let report = optimizer.read_report(&mut encoder).unwrap();
        if is_submitted {
            gpu.submit(encoder);
            gpu.device.destroy();
            // The device may have been done before.
            let report = report.wait();
            assert!(matches!(report, Ok(_) | Err(Error::DeviceLost | Error::ReadbackLost)), "{report:?}");
        } else {
            gpu.device.destroy();
            let report = report.wait();
            assert!(matches!(report, Err(Error::DeviceLost | Error::ReadbackLost)), "{report:?}");
        }
    }
}
