//! Encoders that wgpu refuses. The host submits them all the same, and its readbacks must not be taken for values.

use std::sync::Arc;

use miadam::{Binding, Error, Hyperparams, MiAdam, Param, ParamGroup};

use crate::common::{Gpu, gpu};

fn optimizer(gpu: &Gpu, len: usize) -> MiAdam {
    let [param, grad] = [0; 2].map(|_| gpu.buffer_of(&vec![1.0; len.max(4)]));
    let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", len)]);
    MiAdam::new(&gpu.device, &gpu.queue, [group], [Binding::new("w", &param, &grad)]).unwrap()
}

/// Commands that wgpu refuses, each for another reason.
fn spoil(gpu: &Gpu, encoder: &mut wgpu::CommandEncoder, reason: usize) {
    let [small, other] = [0; 2].map(|_| gpu.buffer_of(&[0.0; 4]));
    match reason {
        0 => encoder.copy_buffer_to_buffer(&small, 0, &other, 0, 4096),
        1 => encoder.copy_buffer_to_buffer(&small, 0, &small, 0, 16),
        2 => encoder.clear_buffer(&small, 3, None),
        _ => {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            // Without a pipeline.
            pass.dispatch_workgroups(1, 1, 1);
        }
    }
}

#[test]
fn a_readback_of_a_refused_encoder_is_lost() {
    // A device of its own, since an uncaptured error would end the tests that share one.
    let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
    gpu.device.on_uncaptured_error(Arc::new(|_| {}));
    for reason in 0..4 {
        for is_first in [false, true] {
            let mut optimizer = optimizer(&gpu, 5);
            gpu.step(&mut optimizer);
            let mut encoder = gpu.encoder();
            if is_first {
                spoil(&gpu, &mut encoder, reason);
            }
            optimizer.step(&mut encoder).unwrap();
            let report = optimizer.read_report(&mut encoder).unwrap();
            let state = optimizer.read_state(&mut encoder).unwrap();
            let checkpoint = optimizer.read_checkpoint(&mut encoder, true).unwrap();
            if !is_first {
                spoil(&gpu, &mut encoder, reason);
            }
            gpu.submit(encoder);
            assert_eq!(report.wait().err(), Some(Error::ReadbackLost), "{reason}");
            assert_eq!(state.wait().err(), Some(Error::ReadbackLost), "{reason}");
            assert_eq!(checkpoint.wait().err(), Some(Error::ReadbackLost), "{reason}");
            // And the optimizer goes on from before.
            assert_eq!(gpu.report(&optimizer).step, 1);
            gpu.step(&mut optimizer);
            assert_eq!(gpu.report(&optimizer).step, 2);
        }
    }
}

#[test]
fn zeros_that_the_device_has_written_are_read() {
    let Some(gpu) = gpu() else { return };
    for len in [0, 5] {
        let optimizer = optimizer(&gpu, len);
        assert_eq!(gpu.report(&optimizer).step, 0);
        let state = gpu.state(&optimizer);
        assert!(state.step == 0 && state.params[0].len() == len);
        let checkpoint = gpu.checkpoint(&optimizer, true);
        assert_eq!((checkpoint.step(), checkpoint.states()[0].len()), (0, len));
    }
}
