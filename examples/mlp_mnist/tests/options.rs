//! What each option of the training loop does.

use miadam::{Dtype, GradOptions, GradScaler, Hyperparams, Phase, Report, Schedule};
use miadam_support::mnist::network::Weights;

use super::{Outcome, assert_near, devices, moves, smooth, train, train_from, weights};
use crate::recipe::Recipe;

fn with(grad_options: GradOptions, recipe: Recipe) -> Recipe {
    Recipe { grad_options, ..recipe }
}

/// The gradients of these, of 8 and more, overflow under the largest loss scale.
fn steep() -> Weights {
    let mut weights = weights();
    weights.w2.iter_mut().for_each(|weight| *weight *= 60.0);
    weights
}

/// The largest loss scale.
fn too_large() -> GradScaler {
    GradScaler { init_scale: 2.0f64.powi(126), ..GradScaler::default() }
}

/// Steps of so many batches of so many samples.
fn groups_of(accumulate: usize, batch_size: usize) -> Recipe {
    Recipe { accumulate, ..Recipe::new(smooth(), batch_size) }
}

#[test]
fn two_batches_added_up_are_one_of_twice_the_size() {
    for on in devices() {
        let (found, expected) = (train(on, 512, groups_of(2, 64)), train(on, 512, groups_of(1, 128)));
        assert_eq!(found.report.step, 4, "{on:?}");
        assert_near(&found.weights, &expected.weights, &weights(), &format!("{on:?}"));
    }
}

#[test]
fn a_shorter_last_group_is_averaged_over_its_own_count() {
    let train = |on, recipe, epochs| train_from(weights(), on, 192, recipe, epochs);
    // Groups of 2 batches and of 1, in each of two epochs.
    let outcomes: Vec<_> = devices().into_iter().map(|on| train(on, groups_of(2, 64), 2)).collect();
    for found in &outcomes {
        assert_eq!(found.report.step, 4);
        assert_near(&found.weights, &outcomes[0].weights, &weights(), "another device");
    }
    for on in devices() {
        // All three batches in one group that asks for eight.
        let (found, expected) = (train(on, groups_of(8, 64), 3), train(on, groups_of(1, 192), 3));
        assert_near(&found.weights, &expected.weights, &weights(), &format!("{on:?}"));
    }
}

#[test]
fn clipping_bounds_the_step_and_not_the_norm_reported() {
    // The first step of this Adam is lr·g / (|g| + 1) for each element.
    let recipe = || Recipe::new(Hyperparams { order: 0, ..smooth() }, 64);
    for on in devices() {
        let measured =
            train(on, 64, with(GradOptions { clip_norm: Some(f64::INFINITY), ..GradOptions::default() }, recipe()));
        let plain = train(on, 64, recipe());
        assert_eq!(measured.weights, plain.weights, "{on:?}: measuring changes the step");
        assert_eq!(plain.report.grad_norm, None);
        let norm = measured.report.grad_norm.unwrap();
        assert!(norm > 0.1, "{on:?}: {norm}");

        let largest = |outcome: &Outcome| moves(&weights(), &outcome.weights).into_iter().fold(0.0, f32::max);
        let by_norm = train(on, 64, with(GradOptions { clip_norm: Some(1e-4), ..GradOptions::default() }, recipe()));
        let by_value = train(on, 64, with(GradOptions { clip_value: Some(1e-4), ..GradOptions::default() }, recipe()));
        assert_eq!(by_norm.report.grad_norm, Some(norm), "{on:?}: the norm is that before clipping");
        assert!(largest(&plain) > 1e-2, "{on:?}");
        for clipped in [by_norm, by_value] {
            // The bound allows for the rounding of the weights, which are below 1.
            let largest = largest(&clipped);
            assert!(largest > 1e-6 && largest < 0.3 * 1e-4 + f32::EPSILON, "{on:?}: {largest}");
        }
    }
}

#[test]
fn a_power_of_two_as_loss_scale_changes_no_bit() {
    for on in devices() {
        // In f16, gradients underflow without a scale.
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let recipe = || Recipe { dtype, ..Recipe::new(Hyperparams::default(), 64) };
            let plain = train_from(weights(), on, 320, recipe(), 3);
            let scaler = GradScaler { growth_interval: 6, ..GradScaler::default() };
            let options = GradOptions { scaler: Some(scaler), ..GradOptions::default() };
            let scaled = train_from(weights(), on, 320, with(options, recipe()), 3);
            assert_eq!(scaled.weights, plain.weights, "{on:?} in {dtype}");
            // 15 steps: it has doubled twice.
            let Report { step, skipped, loss_scale, .. } = scaled.report;
            assert_eq!((step, skipped, loss_scale), (15, 0, 4.0 * 65_536.0), "{on:?} in {dtype}");
            assert_eq!(plain.report.loss_scale, 1.0);
        }
    }
}

