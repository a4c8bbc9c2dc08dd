//! Every option of the core, on a burn module: what it does is what the CPU twin does.

use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrSchedulerConfig;
use burn::module::ParamGroup;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use miadam_burn::MiAdamConfig;
use miadam_burn::miadam::{
    Average, GradOptions, GradScaler, HalfParams, Hyperparams, Phase, Plane, StepScale, WeightDecay,
};

use crate::common::*;

/// Steps of a module beside a twin that was made for it, with these options.
fn follows(device: &Device, config: MiAdamConfig, twin: impl Fn(&Mlp) -> Twin, options: GradOptions) {
    let net = Mlp::new(device);
    let mut ours = Ours::new(net.clone(), device, Hyperparams::default());
    ours.twin = twin(&net);
    ours.twin.optimizer.set_grad_options(options).unwrap();
    ours.optimizer = config.with_grad_options(options).init(device).unwrap();
    for step in 0..6 {
        let grads = backward(ours.module.loss(step), &ours.module);
        ours = ours.step(rate(step), grads, &format!("step {step} with {options:?}"));
    }
}

#[test]
fn groups_are_chosen_in_burns_ways_and_the_last_one_wins() {
    let group = |order: u32| of_order(order, 5);
    let config = MiAdamConfig::new(group(0))
        .with_group(ParamGroup::from_predicate("weight"), group(1))
        .with_group(ParamGroup::from_regex("^second").unwrap(), group(2))
        .with_group(ParamGroup::from_paths(vec!["second.bias"]), group(3))
        .with_group(
            ParamGroup::all()
                .exclude(ParamGroup::from_predicate("weight"))
                .exclude(ParamGroup::from_predicate("second")),
            group(4),
        );
    let of = |path: &str| match path {
        "first.weight" => 1,
        "second.weight" => 2,
        "second.bias" => 3,
        "first.bias" => 4,
        _ => 0,
    };
    // The core has no group without parameters.
    let twin = |net: &Mlp| Twin::grouped(values(net), (1..5).map(group), |path| of(path) - 1);
    on_both(|device| follows(device, config.clone(), twin, GradOptions::default()));
    // Groups by burn's numbers of parameters.
    on_both(|device| {
        let net = Mlp::new(device);
        let config = MiAdamConfig::new(group(0)).with_group(ParamGroup::ids_from_module(net.second.clone()), group(3));
        let mut ours = Ours::new(net, device, group(0));
        ours.optimizer = config.init(device).unwrap();
        ours.twin =
            Twin::grouped(values(&ours.module), [group(0), group(3)], |path| usize::from(path.starts_with("second")));
        let grads = backward(ours.module.loss(0), &ours.module);
        ours.step(0.1, grads, "groups by number");
    });
}

#[test]
fn gradients_are_clipped_over_the_whole_module() {
    let all = [
        GradOptions { clip_norm: Some(0.05), ..GradOptions::default() },
        GradOptions { clip_value: Some(0.01), factor: 0.5, ..GradOptions::default() },
        GradOptions { clip_norm: Some(0.1), clip_value: Some(0.02), skip_non_finite: true, ..GradOptions::default() },
    ];
    let groups = || [of_order(1, 5), of_order(0, 1)];
    let config = || MiAdamConfig::new(of_order(1, 5)).with_group(ParamGroup::from_predicate("bias"), of_order(0, 1));
    let twin = |net: &Mlp| Twin::grouped(values(net), groups(), |path| usize::from(path.ends_with("bias")));
    on_both(|device| all.iter().for_each(|options| follows(device, config(), twin, *options)));
    // The norm is that of all gradients.
    on_both(|device| {
        let (net, mut optimizer) = (Mlp::new(device), config().init(device).unwrap());
        optimizer.set_grad_options(GradOptions { measure_norm: true, ..GradOptions::default() }).unwrap();
        let grads = backward(net.loss(0), &net);
        let squares = gradients(&net, &grads).values().flatten().map(|grad| f64::from(*grad).powi(2)).sum::<f64>();
        optimizer.step(0.1, net, grads).map(drop).unwrap();
        let norm = f64::from(optimizer.report().unwrap().grad_norm.unwrap());
        assert!((norm - squares.sqrt()).abs() <= 1e-6 * norm, "{norm} is not {}", squares.sqrt());
    });
}

