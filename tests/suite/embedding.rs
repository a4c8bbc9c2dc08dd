//! What a host engine relies on: recording only, steps that queue up, tensors that move, nothing of its own touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use miadam::{Binding, Error, Hyperparams, MiAdam, Param, ParamGroup};

use crate::common::{Gpu, Home, Random, Rig, Spot, gpu, scatter};

fn rig(gpu: Gpu, home: Home) -> Rig {
    let groups = [
        Hyperparams { order: 2, switch_step: 4, ..Hyperparams::default() },
        Hyperparams { order: 0, amsgrad: true, ..Hyperparams::default() },
    ];
    let lens = [(0, 1000), (0, 37), (1, 512), (1, 3)];
    let (buffers, spots) = scatter(&mut Random(3), &lens, home);
    let mut rig = Rig::new(gpu, &groups, &buffers, &spots, 4);
    let mut random = Random(5);
    rig.set_grads(|| random.normal());
    rig
}

#[test]
fn steps_recorded_before_one_submit_are_steps_each_with_its_own_lr() {
    let Some(gpu) = gpu() else { return };
    let lrs = [1e-3, 2e-3, 2e-3, 5e-4, 1e-3, 0.0];
    let [mut apart, mut together, mut in_pass] = [(); 3].map(|()| rig(gpu.clone(), Home::OnePool));
    for lr in lrs {
        apart.optimizer.set_lr(0, lr).unwrap();
        apart.step_gpu();
    }

    let mut encoder = gpu.encoder();
    for lr in lrs {
        together.optimizer.set_lr(0, lr).unwrap();
        together.optimizer.step(&mut encoder).unwrap();
    }
    gpu.submit(encoder);

    let mut encoder = gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for lr in lrs {
        in_pass.optimizer.set_lr(0, lr).unwrap();
        in_pass.optimizer.step_in_pass(&mut pass).unwrap();
    }
    drop(pass);
    gpu.submit(encoder);

    for other in [together, in_pass] {
        assert!(other.found() == apart.found());
        assert!(gpu.state(&other.optimizer) == gpu.state(&apart.optimizer));
    }
    assert_eq!(gpu.state(&apart.optimizer).step, 6);
}

#[test]
fn more_learning_rates_than_a_buffer_of_them_holds() {
    let Some(gpu) = gpu() else { return };
    let [mut apart, mut together] = [(); 2].map(|()| rig(gpu.clone(), Home::OnePool));
    let mut encoder = gpu.encoder();
    for step in 0..600 {
        let lr = 1e-3 / f64::from(1 + step);
        for rig in [&mut apart, &mut together] {
            rig.optimizer.set_lr(1, lr).unwrap();
        }
        apart.step_gpu();
        together.optimizer.step(&mut encoder).unwrap();
    }
    gpu.submit(encoder);
    assert!(together.found() == apart.found());
}

#[test]
fn a_dropped_encoder_takes_no_step() {
    let Some(gpu) = gpu() else { return };
    let mut rig = rig(gpu.clone(), Home::TwoPools);
    let before = rig.found();
    let mut encoder = gpu.encoder();
    rig.optimizer.step(&mut encoder).unwrap();
    let state = rig.optimizer.read_state(&mut encoder).unwrap();
    drop(encoder);
    assert!(rig.found() == before);
    assert_eq!(gpu.state(&rig.optimizer).step, 0);
    assert_eq!(pollster::block_on(state), Err(Error::ReadbackLost));
    rig.step_gpu();
    assert_eq!(gpu.state(&rig.optimizer).step, 1);
}

#[test]
fn a_moved_parameter_keeps_its_state() {
    let Some(gpu) = gpu() else { return };
    let hyperparams = Hyperparams { order: 3, ..Hyperparams::default() };
    let mut random = Random(8);
    let [values, grads] = [(); 2].map(|()| (0..1001).map(|_| random.normal()).collect::<Vec<_>>());
    // The same tensor at home and on the move: to other buffers, on and off the 16-byte grid.
    let mut results = Vec::new();
    for offsets in [[0, 0, 0, 0], [0, 4, 1, 7]] {
        let mut param = gpu.buffer_of(&values);
        let mut grad = gpu.buffer_of(&grads);
        let group = ParamGroup::new(hyperparams.clone(), [Param::new("w", 1001)]);
        let binding = Binding::new("w", &param, &grad);
        let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], [binding]).unwrap();
        let mut offset = 0;
        for next in offsets {
            if next != offset {
                let place = |buffer: &wgpu::Buffer| {
                    let mut padded = vec![0.0; next];
                    padded.extend(&gpu.floats(buffer)[offset..]);
                    gpu.buffer_of(&padded)
                };
                (param, grad) = (place(&param), place(&grad));
                let first = 4 * next as u64;
                optimizer.rebind([Binding::new("w", (&param, first), (&grad, first))]).unwrap();
                offset = next;
            }
            gpu.step(&mut optimizer);
        }
        let bits: Vec<_> = gpu.floats(&param)[offset..].iter().map(|value| value.to_bits()).collect();
        results.push((bits, gpu.state(&optimizer)));
    }
    assert!(results[0] == results[1]);
}

