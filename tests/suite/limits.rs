//! Tensors and state above what one binding or one buffer of the device holds.

use miadam::Hyperparams;

use crate::common::{Gpu, Random, Rig, Spot, gpu};

/// Steps twice and compares every element with the CPU twin.
fn assert_steps(mut rig: Rig) {
    let mut random = Random(2);
    for _ in 0..2 {
        rig.set_grads(|| random.uniform() - 0.25);
        rig.step_gpu();
        rig.step_twin();
        rig.gpu.wait();
    }
    let found = rig.found();
    for spot in &rig.spots {
        for i in 0..spot.len {
            let [found, expected] = [&found, &rig.expected].map(|buffers| buffers[spot.param.0][spot.param.1 + i]);
            // Two steps of about 1e-3, a handful of roundings each.
            assert!((found - expected).abs() <= 2e-3 * 32.0 * f32::EPSILON + f32::EPSILON * expected.abs(), "{i}");
        }
    }
    rig.assert_untouched(&found);
}

#[test]
fn forty_million_elements_step_with_bindings_of_128_mib() {
    let Some(gpu) = gpu() else { return };
    assert_eq!(gpu.device.limits().max_storage_buffer_binding_size, 128 << 20);
    let spot = Spot { group: 0, len: 40_000_001, param: (0, 0), grad: (1, 0) };
    assert_steps(Rig::new(gpu, &[Hyperparams::default()], &[spot.len, spot.len], &[spot], 1));
}

#[test]
fn a_pool_above_a_binding_is_split() {
    // 1 MiB a binding, 3 MiB of parameters and gradients, first apart and then interleaved, on and off the grid.
    let limits =
        wgpu::Limits { max_storage_buffer_binding_size: 1 << 20, max_buffer_size: 4 << 20, ..Default::default() };
    let Some(gpu) = Gpu::new(limits) else { return };
    let hyperparams =
        [Hyperparams { order: 3, ..Hyperparams::default() }, Hyperparams { order: 0, ..Hyperparams::default() }];
    let len = 60_001;
    for stride in [60_001, 60_004] {
        let apart = (0..6).map(|n| Spot { group: n / 3, len, param: (0, stride * n), grad: (0, stride * (6 + n)) });
        let mixed =
            (0..6).map(|n| Spot { group: n / 3, len, param: (0, stride * 2 * n), grad: (0, stride * (2 * n + 1)) });
        for spots in [apart.collect::<Vec<_>>(), mixed.collect()] {
            assert_steps(Rig::new(gpu.clone(), &hyperparams, &[12 * stride], &spots, 3));
        }
    }
}