#[test]
fn decays_amsgrad_and_ascent_are_the_twins() {
    let decays =
        [WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1), WeightDecay::Cautious(0.1), WeightDecay::None];
    on_both(|device| {
        for (number, weight_decay) in decays.into_iter().enumerate() {
            let hyperparams = Hyperparams {
                weight_decay,
                amsgrad: number < 3,
                maximize: number % 2 == 1,
                step_scale: [StepScale::ExactGain, StepScale::UnitGain][number / 2],
                ..of_order(1, 4)
            };
            let twin = |net: &Mlp| Twin::new(hyperparams.clone(), values(net));
            follows(device, MiAdamConfig::new(hyperparams.clone()), twin, GradOptions::default());
        }
    });
}

#[test]
fn a_loss_scale_that_overflows_skips_the_step_and_halves() {
    let scaler = GradScaler { init_scale: 1024.0, growth_interval: 3, ..GradScaler::default() };
    on_both(|device| {
        let options = GradOptions { scaler: Some(scaler), ..GradOptions::default() };
        let mut optimizer = MiAdamConfig::new(of_order(1, 4)).with_grad_options(options).init(device).unwrap();
        let mut plain = MiAdamConfig::new(of_order(1, 4)).init(device).unwrap();
        let mut net = Mlp::new(device);
        let mut unscaled = net.clone();
        for step in 0..5 {
            if step == 2 {
                // More than an f32 holds.
                let scale = Tensor::from_inner(optimizer.loss_scale().unwrap());
                let grads = backward(net.loss(step) * scale * 1e38 * 1e38, &net);
                let (before, saved) = (values(&net), optimizer.checkpoint().unwrap());
                net = optimizer.step(rate(step), net, grads).unwrap();
                assert_bits(&values(&net), &before, "a skipped step");
                let states = optimizer.checkpoint().unwrap();
                assert!(states.states() == saved.states());
                assert_eq!(lossless(optimizer.loss_scale().unwrap()), [512.0]);
                assert_eq!(optimizer.report().unwrap().skipped, 1);
            }
            let scale = Tensor::from_inner(optimizer.loss_scale().unwrap());
            let grads = backward(net.loss(step) * scale, &net);
            net = optimizer.step(rate(step), net, grads).unwrap();
            let grads = backward(unscaled.loss(step), &unscaled);
            unscaled = plain.step(rate(step), unscaled, grads).unwrap();
            // A scale that is a power of 2 changes no bit.
            assert_bits(&values(&net), &values(&unscaled), "with a loss scale");
        }
        // Doubled once after three steps in a row.
        assert_eq!(lossless(optimizer.loss_scale().unwrap()), [1024.0]);
        let report = optimizer.report().unwrap();
        assert_eq!((report.step, report.skipped), (5, 1));
    });
}

#[test]
fn a_step_without_finite_gradients_is_skipped() {
    on_both(|device| {
        let options = GradOptions { skip_non_finite: true, ..GradOptions::default() };
        let mut optimizer = MiAdamConfig::new(of_order(1, 4)).with_grad_options(options).init(device).unwrap();
        let net = train(&mut optimizer, Mlp::new(device), 0..3);
        let (before, saved) = (values(&net), optimizer.checkpoint().unwrap());
        let mut grads = backward(net.loss(0), &net);
        let bad = grads.remove::<1>(ids(&net)["second.bias"]).unwrap() * f32::INFINITY;
        grads.register(ids(&net)["second.bias"], bad);
        let net = optimizer.step(0.1, net, grads).unwrap();
        assert_bits(&values(&net), &before, "a skipped step");
        assert!(optimizer.checkpoint().unwrap().states() == saved.states());
        assert_eq!(optimizer.report().unwrap().skipped, 1);
    });
}

/// Gradients of a part of the module.
fn only(net: &Mlp, step: usize, part: &str) -> GradientsParams {
    let chosen = ids(net).into_iter().filter(|(path, _)| path.starts_with(part)).map(|(_, id)| id);
    GradientsParams::from_params(&mut net.loss(step).backward(), net, &chosen.collect::<Vec<_>>())
}

/// The planes of the parameters whose paths start so.
fn planes(optimizer: &miadam_burn::MiAdam, part: &str) -> Vec<Vec<f32>> {
    let checkpoint = optimizer.checkpoint().unwrap();
    let own = checkpoint.states().iter().filter(|state| state.name.starts_with(part));
    own.flat_map(|state| state.planes().map(|(_, plane)| plane.to_vec())).collect()
}

