//! State in fewer bits, on the GPU and on the CPU.

mod rows;

use miadam::{
    Average, Binding, Dtype, Error, GradOptions, HalfParams, Hyperparams, LoadOptions, Param, ParamGroup, Plane,
    StatePrecision, StepScale, WeightDecay, cpu,
};

use crate::common::{Gpu, Home, Random, Rig, Spot, gpu, logged, scatter};

const PACKED: [StatePrecision; 2] = [StatePrecision::Bf16, StatePrecision::Q8];

/// Lengths around a cell, a chunk and a workgroup's work, all of which are kept in fewer bits, and one that is not.
const LENS: [usize; 8] = [4096, 4097, 4103, 4111, 5000, 16_384, 40_003, 1757];

fn rig(gpu: &Gpu, hyperparams: &Hyperparams, home: Home) -> Rig {
    let lens: Vec<_> = LENS.iter().map(|&len| (0, len)).collect();
    let (buffers, spots) = scatter(&mut Random(3), &lens, home);
    Rig::new(gpu.clone(), std::slice::from_ref(hyperparams), &buffers, &spots, 4)
}

/// Steps both sides, which have the same bits after each step: parameters and all planes.
fn assert_same_bits(rig: &mut Rig, steps: usize, context: std::fmt::Arguments) {
    let mut random = Random(5);
    for step in 1..=steps {
        rig.set_grads(|| random.normal());
        rig.step_gpu();
        rig.step_twin();
        assert_sides_agree(rig, format_args!("after step {step}, {context}"));
    }
}

fn assert_sides_agree(rig: &Rig, context: std::fmt::Arguments) {
    let found = rig.found();
    let (state, twin) = (rig.gpu.state(&rig.optimizer), rig.twin.read_state());
    for ((spot, state), twin) in rig.spots.iter().zip(&state.params).zip(&twin.params) {
        for ((plane, found), (_, expected)) in state.planes().zip(twin.planes()) {
            let differ = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
            let at = differ.map(|at| (at, found[at], expected[at]));
            assert!(at.is_none(), "{plane} {context}, {spot:?}: {at:?}");
        }
        assert!(spot.values_in(&found) == spot.values_in(&rig.expected), "θ {context}, {spot:?}");
    }
}

#[test]
fn plain_steps_have_the_twins_bits() {
    let Some(gpu) = gpu() else { return };
    for state_precision in PACKED {
        for home in [Home::OnePool, Home::TwoPools, Home::Separate, Home::Mixed] {
            for order in [0, 1, 3, 5] {
                let step_scale = StepScale::UnitGain;
                let hyperparams =
                    Hyperparams { order, step_scale, state_precision, switch_step: 5, ..Hyperparams::default() };
                let mut rig = rig(&gpu, &hyperparams, home);
                assert_same_bits(&mut rig, 6, format_args!("order {order}, {home:?}, {state_precision:?}"));
            }
        }
    }
}

/// Each option alone, in a group that keeps its state in fewer bits.
fn options() -> Vec<(&'static str, Hyperparams, GradOptions)> {
    let base = Hyperparams { order: 1, step_scale: StepScale::ExactGain, ..Hyperparams::default() };
    let of = |name, hyperparams: Hyperparams| (name, hyperparams, GradOptions::default());
    let grads = |name, options| (name, base.clone(), options);
    let average = Average::Ema { decay: 0.75, warmup: true };
    vec![
        of("amsgrad", Hyperparams { amsgrad: true, ..base.clone() }),
        of("average", Hyperparams { average, amsgrad: true, ..base.clone() }),
        of("coupled decay", Hyperparams { weight_decay: WeightDecay::Coupled(0.1), ..base.clone() }),
        of("decoupled decay", Hyperparams { weight_decay: WeightDecay::Decoupled(0.1), ..base.clone() }),
        of("cautious decay", Hyperparams { weight_decay: WeightDecay::Cautious(0.1), ..base.clone() }),
        of("maximize", Hyperparams { maximize: true, ..base.clone() }),
        grads("a factor", GradOptions { factor: 0.5, ..GradOptions::default() }),
        grads("clipped values", GradOptions { clip_value: Some(0.5), ..GradOptions::default() }),
        grads("reset gradients", GradOptions { zero: true, ..GradOptions::default() }),
    ]
}

