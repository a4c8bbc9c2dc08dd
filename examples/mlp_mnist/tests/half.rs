//! Weights and gradients in half precision.

use miadam::{Dtype, HalfParams, Hyperparams};
use miadam_support::mnist::network::Weights;
use miadam_support::values::Values;

use super::{devices, moves, smooth, train, trainer, weights};
use crate::recipe::Recipe;

/// The distance between neighbouring numbers from a power of two up, as a part of that power.
fn ulp(dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F32 => f32::EPSILON,
        Dtype::F16 => 2.0f32.powi(-10),
        Dtype::Bf16 => 2.0f32.powi(-7),
    }
}

#[test]
fn devices_agree_in_half_precision() {
    let [cpu, gpu] = devices()[..] else { return };
    for dtype in [Dtype::F16, Dtype::Bf16] {
        for accumulate in [1, 2] {
            // One step is enough: from the second on, a hidden unit near 0 may be on in one and off in the other.
            let recipe = Recipe { dtype, accumulate, ..Recipe::new(smooth(), 64) };
            let [on_cpu, on_gpu] = [cpu, gpu].map(|on| train(on, 64 * accumulate, recipe.clone()).weights);
            let far = moves(&weights(), &on_cpu);
            let tensors = on_gpu.tensors().into_iter().zip(on_cpu.tensors()).enumerate();
            for (tensor, (found, expected)) in tensors {
                assert_eq!(Values::new(dtype, found).single(), found, "not {dtype}");
                for (found, expected) in found.iter().zip(expected) {
                    // The weight itself is rounded. So are its gradient and the sum of gradients, which decide on the way
                    // that it has come.
                    let bound = ulp(dtype) * (expected.abs() + 2.0 * far[tensor]);
                    let name = Weights::NAMES[tensor];
                    assert!((found - expected).abs() <= bound, "{dtype}: {name} {found}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn half_precision_learns_what_single_does() {
    for on in devices() {
        let [single, f16, bf16] = [Dtype::F32, Dtype::F16, Dtype::Bf16].map(|dtype| {
            let recipe = Recipe { dtype, ..Recipe::new(Hyperparams::default(), 64) };
            let mut trainer = trainer(on, 512, weights(), recipe);
            let order: Vec<u32> = (0..512).collect();
            std::array::from_fn::<_, 4, _>(|_| trainer.epoch(&order).loss)[3]
        });
        for half in [f16, bf16] {
            // The loss has fallen from ln 10 by more than a third; bf16 rounds by up to a 256th.
            assert!(single < 1.5 && (half - single).abs() < 0.01 * single, "{on:?}: {half}, not {single}");
        }
    }
}

#[test]
fn stochastic_rounding_moves_weights_that_nearest_rounding_holds() {
    // Steps of about 2e-6, a fiftieth of what bf16 weights of 0.02 and more are apart.
    let hyperparams = Hyperparams { lr: 2e-6, order: 0, ..Hyperparams::default() };
    for on in devices() {
        let run = |half_params| {
            let hyperparams = Hyperparams { half_params, ..hyperparams.clone() };
            let recipe = Recipe { dtype: Dtype::Bf16, ..Recipe::new(hyperparams, 32) };
            train(on, 32, recipe).weights.w1
        };
        let start = Values::new(Dtype::Bf16, &weights().w1).single();
        let moved = |weights: &[f32]| {
            weights.iter().zip(&start).filter(|(now, start)| start.abs() > 0.02 && now != start).count()
        };
        assert_eq!(moved(&run(HalfParams::Master)), 0, "{on:?}");
        let first = run(HalfParams::Stochastic { seed: 1 });
        assert_eq!(first, run(HalfParams::Stochastic { seed: 1 }), "{on:?}: not repeatable");
        assert_ne!(first, run(HalfParams::Stochastic { seed: 2 }), "{on:?}: not by the seed");
        assert!(moved(&first) > 20, "{on:?}: {} moved", moved(&first));
    }
}