#[test]
fn a_moved_parameter_costs_its_own_dispatch() {
    let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
    let large = Spot { len: 40_000, param: (0, 0), grad: (1, 0), ..Spot::default() };
    let spots = [large, Spot { param: (2, 0), grad: (3, 0), ..large }, Spot { param: (4, 0), grad: (5, 0), ..large }];
    let mut rig = Rig::new(gpu.clone(), &[Hyperparams::default()], &[40_000; 6], &spots, 3);
    rig.step_gpu();
    gpu.wait();
    let fresh = gpu.buffer_of(&vec![0.0; 40_000]);
    let before = gpu.live_objects();
    // The gradient of one tensor, in another buffer at the same offset: its bind group is replaced, and nothing else
    // is made. (Buffers that wgpu had for its own writes may have gone meanwhile.)
    rig.optimizer.rebind([Binding::new("tensor.1", &rig.buffers[2], &fresh)]).unwrap();
    assert_eq!(rig.optimizer.dispatches().unwrap(), 4);
    gpu.wait();
    let after = gpu.live_objects();
    assert!(after[0] <= before[0] && after[1] == before[1], "{after:?} after {before:?}");
}

#[test]
fn parameters_can_trade_places_between_recorded_steps() {
    let Some(gpu) = gpu() else { return };
    let spots = [0, 64].map(|at| Spot { len: 64, param: (0, at), grad: (1, at), ..Spot::default() });
    let mut rig = Rig::new(gpu.clone(), &[Hyperparams::default()], &[128, 128], &spots, 9);
    let mut random = Random(10);
    rig.set_grads(|| random.normal());
    // Two recorded steps under two plans before one submit: the later plan must not reach the earlier step.
    let mut encoder = gpu.encoder();
    rig.optimizer.step(&mut encoder).unwrap();
    let [first, second] = [rig.spots[0], rig.spots[1]];
    rig.optimizer.rebind([second.bind("tensor.0", &rig.buffers)]).unwrap();
    assert!(matches!(rig.optimizer.step(&mut encoder), Err(Error::Overlap { .. })), "two at one place");
    rig.optimizer.rebind([first.bind("tensor.1", &rig.buffers)]).unwrap();
    rig.optimizer.step(&mut encoder).unwrap();
    gpu.submit(encoder);

    rig.step_twin();
    for buffer in &mut rig.expected {
        buffer.rotate_left(64);
    }
    rig.step_twin();
    for buffer in &mut rig.expected {
        buffer.rotate_left(64);
    }
    let found = rig.found();
    for spot in &rig.spots {
        for (found, expected) in spot.param_in(&found).iter().zip(&spot.param_in(&rig.expected)[..]) {
            // Two steps of 1e-3 each, against a handful of roundings.
            assert!((found - expected).abs() <= 32.0 * f32::EPSILON * 2e-3 + f32::EPSILON * expected.abs());
        }
    }
    rig.assert_untouched(&found);
}

#[test]
fn a_steady_step_makes_nothing() {
    for home in [Home::OnePool, Home::Separate] {
        // Counters are the device's: nothing else may run on it, hence a device of its own.
        let Some(own) = Gpu::new(wgpu::Limits::default()) else { return };
        let mut rig = rig(own.clone(), home);
        rig.step_gpu();
        own.wait();
        let mut encoder = own.encoder();
        let before = own.live_objects();
        assert!(before[0] > 0, "the counters count");
        for _ in 0..10 {
            // A host that names the same places again costs nothing, either.
            rig.rebind();
            rig.optimizer.step(&mut encoder).unwrap();
        }
        assert_eq!(own.live_objects(), before);
        own.submit(encoder);
        assert!(rig.optimizer.dispatches().unwrap() <= 5);
    }
}

#[test]
fn a_lost_device_is_an_error_and_no_panic() {
    let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
    let mut rig = rig(gpu.clone(), Home::TwoPools);
    rig.step_gpu();
    gpu.wait();
    let mut encoder = gpu.encoder();
    gpu.device.destroy();
    assert_eq!(rig.optimizer.step(&mut encoder), Err(Error::DeviceLost));
    assert_eq!(rig.optimizer.read_state(&mut encoder).err(), Some(Error::DeviceLost));
    let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", 4)]);
    let binding = Binding::new("w", &rig.buffers[0], &rig.buffers[1]);
    assert_eq!(MiAdam::new(&gpu.device, &gpu.queue, [group], [binding]).err(), Some(Error::DeviceLost));
}

#[test]
fn the_hosts_error_handler_stays_its_own() {
    let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
    let caught = Arc::new(AtomicUsize::new(0));
    let handler = Arc::clone(&caught);
    gpu.device.on_uncaptured_error(Arc::new(move |_| {
        handler.fetch_add(1, Ordering::Relaxed);
    }));
    // A buffer that is gone: wgpu itself refuses to bind it.
    let buffer = gpu.buffer_of(&[0.0; 8]);
    let gone = gpu.buffer_of(&[0.0; 8]);
    gone.destroy();
    let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", 8)]);
    let error = MiAdam::new(&gpu.device, &gpu.queue, [group], [Binding::new("w", &buffer, &gone)]).unwrap_err();
    assert!(matches!(error, Error::RefusedBuffer { role: miadam::Role::Grad, .. }), "{error:?}");
    assert_eq!(caught.load(Ordering::Relaxed), 0, "the optimizer's errors are its own");

    let _ = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::MAX / 2,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    assert_eq!(caught.load(Ordering::Relaxed), 1, "the host's errors still reach the host");
    let mut rig = rig(gpu, Home::TwoPools);
    rig.step_gpu();
    assert_eq!(rig.gpu.state(&rig.optimizer).step, 1);
}
