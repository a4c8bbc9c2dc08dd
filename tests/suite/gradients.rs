//! What happens to the gradients on their way into the update, on the GPU and on the CPU.

use miadam::{Error, GradOptions, GradScaler, Hyperparams, Plane, WeightDecay, cpu};

use crate::common::{Gpu, Home, Random, Rig, empty_groups, gpu, scatter};

/// Two groups that differ in all that could be mixed up, over a few workgroups and awkward lengths.
pub fn rig(gpu: Gpu, home: Home) -> Rig {
    let groups = [
        Hyperparams { order: 2, switch_step: 3, ..Hyperparams::default() },
        Hyperparams { lr: 3e-3, order: 0, weight_decay: WeightDecay::Coupled(0.1), ..Hyperparams::default() },
    ];
    let lens = [(0, 33_000), (0, 37), (0, 0), (1, 5000), (1, 3)];
    let (buffers, spots) = scatter(&mut Random(3), &lens, home);
    Rig::new(gpu, &groups, &buffers, &spots, 4)
}

#[test]
fn a_step_with_one_bad_gradient_keeps_every_bit() {
    let Some(gpu) = gpu() else { return };
    let skip = GradOptions { skip_non_finite: true, ..GradOptions::default() };
    let scale = GradOptions { scaler: Some(GradScaler::default()), zero: true, ..GradOptions::default() };
    let poison = [f32::NAN, f32::from_bits(0xff80_0001), f32::INFINITY, f32::NEG_INFINITY];
    for (home, options) in [(Home::OnePool, skip), (Home::Separate, scale), (Home::Mixed, scale)] {
        let mut rig = rig(gpu.clone(), home);
        rig.set_grad_options(options);
        let mut random = Random(6);
        // At the first step, before ζ = 3 and after it.
        for round in 0..4 {
            for poison in poison {
                let before = gpu.state(&rig.optimizer);
                rig.set_grads(|| random.normal());
                // One element of one tensor, the last of all or one amid the largest.
                let number = [4, 0][round % 2];
                rig.set_grad(number, rig.spots[number].len * 2 / 3, poison);
                rig.step_gpu();
                rig.step_twin();
                assert!(gpu.state(&rig.optimizer) == before, "round {round}, {poison}");
                assert!(rig.found() == rig.expected, "round {round}, {poison}");
            }
            let (found, twin) = (gpu.report(&rig.optimizer), rig.twin.read_report());
            assert_eq!((found.step, found.skipped), (round as u32, 4 * (round as u32 + 1)));
            assert_eq!((found.step, found.skipped, found.loss_scale), (twin.step, twin.skipped, twin.loss_scale));
            // A good step, after which the twin's bits are taken for granted, so that bits can be compared again.
            rig.set_grads(|| random.normal());
            rig.step_gpu();
            rig.step_twin();
            rig.expected = rig.found();
        }
    }
}

#[test]
fn large_and_tiny_gradients_are_no_reason_to_skip() {
    let Some(gpu) = gpu() else { return };
    let mut rig = rig(gpu.clone(), Home::TwoPools);
    rig.set_grad_options(GradOptions { skip_non_finite: true, clip_norm: Some(1.0), ..GradOptions::default() });
    let mut random = Random(7);
    for (step, poison) in [f32::MAX, -f32::MAX, 1e30, -2e19, 1e-45, -1e-40].into_iter().enumerate() {
        rig.set_grads(|| 1e-3 * random.normal());
        rig.set_grad(0, 1000, poison);
        rig.step_gpu();
        rig.step_twin();
        let (found, expected) = (gpu.report(&rig.optimizer), rig.twin.read_report());
        assert_eq!((found.step, found.skipped), (step as u32 + 1, 0), "{poison:e}");
        // The square of the largest is past the range of f32, its norm is not.
        let (found, expected) = (found.grad_norm.unwrap(), expected.grad_norm.unwrap());
        assert!((found - expected).abs() <= 8.0 * f32::EPSILON * expected, "{found:e} is not {expected:e}");
        let found = rig.found();
        for spot in &rig.spots {
            for (found, expected) in spot.param_in(&found).iter().zip(&spot.param_in(&rig.expected)[..]) {
                // Six steps of up to 3e-3, each right to a few roundings.
                assert!((found - expected).abs() <= 32.0 * f32::EPSILON * 2e-2 + f32::EPSILON * expected.abs());
            }
        }
        rig.assert_untouched(&found);
    }
}

