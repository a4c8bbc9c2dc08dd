//! Groups are optimizers of their own: the reference code shares the first group's integrals, this crate must not.

use miadam::{Hyperparams, Param, ParamGroup, ParamState, StepScale, WeightDecay, cpu};

use crate::common::{Random, Rig, Spot, Values, empty_groups, gpu, logged, step_empty};

fn hyperparams() -> [Hyperparams; 3] {
    [
        Hyperparams { order: 1, kappa: 0.9, switch_step: 3, ..Hyperparams::default() },
        Hyperparams {
            lr: 0.01,
            order: 3,
            kappa: 0.5,
            switch_step: 5,
            step_scale: StepScale::UnitGain,
            amsgrad: true,
            ..Hyperparams::default()
        },
        Hyperparams {
            lr: 0.1,
            beta1: 0.8,
            beta2: 0.99,
            eps: 1e-4,
            order: 0,
            weight_decay: WeightDecay::Decoupled(0.1),
            maximize: true,
            ..Hyperparams::default()
        },
    ]
}

/// Steps optimizers, one for all groups or one each, and returns every parameter and its state.
fn run(rigs: &mut [Rig]) -> Vec<(Values, ParamState)> {
    let mut results = Vec::new();
    for rig in rigs {
        for step in 0..7 {
            // By tensor length, so that a tensor gets the same gradients in whatever rig it is.
            let lens = rig.spots.iter().map(|spot| spot.len);
            let grads = lens.flat_map(|len| {
                let mut random = Random(len as u64 * 100 + step);
                (0..len).map(move |_| random.normal())
            });
            let mut grads = grads.collect::<Vec<_>>().into_iter();
            rig.set_grads(|| grads.next().unwrap());
            rig.step_gpu();
            rig.step_twin();
        }
        let found = rig.found();
        for (spot, mut state) in rig.spots.iter().zip(rig.gpu.state(&rig.optimizer).params) {
            state.name.clear();
            results.push((spot.values_in(&found), state));
        }
    }
    results
}

#[test]
fn groups_together_act_as_optimizers_apart() {
    let Some(gpu) = gpu() else { return };
    let all = hyperparams();
    // Starting values all alike, so that they do not depend on the rig.
    let spot = |group, number: usize| Spot {
        group,
        len: 300 + number,
        param: (0, 400 * number),
        grad: (1, 400 * number),
        ..Spot::default()
    };
    let level = |rig: &mut Rig| (0..rig.spots.len()).for_each(|number| rig.set_param(number, 0.01));
    let spots: Vec<_> = (0..6).map(|number| spot(number / 2, number)).collect();
    let mut together = [Rig::new(gpu.clone(), &all, &[2400, 2400], &spots, 1)];
    together.iter_mut().for_each(level);
    let mut apart: Vec<_> = (0..3)
        .map(|group| {
            let spots: Vec<_> = (2 * group..2 * group + 2).map(|number| spot(0, number)).collect();
            Rig::new(gpu.clone(), &all[group..=group], &[2400, 2400], &spots, 1)
        })
        .collect();
    apart.iter_mut().for_each(level);

    assert!(run(&mut together) == run(&mut apart));

    let anonymous = |rig: &Rig| {
        let mut states = rig.twin.read_state().params;
        states.iter_mut().for_each(|state| state.name.clear());
        states
    };
    assert!(anonymous(&together[0]) == apart.iter().flat_map(anonymous).collect::<Vec<_>>());
}

#[test]
fn an_outsize_step_is_reported_once() {
    let messages = logged();
    let count = |words: &str| messages.lock().unwrap().iter().filter(|message| message.contains(words)).count();
    let outsize = Hyperparams { kappa: 0.98125, ..Hyperparams::default() };
    let tame = Hyperparams { kappa: 0.98125, step_scale: StepScale::UnitGain, ..Hyperparams::default() };
    let growing = Hyperparams { lr: 1e-3, order: 2, kappa: 0.98375, ..Hyperparams::default() };
    let mut optimizer = cpu::MiAdam::new(empty_groups([tame, outsize, growing])).unwrap();
    (0..3).for_each(|_| step_empty(&mut optimizer));
    assert_eq!(count("kappa 0.98125"), 1);
    assert_eq!(
        count("WARN group 1: order 1, kappa 0.98125 and step_scale Paper make the steady step 5.333e-2, 53 times lr"),
        1
    );
    // At order 2 the factor grows with lr: 3.8 times at 1e-3, 38 times at 1e-2.
    assert_eq!(count("kappa 0.98375"), 0);
    optimizer.set_lr(2, 1e-2).unwrap();
    optimizer.set_lr(2, 1.1e-2).unwrap();
    assert_eq!(count("WARN group 2: order 2, kappa 0.98375"), 1);
}

