//! State in fewer bits, on the GPU and on the CPU.

use miadam::{Hyperparams, StatePrecision, StepScale};

use crate::common::{Home, Random, Rig, gpu, scatter};

const PACKED: [StatePrecision; 2] = [StatePrecision::Bf16, StatePrecision::Q8];

/// Lengths around a cell, a chunk and a workgroup's work, all of which are kept in fewer bits, and one that is not.
const LENS: [usize; 8] = [4096, 4097, 4103, 4111, 5000, 16_384, 40_003, 1757];

#[test]
fn plain_steps_have_the_twins_bits() {
    let Some(gpu) = gpu() else { return };
    for state_precision in PACKED {
        for home in [Home::OnePool, Home::TwoPools, Home::Separate, Home::Mixed] {
            for order in [0, 1, 3, 5] {
                let step_scale = StepScale::UnitGain;
                let hyperparams =
                    Hyperparams { order, step_scale, state_precision, switch_step: 5, ..Hyperparams::default() };
                let lens: Vec<_> = LENS.iter().map(|&len| (0, len)).collect();
                let (buffers, spots) = scatter(&mut Random(3), &lens, home);
                let mut rig = Rig::new(gpu.clone(), &[hyperparams], &buffers, &spots, 4);
                let mut random = Random(5);
                for step in 1..=6 {
                    rig.set_grads(|| random.normal());
                    rig.step_gpu();
                    rig.step_twin();
                    let found = rig.found();
                    let (state, twin) = (rig.gpu.state(&rig.optimizer), rig.twin.read_state());
                    for ((spot, state), twin) in rig.spots.iter().zip(&state.params).zip(&twin.params) {
                        for ((plane, found), (_, expected)) in state.planes().zip(twin.planes()) {
                            let differ = found.iter().zip(expected).position(|(a, b)| a != b);
                            let at = differ.map(|at| (at, found[at], expected[at]));
                            assert!(
                                at.is_none(),
                                "{plane} after step {step}, {spot:?}, {home:?}, {state_precision:?}: {at:?}"
                            );
                        }
                        let [found, expected] = [&found, &rig.expected].map(|contents| spot.param_in(contents));
                        assert!(found == expected, "after step {step}, {spot:?}, {home:?}, {state_precision:?}");
                    }
                }
            }
        }
    }
}