#[test]
fn a_norm_past_the_range_of_f32_is_in_it_without_the_loss_scale() {
    let Some(gpu) = gpu() else { return };
    let mut rig = rig(gpu.clone(), Home::OnePool);
    let scaler = GradScaler { init_scale: 2f64.powi(126), ..GradScaler::default() };
    rig.set_grad_options(GradOptions { clip_norm: Some(100.0), scaler: Some(scaler), ..GradOptions::default() });
    // Of 38,040 elements, each 2 without the loss scale.
    rig.set_grads(|| 2f32.powi(127));
    rig.step_gpu();
    rig.step_twin();
    for (report, state) in
        [(gpu.report(&rig.optimizer), gpu.state(&rig.optimizer)), (rig.twin.read_report(), rig.twin.read_state())]
    {
        let exact = 2.0 * 38_040f32.sqrt();
        let norm = report.grad_norm.unwrap();
        // A few roundings in each of the levels of the sum.
        assert!((norm / exact - 1.0).abs() <= 8.0 * f32::EPSILON, "{norm}");
        let m = state.params[0].plane(Plane::FirstMoment).unwrap()[0];
        // The same once more for the quotient of bound and norm and the products with it.
        assert!((m / (0.2 * 100.0 / exact) - 1.0).abs() <= 16.0 * f32::EPSILON, "{m}");
    }
}

#[test]
fn bad_gradients_propagate_unless_told_otherwise() {
    let Some(gpu) = gpu() else { return };
    let plain = GradOptions::default();
    let clip = GradOptions { clip_norm: Some(1.0), ..plain };
    let no_bound = GradOptions { clip_value: Some(f64::INFINITY), clip_norm: Some(f64::INFINITY), ..plain };
    for (options, poison, all) in [
        (plain, f32::NAN, false),
        (plain, f32::INFINITY, false),
        (no_bound, f32::NAN, false),
        (no_bound, f32::NEG_INFINITY, false),
        // As PyTorch's clip_grad_norm_: NaN makes all NaN, infinity makes the finite ones 0 and itself NaN.
        (clip, f32::NAN, true),
        (clip, f32::INFINITY, false),
        (GradOptions { clip_value: Some(1.0), ..plain }, f32::NAN, false),
    ] {
        let mut rig = rig(gpu.clone(), Home::TwoPools);
        rig.set_grad_options(options);
        rig.set_grads(|| 1.0);
        rig.set_grad(0, 1000, poison);
        rig.step_gpu();
        rig.step_twin();
        for (state, found) in [(gpu.state(&rig.optimizer), rig.found()), (rig.twin.read_state(), rig.expected.clone())]
        {
            let spot = rig.spots[0];
            let theta = spot.param_in(&found);
            let first_moment = state.params[0].plane(Plane::FirstMoment).unwrap();
            let is_nan = |values: &[f32]| values.iter().filter(|value| value.is_nan()).count();
            let expected = if all { spot.len } else { 1 };
            assert_eq!(is_nan(&theta), expected, "{options:?}");
            let stays_infinite = options != clip && poison.is_infinite();
            assert_eq!(is_nan(first_moment), if stays_infinite { 0 } else { expected }, "{options:?}");
            if options == clip && !all {
                assert!(first_moment.iter().filter(|value| !value.is_nan()).all(|&m| m == 0.0));
            }
            assert_eq!(state.step, 1);
        }
    }
}