#[test]
fn effective_lr_is_the_step_of_a_steady_gradient() {
    let of =
        |step_scale, order, kappa| Hyperparams { step_scale, order, kappa, ..Hyperparams::default() }.effective_lr();
    assert_eq!(of(StepScale::Paper, 0, 0.9), 1e-3);
    assert_eq!(of(StepScale::Paper, 1, 0.5), 2e-3);
    assert!((of(StepScale::Paper, 1, 0.98) - 0.05).abs() < 1e-12);
    assert!((of(StepScale::Reference, 1, 0.98) - 5e-5).abs() < 1e-12);
    assert_eq!(of(StepScale::UnitGain, 3, 0.98), 1e-3);
    assert_eq!(of(StepScale::Paper, 1, 1.0), f64::INFINITY);
    assert_eq!(of(StepScale::ExactGain, 3, 1.0), 1e-3);
    // Adam from the first step on.
    assert_eq!(Hyperparams { switch_step: 1, kappa: 0.98, ..Hyperparams::default() }.effective_lr(), 1e-3);

    // And on the optimizer itself: 400 steps of a steady gradient, of which the last moves by that much.
    let hyperparams = Hyperparams { order: 2, kappa: 0.9, step_scale: StepScale::UnitGain, ..Hyperparams::default() };
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(hyperparams, [Param::new("w", 1)])]).unwrap();
    let mut w = [0.0];
    let mut before = 0.0;
    for _ in 0..400 {
        before = w[0];
        optimizer.step([cpu::Binding::new("w", &mut w, &mut [0.5])]).unwrap();
    }
    // θ is near 0.4 and rounded to 3e-8 before and after.
    assert!((before - w[0] - 1e-3).abs() < 6e-8, "{}", before - w[0]);
}

#[test]
fn hyperparameters_can_be_read_back() {
    let mut optimizer = cpu::MiAdam::new(empty_groups(hyperparams())).unwrap();
    optimizer.set_lr(1, 0.5).unwrap();
    let expected =
        [&hyperparams()[0], &Hyperparams { lr: 0.5, ..hyperparams()[1].clone() }, &hyperparams()[2]].map(Clone::clone);
    assert!(optimizer.hyperparams().eq(expected.iter()));
}

#[test]
fn splits_into_groups_that_an_optimizer_takes() {
    let decayed = Hyperparams { weight_decay: WeightDecay::Decoupled(0.1), ..Hyperparams::default() };
    let plain = Hyperparams::default();
    let params = || [("w1", 4), ("b1", 2), ("norm", 2), ("w2", 0), ("b2", 1)].map(|(name, len)| Param::new(name, len));
    let split = |picks: &[&str]| {
        let groups = ParamGroup::new(decayed.clone(), params())
            .split(plain.clone(), |param| picks.iter().any(|prefix| param.name.starts_with(prefix)));
        let optimizer = cpu::MiAdam::new(groups.clone()).unwrap();
        let all: Vec<_> = optimizer.hyperparams().cloned().collect();
        let names = |group: ParamGroup| group.params.into_iter().map(|param| param.name).collect::<Vec<_>>();
        all.into_iter().zip(groups.into_iter().map(names)).collect::<Vec<_>>()
    };
    let named = |hyperparams: &Hyperparams, names: &[&str]| {
        (hyperparams.clone(), names.iter().map(|&name| name.to_owned()).collect())
    };
    let expected: [(_, Vec<String>); 2] = [named(&decayed, &["w1", "w2"]), named(&plain, &["b1", "norm", "b2"])];
    assert_eq!(split(&["b", "norm"]), expected);
    // One side is empty.
    assert_eq!(split(&[]), [named(&decayed, &["w1", "b1", "norm", "w2", "b2"])]);
    assert_eq!(split(&[""]), [named(&plain, &["w1", "b1", "norm", "w2", "b2"])]);
    // Both are.
    assert_eq!(ParamGroup::new(decayed.clone(), []).split(plain.clone(), |_| true), []);
    // Again, into three.
    let three = ParamGroup::new(decayed.clone(), params()).split(plain.clone(), |param| param.name.starts_with('b'));
    let three = three.into_iter().flat_map(|group| group.split(plain.clone(), |param| param.name == "norm"));
    assert_eq!(three.map(|group| group.params.len()).collect::<Vec<_>>(), [2, 1, 2]);
}
