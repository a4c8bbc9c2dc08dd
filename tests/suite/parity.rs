//! The shaders against the CPU twin.

use std::ops::Deref;

use miadam::{Average, Hyperparams, ParamState, Plane, StepScale, WeightDecay};

use crate::common::{Contents, Home, Random, Rig, Spot, gpu, scatter};

/// Lengths around the quad (4), the workgroup (256 invocations, 1024 elements) and the chunk of either device (4096), and a
/// few large ones.
const LENS: [usize; 26] = [
    0, 1, 2, 3, 4, 5, 7, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 1757, 2047, 2048, 2049, 4095, 4096, 4097, 4100,
    33_000, 40_003,
];

/// Every combination of the options that change the arithmetic.
fn all_options(order: u32) -> Vec<Hyperparams> {
    let mut all = Vec::new();
    for weight_decay in [WeightDecay::None, WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1)] {
        for step_scale in [StepScale::Paper, StepScale::Reference, StepScale::UnitGain, StepScale::ExactGain] {
            let last = if step_scale == StepScale::ExactGain { 1.0 } else { 0.98 };
            for (amsgrad, maximize) in [(false, false), (false, true), (true, false), (true, true)] {
                all.push(Hyperparams {
                    // Large enough that αⁿ⁺¹ at order 7 still moves θ, small enough that α¹ does not throw it far.
                    lr: 0.05,
                    order,
                    kappa: [0.0, 0.5, 0.9, last, 0.75][all.len() % 5],
                    switch_step: [1, 2, 4, 5, 100][all.len() % 5],
                    step_scale,
                    weight_decay,
                    amsgrad,
                    maximize,
                    ..Hyperparams::default()
                });
            }
        }
    }
    all
}

/// Steps both sides and compares the updates of every step, then the states.
pub fn assert_parity(rig: &mut Rig, steps: usize, random: &mut Random) {
    let mut before = rig.found();
    let mut drifts = vec![0.0; rig.spots.len()];
    for step in 1..=steps {
        let scale = [1.0, 1e-3, 30.0][step % 3];
        rig.set_grads(|| scale * random.normal());
        step_both(rig, &mut before, &mut drifts);
    }
    let (found, expected) = (rig.gpu.state(&rig.optimizer), rig.twin.read_state());
    assert_eq!(found.step, expected.step);
    assert_states_agree(&found.params, &expected.params);
    for ((found, expected), drift) in found.params.iter().zip(&expected.params).zip(drifts) {
        let [found, expected] = [found, expected].map(|state| state.plane(Plane::Average).unwrap_or_default());
        assert_eq!(found.len(), expected.len());
        // A mean of parameters is no further off than they are.
        let furthest = found.iter().zip(expected).fold(0.0, |furthest: f32, (a, b)| furthest.max((a - b).abs()));
        assert!(furthest <= drift, "an average is {furthest:e} off, more than {drift:e}");
    }
}

/// A step on both sides, whose updates agree. `before` has the buffers on the device. What each tensor, or an average of it, may
/// be off is added to `drifts`.
fn step_both(rig: &mut Rig, before: &mut Contents, drifts: &mut [f32]) {
    let twin_before = rig.expected.clone();
    rig.step_twin();
    rig.step_gpu();
    let found = rig.found();
    for (spot, drift) in rig.spots.iter().zip(drifts) {
        let param = |contents| spot.param_in(contents);
        let (old, new) = ([&*before, &twin_before].map(param), [&found, &rig.expected].map(param));
        let way = new[1].iter().zip(&old[1][..]).fold(0.0, |way: f32, (new, old)| way.max((new - old).abs()));
        // What `assert_updates_agree` allows, and for the average 3 roundings, and as much as 4 for its rate, of a difference
        // of two parameters.
        *drift += f32::EPSILON * (64.0 * way + (2.0 + 14.0) * largest(&new[1]));
        assert_updates_agree(old, new, format_args!("{spot:?}"));
    }
    rig.assert_untouched(&found);
    *before = found;
}

