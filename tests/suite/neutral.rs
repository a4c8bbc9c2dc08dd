//! A value that changes nothing is the same as the option's absence, to the bit, whatever is in the gradients.

use miadam::plan::Extras;
use miadam::{GradOptions, GradScaler, Hyperparams, Plane, StepScale, WeightDecay, cpu};

use crate::common::{Home, Random, Rig, gpu, scatter};

/// Options of a run, some of them with a value that changes nothing for the first group.
#[derive(Debug, Clone, PartialEq)]
struct Setup {
    options: GradOptions,
    hyperparams: Hyperparams,
    /// A group of its own, whose tensors share the first one's dispatches.
    neighbour: Hyperparams,
}

/// Every option without a value that changes nothing in the first of both, and with it in the second.
fn setups(row: &[usize]) -> [Setup; 2] {
    let scaler = GradScaler { init_scale: 4.0, ..GradScaler::default() };
    let decays = [WeightDecay::None, WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1)];
    let base = Setup {
        options: GradOptions {
            factor: [1.0, 1.0, 0.5][row[0]],
            clip_norm: [None, None, Some(0.5)][row[1]],
            measure_norm: false,
            clip_value: [None, None, Some(0.01)][row[3]],
            skip_non_finite: row[4] == 1,
            zero: row[5] == 1,
            scaler: [None, Some(scaler)][row[6]],
        },
        hyperparams: Hyperparams {
            lr: 0.05,
            order: [0, 0, 0, 2][row[8]],
            amsgrad: row[9] == 1,
            maximize: row[10] == 1,
            weight_decay: decays[row[7].saturating_sub(2)],
            ..Hyperparams::default()
        },
        neighbour: Hyperparams::default(),
    };
    let mut with = base.clone();
    if row[0] == 1 {
        // 1 as an f32.
        with.options.factor = 1.0 + 1e-9;
    }
    if row[1] == 1 {
        with.options.clip_norm = Some(f64::INFINITY);
    }
    with.options.measure_norm = row[2] == 1;
    if row[3] == 1 {
        with.options.clip_value = Some(f64::INFINITY);
    }
    match row[7] {
        1 => with.hyperparams.weight_decay = WeightDecay::Coupled(0.0),
        2 => with.hyperparams.weight_decay = WeightDecay::Decoupled(0.0),
        _ => {}
    }
    let other =
        |kappa, step_scale, switch_step| Hyperparams { kappa, step_scale, switch_step, ..with.hyperparams.clone() };
    match row[8] {
        1 => with.hyperparams = other(0.98, StepScale::UnitGain, 2),
        2 => with.hyperparams = other(1.0, StepScale::Reference, 1),
        _ => {}
    }
    with.neighbour.weight_decay = [WeightDecay::None, WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1)][row[11]];
    [base, with]
}

/// The bits of the first group after three steps, on the GPU and on the CPU: its parameters, and the planes of its state.
fn run(gpu: &crate::common::Gpu, setup: &Setup, home: Home, poison: Poison) -> [Vec<Vec<u32>>; 2] {
    let (buffers, spots) = scatter(&mut Random(3), &[(0, 1029), (0, 6), (1, 1100), (1, 5)], home);
    let groups = [setup.hyperparams.clone(), setup.neighbour.clone()];
    let mut rig = Rig::new(gpu.clone(), &groups, &buffers, &spots, 4);
    rig.set_grad_options(setup.options);
    if let Poison::Param(value) = poison {
        rig.set_param(1, value);
    }
    let mut random = Random(5);
    for step in 0..3 {
        rig.set_grads(|| random.normal());
        if let (1, Poison::Grads(values)) = (step, poison) {
            values.iter().zip(1000..).for_each(|(&value, element)| rig.set_grad(0, element, value));
        }
        rig.step_gpu();
        rig.step_twin();
    }
    let found = rig.found();
    [(found, rig.gpu.state(&rig.optimizer)), (rig.expected, rig.twin.read_state())].map(|(contents, state)| {
        // All NaN are alike.
        let bits = |value: &f32| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() };
        let params = spots[..2].iter().map(|spot| spot.param_in(&contents).iter().map(bits).collect());
        let planes = state.params[..2].iter().flat_map(|param| param.planes());
        params.chain(planes.map(|(_, plane)| plane.iter().map(bits).collect())).collect()
    })
}

