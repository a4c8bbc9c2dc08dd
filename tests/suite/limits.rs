//! Tensors and state above what one binding or one buffer of the device holds.

use miadam::{Hyperparams, StepScale};

use crate::common::{Gpu, Random, Rig, Spot, gpu};
use crate::parity::assert_parity;

#[test]
fn forty_million_elements_step_with_bindings_of_128_mib() {
    let Some(gpu) = gpu() else { return };
    assert_eq!(gpu.device.limits().max_storage_buffer_binding_size, 128 << 20);
    let spot = Spot { len: 40_000_001, param: (0, 0), grad: (1, 0), ..Spot::default() };
    assert_parity(&mut Rig::new(gpu, &[Hyperparams::default()], &[spot.len, spot.len], &[spot], 1), 2, &mut Random(2));
}

#[test]
fn a_pool_above_a_binding_is_split() {
    // 1 MiB a binding, 3 MiB of parameters and gradients, first apart and then interleaved, on and off the grid.
    let limits =
        wgpu::Limits { max_storage_buffer_binding_size: 1 << 20, max_buffer_size: 4 << 20, ..Default::default() };
    let Some(gpu) = Gpu::new(limits) else { return };
    // At order 3 a step by the paper's scale is no larger than the rounding of θ, so that none would pass for one.
    let hyperparams =
        [3, 0].map(|order| Hyperparams { order, step_scale: StepScale::UnitGain, ..Hyperparams::default() });
    let len = 60_001;
    for stride in [60_001, 60_004] {
        let spot = |n, [param, grad]: [usize; 2]| Spot {
            group: n / 3,
            len,
            param: (0, stride * param),
            grad: (0, stride * grad),
            ..Spot::default()
        };
        let apart = (0..6).map(|n| spot(n, [n, 6 + n]));
        let mixed = (0..6).map(|n| spot(n, [2 * n, 2 * n + 1]));
        for spots in [apart.collect::<Vec<_>>(), mixed.collect()] {
            assert_parity(&mut Rig::new(gpu.clone(), &hyperparams, &[12 * stride], &spots, 3), 2, &mut Random(2));
        }
    }
}