#[test]
fn parameters_without_a_gradient_keep_every_bit() {
    on_both(|device| {
        let mut ours = Ours::new(Mlp::new(device), device, of_order(2, 5));
        // The twin knows all parameters from the start; ours learns of the second layer at the third step.
        for (step, part) in
            ["first", "first", "second", "first", "", "second", "", "first", "", ""].into_iter().enumerate()
        {
            let resting = ["first", "second"].into_iter().find(|other| !part.is_empty() && *other != part);
            let before =
                (values(&ours.module), resting.filter(|_| step > 2).map(|rests| planes(&ours.optimizer, rests)));
            let grads = only(&ours.module, step, part);
            ours = ours.step(rate(step), grads, &format!("step {step} of `{part}`"));
            let after = values(&ours.module);
            for (path, values) in after.iter().filter(|(path, _)| resting.is_some_and(|rests| path.starts_with(rests)))
            {
                assert_eq!(*values, before.0[path], "{path}");
            }
            if let (Some(rests), Some(planes_before)) = (resting, before.1) {
                assert_eq!(planes(&ours.optimizer, rests), planes_before, "the state of {rests}");
            }
        }
        assert_eq!(ours.optimizer.report().unwrap().step, 10);
    });
}

#[test]
fn frozen_parameters_keep_every_bit() {
    on_both(|device| {
        let mut optimizer = MiAdamConfig::new(of_order(1, 9)).init(device).unwrap();
        // Before the first step, and of parameters that are not known yet.
        optimizer.freeze(ParamGroup::from_predicate("first")).unwrap();
        let net = Mlp::new(device);
        let mut twin = Twin::new(of_order(1, 9), values(&net));
        let mut net = net;
        for step in 0..9 {
            if step == 3 {
                optimizer.thaw(ParamGroup::all()).unwrap();
            }
            if step == 6 {
                optimizer.freeze(ParamGroup::from_regex("weight$").unwrap()).unwrap();
            }
            let rests = |path: &str| match step {
                0..3 => path.starts_with("first"),
                3..6 => false,
                _ => path.ends_with("weight"),
            };
            let old = [values(&net), twin.params.clone()];
            let grads = backward(net.loss(step), &net);
            let mut read = gradients(&net, &grads);
            read.retain(|path, _| !rests(path));
            twin.step(rate(step), &read);
            net = optimizer.step(rate(step), net, grads).unwrap();
            let new = values(&net);
            assert_updates(old.each_ref(), [&new, &twin.params], WGSL, &format!("step {step}"));
            for path in new.keys().filter(|path| rests(path)) {
                assert_eq!(new[path], old[0][path], "{path} is frozen at step {step}");
            }
        }
    });
}

#[test]
fn averages_are_swapped_out_and_back() {
    let average = Average::Ema { decay: 0.75, warmup: true };
    let hyperparams = Hyperparams { average, ..of_order(1, 4) };
    on_both(|device| {
        let mut ours = Ours::new(Mlp::new(device), device, hyperparams.clone());
        for step in 0..5 {
            let grads = backward(ours.module.loss(step), &ours.module);
            ours = ours.step(rate(step), grads, "with averages");
        }
        let saved = ours.optimizer.checkpoint().unwrap();
        let before = values(&ours.module);
        // Work between the step and the swap, so that the buffers of the gradients are those of others by now.
        let busy: Vec<_> = (0..20).map(|step| backward(ours.module.loss(step), &ours.module)).collect();
        let clone = ours.module.clone();
        let Ours { mut optimizer, mut module, .. } = ours;
        module = optimizer.swap_averages(module).unwrap();
        let averaged = values(&module);
        for state in saved.states() {
            assert_eq!(averaged[&state.name], state.plane(Plane::Average).unwrap(), "{}", state.name);
        }
        assert_bits(&values(&clone), &before, "a clone");
        drop((busy, clone));
        // In between no step is taken.
        let grads = backward(module.loss(5), &module);
        let refused = optimizer.step(0.1, module, grads).unwrap_err();
        let module = optimizer.swap_averages(refused.module).unwrap();
        assert_bits(&values(&module), &before, "swapped back");
        train(&mut optimizer, module, 5..6);
    });
}