#[test]
fn options_have_the_twins_bits() {
    let Some(gpu) = gpu() else { return };
    for state_precision in PACKED {
        for (number, (name, hyperparams, grad_options)) in options().into_iter().enumerate() {
            let home = [Home::OnePool, Home::Separate][number % 2];
            let mut rig = rig(&gpu, &Hyperparams { state_precision, ..hyperparams }, home);
            rig.set_grad_options(grad_options);
            assert_same_bits(&mut rig, 3, format_args!("{name}, {home:?}, {state_precision:?}"));
        }
    }
}

#[test]
fn half_precision_and_averages_have_the_twins_bits() {
    let Some(gpu) = gpu() else { return };
    let average = Average::Equal { from: 1, every: 1 };
    for state_precision in PACKED {
        for (dtype, half_params) in [
            (Dtype::F16, HalfParams::Master),
            (Dtype::Bf16, HalfParams::Master),
            (Dtype::Bf16, HalfParams::Stochastic { seed: 7 }),
        ] {
            let hyperparams = Hyperparams { state_precision, half_params, average, lr: 0.01, ..Hyperparams::default() };
            let words = |len: usize| len.div_ceil(2);
            let mut end = 0;
            let spots: Vec<_> = [4096, 4111, 9001]
                .into_iter()
                .map(|len| {
                    let (param, grad) = ((0, end), (0, end + words(len)));
                    end += 2 * words(len);
                    Spot { len, param, grad, dtype, grad_dtype: dtype, ..Spot::default() }
                })
                .collect();
            let mut rig = Rig::new(gpu.clone(), &[hyperparams], &[end], &spots, 4);
            assert_same_bits(&mut rig, 3, format_args!("{dtype:?}, {half_params:?}, {state_precision:?}"));
            for _ in 0..2 {
                let mut encoder = rig.gpu.encoder();
                rig.optimizer.swap_averages(&mut encoder).unwrap();
                rig.gpu.submit(encoder);
                rig.swap_twin();
                assert_sides_agree(&rig, format_args!("after a swap, {dtype:?}, {half_params:?}, {state_precision:?}"));
            }
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_spoils_its_element_alone() {
    let Some(gpu) = gpu() else { return };
    for state_precision in PACKED {
        let mut rig = rig(&gpu, &Hyperparams { state_precision, ..Hyperparams::default() }, Home::OnePool);
        let mut random = Random(5);
        for _ in 0..2 {
            rig.set_grads(|| random.normal());
            rig.step_gpu();
            rig.step_twin();
        }
        rig.set_grads(|| random.normal());
        rig.set_grad(0, 100, f32::NAN);
        rig.set_grad(0, 200, f32::INFINITY);
        rig.step_gpu();
        rig.step_twin();
        for state in [&rig.gpu.state(&rig.optimizer), &rig.twin.read_state()] {
            let first = state.params[0].plane(Plane::FirstMoment).unwrap();
            // In 8 bits NaN becomes infinity.
            assert_eq!(first[100].is_nan(), state_precision == StatePrecision::Bf16);
            assert!(!first[100].is_finite() && first[200] == f32::INFINITY, "{state_precision:?}");
            let others = first.iter().enumerate().filter(|(at, _)| ![100, 200].contains(at));
            assert!(others.into_iter().all(|(_, value)| value.is_finite()), "{state_precision:?}");
        }
    }
}

/// The furthest that an element of a plane may be from what it was before it was rounded to nearest once: half of a step.
fn half_step(precision: StatePrecision, plane: Plane, before: &[f32], at: usize) -> f32 {
    let own = before[at].abs();
    let block = &before[at / 128 * 128..];
    let largest =
        block.iter().take(128).skip(at % 16).step_by(16).fold(0.0f32, |largest, value| largest.max(value.abs()));
    match (precision, plane) {
        (StatePrecision::F32, _) => 0.0,
        (StatePrecision::Bf16, _) => own / 256.0,
        // Small floats with a lowest one, which stands for all below it.
        (StatePrecision::Q8, Plane::SecondMoment | Plane::MaxSecondMoment) => own / 16.0 + largest / 16_384.0,
        // 31.5 steps for the largest of a column.
        (StatePrecision::Q8, _) => largest / 63.0,
    }
}

/// A small parameter beside a large one, in `f32` and in fewer bits.
fn group(state_precision: StatePrecision, name: &str) -> ParamGroup {
    let hyperparams =
        Hyperparams { order: 2, step_scale: StepScale::UnitGain, state_precision, ..Hyperparams::default() };
    ParamGroup::new(hyperparams, [Param::new(name, 8192), Param::new(format!("{name}.bias"), 64)])
}

fn step_cpu(optimizer: &mut cpu::MiAdam, random: &mut Random) -> Vec<Vec<f32>> {
    let lens: Vec<_> = optimizer.params().map(|param| (param.name.clone(), param.len)).collect();
    let mut tensors: Vec<_> = lens
        .into_iter()
        .map(|(name, len)| (name, vec![0.0; len], (0..len).map(|_| random.normal()).collect::<Vec<f32>>()))
        .collect();
    let bindings = tensors.iter_mut().map(|(name, param, grad)| cpu::Binding::new(name, &mut param[..], &mut grad[..]));
    optimizer.step(bindings).unwrap();
    tensors.into_iter().map(|(_, param, _)| param).collect()
}

#[test]
fn a_small_parameter_is_kept_in_f32() {
    let [exact, packed] = [StatePrecision::F32, StatePrecision::Q8].map(|precision| {
        let mut optimizer = cpu::MiAdam::new([group(precision, "w")]).unwrap();
        let mut random = Random(1);
        let params = (0..5).map(|_| step_cpu(&mut optimizer, &mut random)).last().unwrap();
        (params, optimizer.read_state())
    });
    assert_eq!(packed.0[1], exact.0[1]);
    assert_ne!(packed.0[0], exact.0[0]);
    assert_eq!(packed.1.params[1], exact.1.params[1]);
}

#[test]
fn memory_is_a_half_and_a_quarter() {
    for order in [0, 1, 3] {
        let bytes = [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Q8].map(|state_precision| {
            let hyperparams = Hyperparams { order, state_precision, ..Hyperparams::default() };
            let group = ParamGroup::new(hyperparams, [Param::new("w", 1 << 20)]);
            let expected = group.state_bytes();
            assert_eq!(cpu::MiAdam::new([group]).unwrap().state_bytes(), expected);
            expected
        });
        assert_eq!(bytes, [4, 2, 1].map(|width| (width * (2 + u64::from(order))) << 20));
    }
}

#[test]
fn another_precision_comes_by_a_checkpoint_alone() {
    let mut exact = cpu::MiAdam::new([group(StatePrecision::F32, "w")]).unwrap();
    let mut random = Random(1);
    (0..5).for_each(|_| drop(step_cpu(&mut exact, &mut random)));
    let hyperparams = |precision| group(precision, "w").hyperparams;
    let error = exact.set_hyperparams(0, hyperparams(StatePrecision::Q8)).unwrap_err();
    assert!(matches!(&error, Error::StatePrecision { name, .. } if name == "w"), "{error}");

    let checkpoint = exact.read_checkpoint();
    for precision in PACKED {
        let mut packed = cpu::MiAdam::new([group(precision, "w")]).unwrap();
        let own = LoadOptions { own_hyperparams: true, ..LoadOptions::default() };
        let error = packed.load_with(&checkpoint, &own).unwrap_err();
        assert!(error.to_string().contains(&format!("it is rounded from F32 to {precision:?}")), "{error}");
        let skipped = packed.load_with(&checkpoint, &LoadOptions { lenient: true, ..own }).unwrap();
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        let (state, expected) = (packed.read_state(), exact.read_state());
        for ((plane, found), (_, expected)) in state.params[0].planes().zip(expected.params[0].planes()) {
            for (at, found) in found.iter().enumerate() {
                let furthest = half_step(precision, plane, expected, at);
                assert!((found - expected[at]).abs() <= furthest, "{plane}: {found} for {}", expected[at]);
            }
        }
        // Back into f32, nothing is lost.
        let mut again = cpu::MiAdam::new([group(StatePrecision::F32, "w")]).unwrap();
        again.load_with(&packed.read_checkpoint(), &own).unwrap();
        let planes = |optimizer: &cpu::MiAdam| {
            optimizer.read_state().params[0].planes().map(|(_, values)| values.to_vec()).collect::<Vec<_>>()
        };
        assert!(planes(&again) == planes(&packed));
    }
}

/// Elements that do not end with a slab, a batch or a block.
const UNEVEN: usize = 9001;

/// A group that is plain Adam from step 5 on, and whose large parameter is uneven.
fn group_until_5(state_precision: StatePrecision, name: &str) -> ParamGroup {
    let mut group = group(state_precision, name);
    group.hyperparams.switch_step = 5;
    group.params[0].len = UNEVEN;
    group
}

/// Parameters come and go, and rest. The planes that move keep their bits.
#[test]
fn state_that_moves_keeps_its_bits() {
    let Some(gpu) = gpu() else { return };
    for precision in PACKED {
        let tensor = |len: usize| gpu.buffer_of(&vec![0.25_f32; len]);
        let group = |name| group_until_5(precision, name);
        let [w, w_grad, v, v_grad] = [UNEVEN; 4].map(tensor);
        let [bias, bias_grad, v_bias, v_bias_grad] = [64; 4].map(tensor);
        let bindings = [Binding::new("w", &w, &w_grad), Binding::new("w.bias", &bias, &bias_grad)];
        let mut optimizer = miadam::MiAdam::new(&gpu.device, &gpu.queue, [group("w")], bindings).unwrap();
        (0..3).for_each(|_| gpu.step(&mut optimizer));
        let before = gpu.state(&optimizer);
        let more = [Binding::new("v", &v, &v_grad), Binding::new("v.bias", &v_bias, &v_bias_grad)];
        optimizer.add_group(group("v"), more).unwrap();
        let after = gpu.state(&optimizer);
        assert_eq!(after.params[..2], before.params[..], "{precision:?}");
        optimizer.remove_params(["w.bias"]).unwrap();
        optimizer.freeze(["w"]).unwrap();
        gpu.step(&mut optimizer);
        assert_eq!(gpu.state(&optimizer).params[0], before.params[0], "{precision:?}");
        optimizer.thaw(["w"]).unwrap();
        gpu.step(&mut optimizer);
        assert_ne!(gpu.state(&optimizer).params[0], before.params[0], "{precision:?}");
        (0..4).for_each(|_| gpu.step(&mut optimizer));
        // It tells the optimizer that step 5 is near.
        gpu.state(&optimizer);
        optimizer.release_integrals().unwrap();
        assert_eq!(gpu.state(&optimizer).params[0].plane(Plane::Integral(1)), None);
    }
}

/// The same on the CPU, where planes lie otherwise.
#[test]
fn state_that_moves_on_the_cpu_keeps_its_bits() {
    for precision in PACKED {
        let mut random = Random(2);
        let mut optimizer = cpu::MiAdam::new([group_until_5(precision, "w")]).unwrap();
        (0..3).for_each(|_| drop(step_cpu(&mut optimizer, &mut random)));
        let before = optimizer.read_state();
        optimizer.add_group(group_until_5(precision, "v")).unwrap();
        assert_eq!(optimizer.read_state().params[..2], before.params[..], "{precision:?}");
        optimizer.remove_params(["w.bias"]).unwrap();
        optimizer.freeze(["w"]).unwrap();
        step_cpu(&mut optimizer, &mut random);
        assert_eq!(optimizer.read_state().params[0], before.params[0], "{precision:?}");
        optimizer.thaw(["w"]).unwrap();
        (0..4).for_each(|_| drop(step_cpu(&mut optimizer, &mut random)));
        let integrated = optimizer.read_state();
        assert_ne!(integrated.params[0], before.params[0], "{precision:?}");
        optimizer.release_integrals().unwrap();
        let released = optimizer.read_state();
        for (released, integrated) in released.params.iter().zip(&integrated.params) {
            for plane in [Plane::FirstMoment, Plane::SecondMoment] {
                assert_eq!(released.plane(plane), integrated.plane(plane), "{precision:?}");
            }
            assert_eq!(released.plane(Plane::Integral(1)), None);
        }
    }
}

/// A case finds its own message by its κ, which no other test has.
#[test]
fn sums_that_forget_too_slowly_are_warned_about() {
    let messages = logged();
    for (state_precision, kappa, order, warns) in [
        (StatePrecision::Q8, 0.9921, 1, true),
        (StatePrecision::Q8, 0.9922, 0, false),
        (StatePrecision::Q8, 0.9723, 1, false),
        (StatePrecision::Bf16, 0.9924, 1, false),
    ] {
        let step_scale = StepScale::UnitGain;
        let hyperparams = Hyperparams { order, kappa, step_scale, state_precision, ..Hyperparams::default() };
        cpu::MiAdam::new([ParamGroup::new(hyperparams, [Param::new("w", 5000)])]).unwrap();
        let part = format!("and kappa {kappa:?}: what is rounded away adds up");
        let found = messages.lock().unwrap().iter().any(|message| message.contains(&part));
        assert_eq!(found, warns, "{part}, {state_precision:?}");
    }
}