/// The step from `old` to `new` of a tensor as found is that of the twin, which comes second in both.
pub fn assert_updates_agree<T: Deref<Target = [f32]>>(old: [T; 2], new: [T; 2], context: std::fmt::Arguments) {
    let updates = |side: usize| new[side].iter().zip(&old[side][..]).map(|(new, old)| new - old);
    let largest = updates(1).fold(0.0, |largest: f32, update| largest.max(update.abs()));
    for (i, (update, expected)) in updates(0).zip(updates(1)).enumerate() {
        // WGSL allows 2.5 ulp for a division, as much for a square root, and 1 for each of the dozen
        // other operations; sums cancel, so it counts against the tensor's largest update. Rounding θ
        // itself costs half an ulp of θ before and after, on either side.
        let tolerance = f32::EPSILON * (64.0 * largest + 2.0 * new[0][i].abs());
        assert!(
            (update - expected).abs() <= tolerance,
            "{context}, element {i}: update {update:e}, expected {expected:e} within {tolerance:e}"
        );
    }
}

/// Moments and integrals are those of the twin; master copies are compared as parameters, by their updates.
pub fn assert_states_agree(found: &[ParamState], expected: &[ParamState]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.name, expected.name);
        assert!(found.planes().map(|(plane, _)| plane).eq(expected.planes().map(|(plane, _)| plane)));
        // What adds up to the first moment and the integrals may be larger than they are, where signs differ. The root of
        // the second moment is a third of the largest term of the first or more, under the default betas.
        let mut scale = largest(expected.plane(Plane::SecondMoment).unwrap()).sqrt();
        for ((plane, found), (_, expected)) in found.planes().zip(expected.planes()) {
            match plane {
                Plane::SecondMoment | Plane::MaxSecondMoment => {
                    assert_plane_agrees(plane, found, expected, largest(expected));
                }
                Plane::FirstMoment | Plane::Integral(_) => {
                    scale = scale.max(largest(expected));
                    assert_plane_agrees(plane, found, expected, scale);
                }
                // The parameters that they are made of are compared.
                Plane::Master | Plane::Average => {}
            }
        }
    }
}

fn largest(plane: &[f32]) -> f32 {
    plane.iter().fold(0.0, |a, b| a.max(b.abs()))
}

fn assert_plane_agrees(plane: Plane, found: &[f32], expected: &[f32], scale: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        // At most three roundings a step, over at most ten steps, of terms up to the largest.
        let tolerance = 32.0 * f32::EPSILON * scale;
        assert!((found - expected).abs() <= tolerance, "{plane}: {found} is not {expected} within {tolerance:e}");
    }
}

fn assert_parity_of_order(order: u32, home: Home) {
    let Some(gpu) = gpu() else { return };
    let groups = all_options(order);
    let mut random = Random(u64::from(order));
    // In order of groups, each with a third of the lengths; every length meets several groups.
    let lens: Vec<_> = (0..groups.len())
        .flat_map(|group| LENS.iter().skip(group % 3).step_by(3).map(move |&len| (group, len)))
        .collect();
    let (buffers, spots) = scatter(&mut random, &lens, home);
    let mut rig = Rig::new(gpu, &groups, &buffers, &spots, 1);
    assert_parity(&mut rig, 6, &mut random);
}

#[test]
fn order_0_in_one_pool() {
    assert_parity_of_order(0, Home::OnePool);
}

#[test]
fn order_1_in_two_pools() {
    assert_parity_of_order(1, Home::TwoPools);
}

#[test]
fn order_2_in_separate_buffers() {
    assert_parity_of_order(2, Home::Separate);
}

#[test]
fn order_3_in_one_pool() {
    assert_parity_of_order(3, Home::OnePool);
}

#[test]
fn order_7_in_separate_buffers_and_one_pool() {
    assert_parity_of_order(7, Home::Mixed);
}