#[test]
fn a_loss_scale_and_a_mean_change_no_bit() {
    let Some(gpu) = gpu() else { return };
    let mut plain = rig(gpu.clone(), Home::Mixed);
    let mut scaled = rig(gpu.clone(), Home::Mixed);
    // Factors of two are exact: 4 micro-batches of a loss times 2¹⁰.
    let scaler = GradScaler { init_scale: 1024.0, ..GradScaler::default() };
    scaled.set_grad_options(GradOptions { factor: 0.25, scaler: Some(scaler), zero: true, ..GradOptions::default() });
    for seed in 0..4 {
        let [mut one, mut other] = [Random(seed), Random(seed)];
        plain.set_grads(|| one.normal());
        scaled.set_grads(|| 4096.0 * other.normal());
        for rig in [&mut plain, &mut scaled] {
            rig.step_gpu();
            rig.step_twin();
        }
        assert!(gpu.state(&plain.optimizer) == gpu.state(&scaled.optimizer));
        assert!(plain.twin.read_state() == scaled.twin.read_state());
        let (plain_found, scaled_found) = (plain.found(), scaled.found());
        for spot in &plain.spots {
            let bits = |contents| spot.param_in(contents).iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert!(bits(&plain_found) == bits(&scaled_found));
            assert!(spot.grad_in(&scaled_found).iter().all(|&g| g == 0.0));
        }
    }
}

#[test]
fn options_are_those_of_the_recorded_step() {
    let Some(gpu) = gpu() else { return };
    let [mut apart, mut together] = [(); 2].map(|()| rig(gpu.clone(), Home::Mixed));
    let plain = GradOptions::default();
    let clipped = |norm| GradOptions { clip_norm: Some(norm), ..plain };
    let options = [
        clipped(1.0),
        clipped(0.5),
        GradOptions { factor: 0.5, ..clipped(0.5) },
        plain,
        GradOptions { clip_value: Some(0.1), ..plain },
        GradOptions { skip_non_finite: true, ..plain },
        GradOptions { factor: 1e-3, zero: true, ..plain },
    ];
    let mut encoder = gpu.encoder();
    for rig in [&mut apart, &mut together] {
        let mut random = Random(8);
        rig.set_grads(|| random.normal());
    }
    for options in options {
        for rig in [&mut apart, &mut together] {
            rig.set_grad_options(options);
        }
        apart.step_gpu();
        together.optimizer.step(&mut encoder).unwrap();
    }
    gpu.submit(encoder);
    assert!(apart.found() == together.found());
    assert!(gpu.state(&apart.optimizer) == gpu.state(&together.optimizer));
    assert_eq!(gpu.state(&apart.optimizer).step, 7);
}

#[test]
fn the_norm_is_right_for_any_lengths() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random(10);
    for lens in [vec![1], vec![3, 5], vec![16_384, 16_385, 1], vec![100_003], vec![4096; 40], vec![0, 0]] {
        for home in [Home::OnePool, Home::TwoPools, Home::Separate] {
            let tensors: Vec<_> = lens.iter().map(|&len| (0, len)).collect();
            let (buffers, spots) = scatter(&mut random, &tensors, home);
            let mut rig = Rig::new(gpu.clone(), &[Hyperparams::default()], &buffers, &spots, 4);
            rig.set_grad_options(GradOptions { clip_norm: Some(f64::INFINITY), factor: 0.5, ..GradOptions::default() });
            rig.set_grads(|| random.normal());
            rig.step_gpu();
            rig.step_twin();
            let grads = spots.iter().flat_map(|spot| spot.grad_in(&rig.expected).into_owned());
            let exact = 0.5 * grads.map(|g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let [found, twin] =
                [gpu.report(&rig.optimizer), rig.twin.read_report()].map(|report| report.grad_norm.unwrap());
            let near = |norm: f32, ulps: f64| {
                let bound = ulps * f64::from(f32::EPSILON) * exact;
                assert!((f64::from(norm) - exact).abs() <= bound, "{norm} is not {exact}");
            };
            // The twin sums up in f64 and rounds to f32 once, by half an ulp.
            near(twin, 0.5);
            // Half an ulp of a norm for each level of the sum at worst; they cancel for the most part.
            near(found, 4.0);
        }
    }
}

