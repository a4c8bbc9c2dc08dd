//! The variants are all that the planner can ask for, and the part of them that is translated leaves no text out.

use std::collections::HashSet;

use miadam::plan::{Extras, Form, Format, Integrals, Kernel, Limits, Placement, Plan, StateLayout, Tensor};
use miadam::{
    Average, Dtype, GradOptions, GradScaler, Hyperparams, Rounding, StatePrecision, WeightDecay, plan_limits,
};
use proptest::prelude::*;

use super::variants::{Variant, all, formats, hosts, hosts_of, options, options_of, sample, swaps, window_counts};
use crate::plan::coverage::{limits, tensors};

/// The kernels that the planner chooses for these tensors, but for f16 that is rounded at random: optimizers refuse that.
fn kernels(tensors: &[Tensor], placements: &[Placement], limits: &Limits) -> Vec<Kernel> {
    let layout = StateLayout::new(tensors, placements, limits).unwrap();
    let plan = Plan::new(tensors, placements, &layout, limits);
    let refused = |format: Format| (format.param, format.rounding) == (Dtype::F16, Rounding::Stochastic);
    plan.dispatches.into_iter().map(|dispatch| dispatch.kernel).filter(|kernel| !refused(kernel.format)).collect()
}

fn hyperparams() -> impl Strategy<Value = Hyperparams> {
    let decay = prop_oneof![
        Just(WeightDecay::None),
        Just(WeightDecay::Decoupled(0.0)),
        Just(WeightDecay::Coupled(0.1)),
        Just(WeightDecay::Decoupled(0.1)),
        Just(WeightDecay::Cautious(0.1)),
    ];
    let average = prop_oneof![Just(Average::None), Just(Average::Ema { decay: 0.9, warmup: true })];
    (0..6u32, decay, average, any::<[bool; 2]>()).prop_map(|(order, weight_decay, average, [amsgrad, maximize])| {
        Hyperparams { order, weight_decay, average, amsgrad, maximize, ..Hyperparams::default() }
    })
}