/// Numbers that are not finite, or nearly so, in a gradient at the second step, or one in all of the second parameter.
#[derive(Debug, Clone, Copy)]
enum Poison {
    Grads(&'static [f32]),
    Param(f32),
}

/// Each value that changes nothing alone, and all of them beside each option that does change something.
fn rows() -> Vec<[usize; 12]> {
    let neutral = [(0, 1), (1, 1), (2, 1), (3, 1), (7, 1), (7, 2), (8, 1), (8, 2), (11, 1), (11, 2)];
    let active = [(0, 2), (1, 2), (3, 2), (4, 1), (5, 1), (6, 1), (7, 3), (7, 4), (8, 3), (9, 1), (10, 1)];
    let mut rows = Vec::new();
    for (option, level) in neutral {
        let mut row = [0; 12];
        row[option] = level;
        rows.push(row);
    }
    for (number, (option, level)) in active.into_iter().enumerate() {
        let choice = 1 + number % 2;
        let mut row = [1, 1, 1, 1, 0, 0, 0, choice, choice, 0, 0, choice];
        row[option] = level;
        rows.push(row);
    }
    rows
}

#[test]
fn values_that_change_nothing_are_as_the_options_absence() {
    let Some(gpu) = gpu() else { return };
    let homes = [Home::OnePool, Home::TwoPools, Home::Separate];
    // With the last one, the first parameter has gradients like any other.
    let poisons = [
        Poison::Grads(&[f32::INFINITY, f32::NEG_INFINITY]),
        Poison::Grads(&[f32::NAN]),
        Poison::Grads(&[f32::MAX]),
        Poison::Param(f32::INFINITY),
    ];
    for (number, row) in rows().into_iter().enumerate() {
        let [without, with] = setups(&row);
        assert_ne!(with, without);
        let extras = |setup: &Setup| Extras::new(&setup.hyperparams, &setup.options);
        assert_eq!(extras(&with), extras(&without), "{with:?}");
        for poison in poisons {
            let home = homes[number % 3];
            let [[gpu_without, cpu_without], [gpu_with, cpu_with]] =
                [&without, &with].map(|setup| run(&gpu, setup, home, poison));
            assert!(gpu_with == gpu_without, "on the GPU, {poison:?}, {home:?}: {with:?}");
            assert!(cpu_with == cpu_without, "on the CPU, {poison:?}, {home:?}: {with:?}");
        }
    }
}

/// The first moment after one step with this gradient, beside one of 1.
fn first_moments(options: GradOptions, grad: f32) -> [[f32; 2]; 2] {
    let gpu = gpu();
    let (buffers, spots) = scatter(&mut Random(3), &[(0, 2)], Home::TwoPools);
    let first = |state: miadam::State| state.params[0].plane(Plane::FirstMoment).unwrap().try_into().unwrap();
    let mut twin =
        cpu::MiAdam::new([miadam::ParamGroup::new(Hyperparams::default(), [miadam::Param::new("w", 2)])]).unwrap();
    twin.set_grad_options(options).unwrap();
    twin.step([cpu::Binding::new("w", &mut [0.0; 2], &mut [grad, 1.0])]).unwrap();
    let on_cpu = first(twin.read_state());
    let on_gpu = gpu.map_or(on_cpu, |gpu| {
        let mut rig = Rig::new(gpu.clone(), &[Hyperparams::default()], &buffers, &spots, 4);
        rig.set_grad_options(options);
        let mut grads = [grad, 1.0].into_iter();
        rig.set_grads(|| grads.next().unwrap());
        rig.step_gpu();
        first(gpu.state(&rig.optimizer))
    });
    [on_gpu, on_cpu]
}

/// Past the range of f32 a bound is the largest number in it: an infinite gradient is past that, too. Infinity is no bound.
#[test]
fn a_bound_past_the_range_of_f32_is_one() {
    let plain = GradOptions::default();
    let (inf, max) = (f32::INFINITY, 0.1 * f32::MAX);
    let value = |bound| GradOptions { clip_value: Some(bound), ..plain };
    let norm = |bound| GradOptions { clip_norm: Some(bound), ..plain };
    for (options, grad, [poisoned, other]) in [
        (value(f64::from(f32::MAX)), inf, [max, 0.1]),
        (value(1e39), inf, [max, 0.1]),
        (value(f64::MAX), -inf, [-max, 0.1]),
        (value(f64::INFINITY), inf, [inf, 0.1]),
        (value(f64::INFINITY), -inf, [-inf, 0.1]),
        // As PyTorch's clip_grad_norm_: infinity makes the finite ones 0 and itself NaN.
        (norm(1e39), inf, [f32::NAN, 0.0]),
        (norm(f64::MAX), inf, [f32::NAN, 0.0]),
        (norm(f64::INFINITY), inf, [inf, 0.1]),
        // Nothing to clip.
        (norm(1e39), f32::MAX, [max, 0.1]),
        (value(1e39), f32::MAX, [max, 0.1]),
    ] {
        for found in first_moments(options, grad) {
            for (found, expected) in found.into_iter().zip([poisoned, other]) {
                let near = (found / expected - 1.0).abs() <= 4.0 * f32::EPSILON;
                let holds = found == expected || near || (found.is_nan() && expected.is_nan());
                assert!(holds, "{options:?}, {grad}: {found} is not {expected}");
            }
        }
    }
}

/// The sum of no floats is -0.
#[test]
fn the_norm_of_no_gradients_is_0() {
    let Some(gpu) = gpu() else { return };
    let (buffers, spots) = scatter(&mut Random(3), &[(0, 0)], Home::TwoPools);
    let mut rig = Rig::new(gpu.clone(), &[Hyperparams::default()], &buffers, &spots, 4);
    rig.set_grad_options(GradOptions { measure_norm: true, ..GradOptions::default() });
    rig.step_gpu();
    rig.step_twin();
    for report in [gpu.report(&rig.optimizer), rig.twin.read_report()] {
        assert_eq!(report.grad_norm.map(f32::to_bits), Some(0));
    }
}

/// A comparison of two runs does not see what is wrong in both: here the values themselves are known. Without decay an infinite
/// θ stays as it is, and its moments are those of the gradient, whatever its neighbours do.
#[test]
fn an_infinite_parameter_without_decay_stays_and_spoils_nothing() {
    let decays = [WeightDecay::None, WeightDecay::Coupled(0.0), WeightDecay::Decoupled(0.0)];
    let neighbours = [WeightDecay::None, WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1)];
    let Some(gpu) = gpu() else { return };
    for (decay, neighbour) in decays.into_iter().flat_map(|decay| neighbours.map(|neighbour| (decay, neighbour))) {
        for theta in [f32::INFINITY, f32::NEG_INFINITY] {
            let groups = [decay, neighbour].map(|weight_decay| Hyperparams { weight_decay, ..Hyperparams::default() });
            // One pool, so that both groups share a dispatch.
            let (buffers, spots) = scatter(&mut Random(3), &[(0, 1029), (1, 1100)], Home::OnePool);
            let mut rig = Rig::new(gpu.clone(), &groups, &buffers, &spots, 4);
            // A norm that is measured and a bound that is not reached make the kernel one that changes gradients.
            rig.set_grad_options(GradOptions { clip_norm: Some(1e9), ..GradOptions::default() });
            rig.set_param(0, theta);
            rig.set_grads(|| 0.5);
            rig.step_gpu();
            rig.step_twin();
            let on_gpu = (rig.found(), rig.gpu.state(&rig.optimizer));
            for (device, (contents, state)) in [("GPU", on_gpu), ("CPU", (rig.expected, rig.twin.read_state()))] {
                let context = format!("{device}, {decay:?} beside {neighbour:?}");
                assert!(spots[0].param_in(&contents).iter().all(|&found| found == theta), "{context}");
                let moments = state.params[0].plane(Plane::FirstMoment).unwrap();
                // 1 - β1 times 0.5, and a few roundings.
                assert!(moments.iter().all(|m| (m / 0.05 - 1.0).abs() <= 4.0 * f32::EPSILON), "{context}");
            }
        }
    }
}