#[test]
fn cautious_decay_is_the_twins() {
    let Some(gpu) = gpu() else { return };
    for (number, home) in [Home::OnePool, Home::TwoPools, Home::Separate, Home::Mixed].into_iter().enumerate() {
        let weight_decay = WeightDecay::Cautious(0.5);
        let average = [Average::None, Average::Ema { decay: 0.5, warmup: true }][number % 2];
        let hyperparams = Hyperparams { weight_decay, average, order: number as u32, ..Hyperparams::default() };
        let groups = [hyperparams.clone(), Hyperparams { weight_decay: WeightDecay::Decoupled(0.5), ..hyperparams }];
        let lens: Vec<_> = (0..2).flat_map(|group| LENS.iter().map(move |&len| (group, len))).collect();
        let (buffers, spots) = scatter(&mut Random(7), &lens, home);
        let mut rig = Rig::new(gpu.clone(), &groups, &buffers, &spots, 2);
        // Each element's gradients have one sign, so that no moment is so near to 0 that rounding decides on its sign.
        let mut random = Random(8);
        rig.set_grads(|| random.normal());
        let (mut before, mut drifts) = (rig.found(), vec![0.0; rig.spots.len()]);
        (0..3).for_each(|_| step_both(&mut rig, &mut before, &mut drifts));
    }
}

#[test]
fn a_tensor_alone_is_one_run() {
    let Some(gpu) = gpu() else { return };
    let hyperparams = Hyperparams { order: 2, switch_step: 3, amsgrad: true, ..Hyperparams::default() };
    for (offset, dispatches) in [(0, 3), (1, 2)] {
        // On the grid: whole quads and a tail. Off the grid: elements only.
        let spots = [Spot { len: 70_001, param: (0, 4 + offset), grad: (1, offset), ..Spot::default() }];
        let mut rig = Rig::new(gpu.clone(), std::slice::from_ref(&hyperparams), &[70_020, 70_003], &spots, 5);
        assert_eq!(rig.optimizer.dispatches().unwrap(), dispatches);
        assert_parity(&mut rig, 4, &mut Random(6));
    }
}

#[test]
fn same_inputs_give_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    let run = || {
        let mut random = Random(11);
        let groups = all_options(3);
        let lens: Vec<_> = (0..groups.len()).map(|group| (group, 257 + group)).collect();
        let (buffers, spots) = scatter(&mut random, &lens, Home::OnePool);
        let mut rig = Rig::new(gpu.clone(), &groups, &buffers, &spots, 3);
        for _ in 0..5 {
            rig.set_grads(|| random.normal());
            rig.step_gpu();
        }
        (rig.found(), rig.gpu.state(&rig.optimizer))
    };
    let first = run();
    for _ in 0..3 {
        assert!(run() == first);
    }
}

#[test]
fn non_finite_gradients_propagate_to_their_own_elements_only() {
    let Some(gpu) = gpu() else { return };
    let hyperparams = Hyperparams { order: 1, amsgrad: true, ..Hyperparams::default() };
    let (buffers, spots) = scatter(&mut Random(1), &[(0, 1000)], Home::TwoPools);
    let mut rig = Rig::new(gpu, &[hyperparams], &buffers, &spots, 2);
    let mut number = 0;
    rig.set_grads(|| {
        number += 1;
        match number {
            101 => f32::NAN,
            202 => f32::INFINITY,
            303 => f32::MAX,
            404 => f32::MIN_POSITIVE / 2.0,
            _ => 0.5,
        }
    });
    rig.step_gpu();
    rig.step_twin();
    let found = rig.found();
    let param = |contents: &Contents| spots[0].param_in(contents).into_owned();
    for (i, (found, expected)) in param(&found).into_iter().zip(param(&rig.expected)).enumerate() {
        let poisoned = i == 100 || i == 201;
        assert_eq!(found.is_finite(), !poisoned, "element {i} is {found}");
        assert_eq!(expected.is_finite(), !poisoned, "element {i} is {expected}");
    }
}