fn grad_options() -> impl Strategy<Value = GradOptions> {
    any::<[bool; 6]>().prop_map(|[scales, clips, bounds, skips, zero, scaler]| GradOptions {
        factor: if scales { 0.5 } else { 1.0 },
        clip_norm: clips.then_some(1.0),
        clip_value: bounds.then_some(1.0),
        skip_non_finite: skips,
        zero,
        scaler: scaler.then(GradScaler::default),
        ..GradOptions::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 5 } else { 400 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_planner_asks_for_known_hosts_and_types(limits in limits(), (tensors, placements, _) in tensors()) {
        let formats = formats();
        for kernel in kernels(&tensors, &placements, &limits) {
            let host = Kernel { format: Format::default(), ..kernel };
            let is_known = hosts_of(kernel.format).iter().any(|(known, _)| *known == host);
            prop_assert!(is_known && formats.contains(&kernel.format), "{:?}", kernel);
        }
        // A swap plans each parameter in its gradient's place, too.
        let alone = |tensor: &Tensor| {
            let format = Format { grad: tensor.format.param, ..tensor.format };
            Tensor { format, ..tensor.clone() }
        };
        let tensors: Vec<_> = tensors.iter().map(alone).collect();
        let placements: Vec<_> =
            placements.iter().map(|&Placement { param, .. }| Placement { param, grad: param }).collect();
        for kernel in kernels(&tensors, &placements, &limits) {
            prop_assert!(swaps(kernel), "{:?}", kernel);
        }
    }

    #[test]
    fn groups_ask_for_known_options(groups in prop::collection::vec(hyperparams(), 1..4), grads in grad_options()) {
        let own = groups.iter().map(|hyperparams| Extras::new(hyperparams, &grads));
        let extras = own.fold(Extras::default(), Extras::union);
        prop_assert!(options().contains(&extras), "{:?}", extras);
    }
}

#[test]
fn every_device_has_a_known_number_of_windows() {
    let known: HashSet<_> = window_counts().collect();
    let counts = (1..100).filter_map(|buffers| {
        let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: buffers, ..wgpu::Limits::default() };
        Some(plan_limits(&limits).ok()?.windows)
    });
    let more = wgpu::Limits { max_bindings_per_bind_group: 1000, ..wgpu::Limits::default() };
    assert_eq!(plan_limits(&more).map(|limits| limits.windows), Ok(4), "the windows under Limits::default()");
    assert_eq!(counts.collect::<HashSet<_>>(), known);
}

/// All options meet all types, and every host meets every two values of options.
#[test]
fn hosts_meet_options_by_pairs() {
    let values = |extras: Extras| {
        let Extras { adjust, clamp, decay, cautious, skip, zero, amsgrad, average, integrals } = extras;
        let integrals = match integrals {
            Integrals::None => 0,
            Integrals::Few(planes) => planes,
            Integrals::Any => Integrals::FEW + 1,
        };
        let own = [adjust, clamp, decay, cautious, skip, zero, amsgrad, average].map(u32::from);
        [own.as_slice(), &[integrals]].concat().into_iter().enumerate().collect::<Vec<_>>()
    };
    let pairs = |extras| {
        let values = values(extras);
        let pairs = values.iter().enumerate().flat_map(|(n, &a)| values[..n].iter().map(move |&b| (a, b)));
        pairs.collect::<Vec<_>>()
    };
    let (mut met, mut kernels) = (HashSet::new(), HashSet::new());
    for variant in all() {
        if let Variant::Update(kernel, windows) = variant {
            assert!(kernels.insert((kernel.format, kernel.extras)), "{variant} is taken twice");
            let host = Kernel { format: Format::default(), extras: Extras::default(), ..kernel };
            met.extend(pairs(kernel.extras).into_iter().map(|pair| (host, windows, pair)));
        }
    }
    let expected = formats().into_iter().enumerate().map(|(number, format)| options_of(number, format).len());
    assert_eq!(kernels.len(), expected.sum::<usize>());
    for state in [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Q8] {
        let own = kernels.iter().filter(|(format, _)| format.state == state).map(|(_, extras)| *extras);
        assert_eq!(own.collect::<HashSet<_>>(), options().into_iter().collect(), "in {state:?}");
    }
    let every: HashSet<_> = options().into_iter().flat_map(pairs).collect();
    assert_eq!(met.len(), every.len() * hosts().len());
}

/// So that what a compiler makes of an option cannot depend on the host's text.
#[test]
fn no_text_that_a_host_chooses_mentions_an_option() {
    let mut seen = 0;
    for variant in sample() {
        let shader = variant.shader();
        // Every file begins by its name.
        for file in shader.source.split("// ==== ").filter(|file| !file.starts_with("update.wgsl")) {
            let name = file.lines().next().unwrap_or_default();
            for (option, _) in &shader.constants {
                let is_word = |word: &str| word == *option;
                let mentions = file.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(is_word);
                let own =
                    matches!(variant, Variant::Update(..)) && shader.source.contains(&format!("override {option}:"));
                let of_types = ["PARAM_DTYPE", "GRAD_DTYPE", "STOCHASTIC", "WIDTH", "BUNDLES"].contains(option);
                assert!(!own || of_types || !mentions, "{name} mentions {option}");
                seen += usize::from(own && !of_types);
            }
        }
    }
    assert!(seen > 0);
}

/// The sample has every text that there is.
#[test]
fn the_sample_has_every_text() {
    let texts = |variants: Vec<Variant>| variants.into_iter().map(|one| one.shader().source).collect::<HashSet<_>>();
    assert_eq!(texts(sample()), texts(all()));
    let forms = hosts().into_iter().map(|(kernel, _)| kernel.form).collect::<HashSet<_>>();
    assert_eq!(forms, HashSet::from([Form::One, Form::Two, Form::Pairs, Form::Many]));
}