#[test]
fn integrals_are_released_after_the_switch() {
    on_both(|device| {
        let mut optimizer = MiAdamConfig::new(of_order(2, 3)).init(device).unwrap();
        // The next step, the second, is the last that integrates.
        let net = train(&mut optimizer, Mlp::new(device), 0..1);
        let error = optimizer.release_integrals().unwrap_err().to_string();
        assert!(error.contains("integrals until step 3"), "{error}");
        let net = train(&mut optimizer, net, 1..4);
        assert_eq!(optimizer.report().unwrap().groups[0].phase, Phase::Adam);
        let (clone, bytes) = (net.clone(), optimizer.state_bytes());
        let mut released = MiAdamConfig::new(of_order(2, 3)).init(device).unwrap();
        released.load_checkpoint(optimizer.checkpoint().unwrap(), Default::default()).unwrap();
        let expected = values(&train(&mut released, clone, 4..6));
        let freed = optimizer.release_integrals().unwrap();
        // Two integrals beside two moments.
        assert_eq!((freed, optimizer.state_bytes()), (bytes / 2, bytes / 2));
        assert_bits(&values(&train(&mut optimizer, net, 4..6)), &expected, "without integrals");
    });
}

#[test]
fn schedulers_of_burn_have_groups() {
    on_both(|device| {
        let weights = || ParamGroup::from_predicate("weight");
        let linear = |from: f64| LinearLrSchedulerConfig::new(from, from / 2.0, 4);
        let mut scheduler: ModuleLrScheduler =
            ModuleLrSchedulerConfig::new(linear(0.1).into()).with_group(weights(), linear(0.01)).init().unwrap();
        let config = MiAdamConfig::new(of_order(1, 9)).with_group(weights(), of_order(1, 9));
        let mut optimizer = config.init(device).unwrap();
        let mut net = Mlp::new(device);
        let mut twin = Twin::new(of_order(1, 9), values(&net));
        let is_weight = |path: &str| usize::from(path.ends_with("weight"));
        twin = Twin::grouped(std::mem::take(&mut twin.params), [of_order(1, 9), of_order(1, 9)], is_weight);
        for step in 0..5 {
            let (old, lr) = ([values(&net), twin.params.clone()], scheduler.step());
            let grads = backward(net.loss(step), &net);
            let lrs = ["first.bias", "first.weight"].map(|path| lr.lr_from_param(ids(&net)[path], Some(path)));
            assert!(lrs[0] > 9.0 * lrs[1]);
            twin.step_at(&lrs, &gradients(&net, &grads));
            net = optimizer.step(lr, net, grads).unwrap();
            assert_updates(old.each_ref(), [&values(&net), &twin.params], WGSL, &format!("step {step}"));
            let reported: Vec<_> = optimizer.report().unwrap().groups.iter().map(|group| group.lr).collect();
            assert_eq!(reported, lrs);
        }
    });
}

#[test]
fn halves_have_master_copies() {
    on_both(|device| {
        for dtype in [DType::F16, DType::BF16] {
            if !device.supports_dtype(dtype) {
                println!("{device:?} has no {dtype:?}");
                continue;
            }
            let average = Average::Ema { decay: 0.5, warmup: false };
            let hyperparams = Hyperparams { half_params: HalfParams::Master, average, ..of_order(1, 4) };
            let mut optimizer = MiAdamConfig::new(hyperparams.clone()).init(device).unwrap();
            let mut net = Mlp::new(device).cast(dtype);
            let mut twin = Twin::new(hyperparams, values(&net));
            for step in 0..6 {
                // The gradients are read in f32, which they are multiples of a half's last bit in.
                let grads = backward(net.cast_loss(step, dtype), &net);
                twin.step(1e-4, &gradients(&net, &grads));
                net = optimizer.step(1e-4, net, grads).unwrap();
            }
            let saved = optimizer.checkpoint().unwrap();
            let masters: ByPath = saved
                .states()
                .iter()
                .map(|state| (state.name.clone(), state.plane(Plane::Master).unwrap().to_vec()))
                .collect();
            for (path, master) in &masters {
                for (found, expected) in master.iter().zip(&twin.params[path]) {
                    // Steps of 1e-4, six times, each with what WGSL allows, and six roundings of a parameter below 1.
                    assert!(
                        (found - expected).abs() <= 6.0 * f32::EPSILON * (64.0 * 1e-4 + 2.0),
                        "{path}: {found} {expected}"
                    );
                }
            }
            let rounded = |value: &f32| match dtype {
                DType::F16 => half::f16::from_f32(*value).to_f32(),
                _ => half::bf16::from_f32(*value).to_f32(),
            };
            let expected: ByPath =
                masters.iter().map(|(path, all)| (path.clone(), all.iter().map(rounded).collect())).collect();
            assert_bits(&values(&net), &expected, "a half is its master copy, rounded");
            assert!(net.first.weight.val().dtype() == dtype);
        }
    });
}
