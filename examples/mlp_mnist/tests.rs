//! What each option of the training loop does, on the CPU and on the GPU.

use miadam::{Dtype, GradOptions, GradScaler, HalfParams, Hyperparams, Phase, Report, Schedule};

use crate::adapter::AdapterError;
use crate::cpu::CpuTrainer;
use crate::data::{Data, Samples};
use crate::gpu::{Gpu, GpuTrainer};
use crate::network::{INPUTS, Trainer, Weights};
use crate::random::Random;
use crate::recipe::Recipe;
use crate::values::Values;

/// An adapter, or nothing if MIADAM_ALLOW_NO_ADAPTER says that this is all right.
pub fn gpu() -> Option<Gpu> {
    match Gpu::open(None) {
        Ok(gpu) => Some(gpu),
        Err(error @ AdapterError::Missing) if std::env::var_os("MIADAM_ALLOW_NO_ADAPTER").is_some() => {
            eprintln!("not tested: {error}");
            None
        }
        Err(error) => panic!("{error}; or set MIADAM_ALLOW_NO_ADAPTER to skip this test"),
    }
}

/// So many of the built-in digits, and the first 300 of them to test on: more than a batch, and no multiple of 8.
pub fn data(samples: usize) -> Data {
    let all = Data::built_in().unwrap().train;
    let first = |count| Samples { images: all.images[..count * INPUTS].to_vec(), labels: all.labels[..count].to_vec() };
    Data { train: first(samples), test: first(300) }
}

/// Where to train.
#[derive(Debug, Clone, Copy, PartialEq)]
enum On {
    Cpu,
    Gpu,
}

/// The devices that there are.
fn devices() -> Vec<On> {
    let mut devices = vec![On::Cpu];
    devices.extend(gpu().map(|_| On::Gpu));
    devices
}

/// What a training leaves behind.
#[derive(Debug, PartialEq)]
struct Outcome {
    weights: Weights,
    report: Report,
}

impl Outcome {
    fn is_finite(&self) -> bool {
        self.weights.tensors().into_iter().flatten().all(|weight| weight.is_finite())
    }
}

fn weights() -> Weights {
    Weights::random(24, &mut Random::new(7, 2))
}

fn trainer(on: On, samples: usize, weights: Weights, recipe: Recipe) -> Box<dyn Trainer> {
    let data = data(samples);
    match on {
        On::Cpu => Box::new(CpuTrainer::new(data, weights, recipe).unwrap()),
        On::Gpu => Box::new(GpuTrainer::new(gpu().unwrap(), &data, &weights, recipe).unwrap()),
    }
}

/// So many epochs over so many samples in their own order.
fn train_from(weights: Weights, on: On, samples: usize, recipe: Recipe, epochs: usize) -> Outcome {
    let mut trainer = trainer(on, samples, weights, recipe);
    let order: Vec<u32> = (0..samples as u32).collect();
    for _ in 0..epochs {
        trainer.epoch(&order);
    }
    Outcome { report: trainer.report().unwrap(), weights: trainer.weights() }
}

fn train(on: On, samples: usize, recipe: Recipe) -> Outcome {
    train_from(weights(), on, samples, recipe, 1)
}

/// A step all but proportional to the gradient. Adam's own is its sign, in effect, and where a gradient is near 0,
/// rounding decides that.
fn smooth() -> Hyperparams {
    Hyperparams { lr: 0.3, eps: 1.0, ..Hyperparams::default() }
}

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

/// The furthest that an element of each tensor has moved from its first value.
fn moves(start: &Weights, weights: &Weights) -> [f32; 4] {
    let mut pairs = weights.tensors().into_iter().zip(start.tensors());
    std::array::from_fn(|_| {
        let (tensor, start) = pairs.next().unwrap();
        tensor.iter().zip(start).fold(0.0, |most, (weight, start)| (weight - start).abs().max(most))
    })
}

/// Equal but for a hundred-thousandth of the way that the tensor went, and the last bits of the weights themselves.
fn assert_near(found: &Weights, expected: &Weights, start: &Weights, what: &str) {
    let moves = moves(start, expected);
    for (tensor, (found, expected)) in found.tensors().into_iter().zip(expected.tensors()).enumerate() {
        assert!(moves[tensor] > 1e-4, "{what}: {} hardly moved", Weights::NAMES[tensor]);
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let bound = 1e-5 * moves[tensor] + 4.0 * f32::EPSILON * expected.abs();
            let name = Weights::NAMES[tensor];
            assert!((found - expected).abs() <= bound, "{what}: {name}[{i}] is {found}, not {expected}");
        }
    }
}

#[test]
fn two_batches_added_up_are_one_of_twice_the_size() {
    for on in devices() {
        let halves = Recipe { accumulate: 2, ..Recipe::new(smooth(), 64) };
        let (found, expected) = (train(on, 512, halves), train(on, 512, Recipe::new(smooth(), 128)));
        assert_eq!(found.report.step, 4, "{on:?}");
        assert_near(&found.weights, &expected.weights, &weights(), &format!("{on:?}"));
    }
}