#[test]
fn a_loss_scale_that_is_too_large_comes_down() {
    for on in devices() {
        for accumulate in [1, 2] {
            let options = GradOptions { scaler: Some(too_large()), ..GradOptions::default() };
            let outcome = train_from(steep(), on, 320, with(options, groups_of(accumulate, 8)), 1);
            let Report { step, skipped, loss_scale, .. } = outcome.report;
            assert_eq!(step + skipped, 40 / accumulate as u32, "{on:?}");
            assert!(skipped > 0 && step > 0, "{on:?}: {skipped} skipped, {step} taken");
            assert_eq!(loss_scale, 2.0f32.powi(126 - skipped as i32), "{on:?}");
            assert!(outcome.weights.tensors().into_iter().flatten().all(|weight| weight.is_finite()), "{on:?}");
        }
    }
}

#[test]
fn gradients_that_are_not_finite_are_skipped_on_request() {
    let mut broken = weights();
    broken.b2[3] = f32::INFINITY;
    for on in devices() {
        let outcome = train_from(broken.clone(), on, 192, groups_of(1, 64), 1);
        assert!(outcome.weights.w1.iter().any(|weight| weight.is_nan()), "{on:?}");
        let options = GradOptions { skip_non_finite: true, ..GradOptions::default() };
        for accumulate in [1, 2] {
            let recipe = with(options, groups_of(accumulate, 64));
            let Outcome { weights, report } = train_from(broken.clone(), on, 192, recipe, 1);
            assert_eq!(weights, broken, "{on:?}");
            assert_eq!((report.step, report.skipped), (0, 3u32.div_ceil(accumulate as u32)), "{on:?}");
        }
    }
}

#[test]
fn reports_tell_the_learning_rate_and_the_phase() {
    let schedule = Schedule::MultiStep { at: vec![5, 15], gamma: 0.1 };
    for on in devices() {
        // 5 batches in an epoch.
        for (epochs, lr, phase) in [(1, 1e-3, Phase::Integrating), (2, 1e-4, Phase::Adam), (4, 1e-5, Phase::Adam)] {
            let hyperparams = Hyperparams { schedule: schedule.clone(), switch_step: 6, ..Hyperparams::default() };
            let report = train_from(weights(), on, 320, Recipe::new(hyperparams, 64), epochs).report;
            assert_eq!(report.groups[0].lr as f32, lr, "{on:?}");
            assert_eq!(report.groups[0].phase, phase, "{on:?}");
        }
    }
}

#[test]
fn devices_agree_with_all_options_together() {
    let [cpu, gpu] = devices()[..] else { return };
    let schedule = Schedule::OneCycle { steps: 12, warmup: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
    let hyperparams = Hyperparams { schedule, switch_step: 7, ..smooth() };
    let grad_options = GradOptions {
        clip_norm: Some(0.5),
        clip_value: Some(0.1),
        skip_non_finite: true,
        // One skip is enough everywhere, although the GPU, whose pixels go up to 255, overflows at smaller ones.
        scaler: Some(GradScaler { backoff_factor: 2.0f64.powi(-40), ..too_large() }),
        ..GradOptions::default()
    };
    // 5 batches of 64 and one of 50: 3 steps an epoch.
    let recipe = Recipe { accumulate: 2, grad_options, ..Recipe::new(hyperparams, 64) };
    let [mut on_cpu, mut on_gpu] = [cpu, gpu].map(|on| train_from(steep(), on, 370, recipe.clone(), 4));
    assert_eq!((on_cpu.report.step, on_cpu.report.skipped), (11, 1));
    assert_near(&on_gpu.weights, &on_cpu.weights, &steep(), "the GPU");
    let [cpu_norm, gpu_norm] = [&mut on_cpu, &mut on_gpu].map(|outcome| outcome.report.grad_norm.take().unwrap());
    // A gradient differs by as small a part as the weights that it is of; see `assert_near`.
    assert!((gpu_norm - cpu_norm).abs() < 1e-5 * cpu_norm, "{gpu_norm}, not {cpu_norm}");
    assert_eq!(on_gpu.report, on_cpu.report);
}