#[test]
fn measuring_the_norm_changes_nothing_else() {
    let Some(gpu) = gpu() else { return };
    let plain = GradOptions { factor: 0.5, clip_value: Some(1.0), ..GradOptions::default() };
    let clips_nothing = GradOptions { clip_norm: Some(f64::INFINITY), ..plain };
    let measures = GradOptions { measure_norm: true, ..plain };
    let results = [plain, clips_nothing, measures].map(|options| {
        let mut rig = rig(gpu.clone(), Home::Mixed);
        rig.set_grad_options(options);
        let mut random = Random(12);
        rig.set_grads(|| random.normal());
        rig.step_gpu();
        rig.step_twin();
        let (state, norm) = (gpu.state(&rig.optimizer), gpu.report(&rig.optimizer).grad_norm);
        (rig.found(), rig.expected, state, rig.twin.read_state(), [norm, rig.twin.read_report().grad_norm])
    });
    let [plain, clips_nothing, measures] = results;
    assert_eq!(plain.4, [None, None]);
    assert!(measures.4[0].is_some() && measures.4[1].is_some());
    assert_eq!(measures.4, clips_nothing.4);
    assert!((&plain.0, &plain.1, &plain.2, &plain.3) == (&measures.0, &measures.1, &measures.2, &measures.3));
}

#[test]
fn a_clipped_step_makes_nothing() {
    let Some(own) = Gpu::new(wgpu::Limits::default()) else { return };
    let mut rig = rig(own.clone(), Home::OnePool);
    let scaler = Some(GradScaler::default());
    let options = GradOptions { clip_norm: Some(1.0), scaler, zero: true, ..GradOptions::default() };
    rig.set_grad_options(options);
    rig.step_gpu();
    own.wait();
    let mut encoder = own.encoder();
    let before = own.live_objects();
    for _ in 0..10 {
        rig.optimizer.set_grad_options(options).unwrap();
        rig.optimizer.step(&mut encoder).unwrap();
    }
    assert_eq!(own.live_objects(), before);
    own.submit(encoder);
}

#[test]
fn bad_options_are_errors_and_change_nothing() {
    let mut twin = cpu::MiAdam::new(empty_groups([Hyperparams::default()])).unwrap();
    let good = GradOptions { clip_norm: Some(2.0), zero: true, ..GradOptions::default() };
    twin.set_grad_options(good).unwrap();
    let scaler = |scaler| GradOptions { scaler: Some(scaler), ..GradOptions::default() };
    let default = GradScaler::default();
    for (options, field) in [
        (GradOptions { factor: 0.0, ..good }, "factor"),
        (GradOptions { factor: f64::NAN, ..good }, "factor"),
        (GradOptions { factor: 1e39, ..good }, "factor"),
        (GradOptions { clip_norm: Some(-1.0), ..good }, "clip_norm"),
        (GradOptions { clip_norm: Some(f64::NAN), ..good }, "clip_norm"),
        (GradOptions { clip_value: Some(-1e-9), ..good }, "clip_value"),
        (GradOptions { clip_value: Some(f64::NAN), ..good }, "clip_value"),
        (scaler(GradScaler { init_scale: 0.0, ..default }), "scaler.init_scale"),
        (scaler(GradScaler { init_scale: f64::INFINITY, ..default }), "scaler.init_scale"),
        (scaler(GradScaler { growth_factor: 1.0, ..default }), "scaler.growth_factor"),
        (scaler(GradScaler { backoff_factor: 1.0, ..default }), "scaler.backoff_factor"),
        (scaler(GradScaler { backoff_factor: -0.5, ..default }), "scaler.backoff_factor"),
        (scaler(GradScaler { growth_interval: 0, ..default }), "scaler.growth_interval"),
    ] {
        let error = twin.set_grad_options(options).unwrap_err();
        assert!(matches!(&error, Error::InvalidGradOption { field: found, .. } if *found == field), "{error}");
        assert!(error.to_string().contains(field) && error.to_string().contains("must be"), "{error}");
        assert_eq!(*twin.grad_options(), good);
    }
    let Some(gpu) = gpu() else { return };
    let mut rig = rig(gpu, Home::TwoPools);
    assert!(rig.optimizer.set_grad_options(GradOptions { factor: 0.0, ..good }).is_err());
    assert_eq!(*rig.optimizer.grad_options(), GradOptions::default());
}