#[test]
fn a_shorter_last_group_is_averaged_over_its_own_count() {
    for on in devices() {
        // Groups of 2 batches and of 1, in each of two epochs.
        let found = train_from(weights(), on, 192, Recipe { accumulate: 2, ..Recipe::new(smooth(), 64) }, 2);
        assert_eq!(found.report.step, 4, "{on:?}");
        let other = if on == On::Cpu { On::Gpu } else { On::Cpu };
        if devices().contains(&other) {
            let recipe = Recipe { accumulate: 2, ..Recipe::new(smooth(), 64) };
            let expected = train_from(weights(), other, 192, recipe, 2);
            assert_near(&found.weights, &expected.weights, &weights(), "the other device");
        }
        // All three batches in one group that asks for eight.
        let group = Recipe { accumulate: 8, ..Recipe::new(smooth(), 64) };
        let expected = train_from(weights(), on, 192, Recipe::new(smooth(), 192), 3);
        assert_near(
            &train_from(weights(), on, 192, group, 3).weights,
            &expected.weights,
            &weights(),
            &format!("{on:?}"),
        );
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
            // With the rounding of the weights, which are below 1.
            let largest = largest(&clipped);
            assert!(largest > 1e-6 && largest < 0.3 * 1e-4 + f32::EPSILON, "{on:?}: {largest}");
        }
    }
}

#[test]
fn a_power_of_two_as_loss_scale_changes_no_bit() {
    for on in devices() {
        // Not f16, where gradients underflow without a scale.
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
            let recipe = Recipe { accumulate, ..with(options, Recipe::new(smooth(), 8)) };
            let outcome = train_from(steep(), on, 320, recipe, 1);
            let Report { step, skipped, loss_scale, .. } = outcome.report;
            assert_eq!(step + skipped, 40 / accumulate as u32, "{on:?}");
            assert!(skipped > 0 && step > 0, "{on:?}: {skipped} skipped, {step} taken");
            assert_eq!(loss_scale, 2.0f32.powi(126 - skipped as i32), "{on:?}");
            assert!(outcome.is_finite(), "{on:?}");
        }
    }
}

#[test]
fn gradients_that_are_not_finite_are_skipped_on_request() {
    let mut broken = weights();
    broken.b2[3] = f32::INFINITY;
    for on in devices() {
        let recipe = Recipe::new(smooth(), 64);
        let outcome = train_from(broken.clone(), on, 192, recipe.clone(), 1);
        assert!(outcome.weights.w1.iter().any(|weight| weight.is_nan()), "{on:?}");
        let options = GradOptions { skip_non_finite: true, ..GradOptions::default() };
        for accumulate in [1, 2] {
            let recipe = Recipe { accumulate, ..with(options, recipe.clone()) };
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
    if !devices().contains(&On::Gpu) {
        return;
    }
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
    let [mut on_cpu, mut on_gpu] = [On::Cpu, On::Gpu].map(|on| train_from(steep(), on, 370, recipe.clone(), 4));
    assert_eq!((on_cpu.report.step, on_cpu.report.skipped), (11, 1));
    assert_near(&on_gpu.weights, &on_cpu.weights, &steep(), "the GPU");
    let [cpu_norm, gpu_norm] = [&mut on_cpu, &mut on_gpu].map(|outcome| outcome.report.grad_norm.take().unwrap());
    // A gradient differs by as small a part as the weights that it is of; see `assert_near`.
    assert!((gpu_norm - cpu_norm).abs() < 1e-5 * cpu_norm, "{gpu_norm}, not {cpu_norm}");
    assert_eq!(on_gpu.report, on_cpu.report);
}

/// Numbers from a power of two up are so far apart, as a part of that power.
fn ulp(dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F32 => f32::EPSILON,
        Dtype::F16 => 2.0f32.powi(-10),
        Dtype::Bf16 => 2.0f32.powi(-7),
    }
}

#[test]
fn devices_agree_in_half_precision() {
    if !devices().contains(&On::Gpu) {
        return;
    }
    for dtype in [Dtype::F16, Dtype::Bf16] {
        for accumulate in [1, 2] {
            // One step: from the second on, a hidden unit near 0 is on in one and off in the other.
            let recipe = Recipe { dtype, accumulate, ..Recipe::new(smooth(), 64) };
            let [on_cpu, on_gpu] = [On::Cpu, On::Gpu].map(|on| train(on, 64 * accumulate, recipe.clone()).weights);
            let far = moves(&weights(), &on_cpu);
            let tensors = on_gpu.tensors().into_iter().zip(on_cpu.tensors()).enumerate();
            for (tensor, (found, expected)) in tensors {
                assert_eq!(Values::new(dtype, found).single(), found, "not {dtype}");
                for (found, expected) in found.iter().zip(expected) {
                    // The weight's own rounding, and of the way it has come those of its gradient and of their sum.
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
