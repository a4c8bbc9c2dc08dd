//! Parameters and gradients in half precision: the optimizer on the GPU against the CPU twin, bit for bit where nothing but
//! rounding to half precision could differ.

use half::bf16;
use miadam::{
    Binding, Dtype, Error, GradOptions, GradScaler, HalfParams, Hyperparams, MiAdam, Param, ParamGroup, Plane, Role,
    StepScale, cpu,
};

use crate::common::{Contents, Gpu, Random, Rig, Spot, Values, gpu};
use crate::parity::{assert_states_agree, assert_updates_agree};

/// Where tensors lie.
#[derive(Clone, Copy, Debug)]
pub enum Home {
    /// All in one buffer, with gaps of this many words.
    Pool(usize),
    /// Two buffers each, starting at this word.
    Separate(usize),
}

/// A group for each of the formats, with tensors of these lengths.
pub fn rig(gpu: Gpu, home: Home, formats: &[(Dtype, Dtype)], hyperparams: &Hyperparams, lens: &[usize]) -> Rig {
    let mut buffers = Vec::new();
    let mut place = |len: usize, dtype: Dtype| {
        let (buffer, gap) = match home {
            Home::Pool(gap) => (0, gap),
            Home::Separate(start) => (buffers.len(), start),
        };
        buffers.resize(buffers.len().max(buffer + 1), 0);
        let at = buffers[buffer] + gap;
        buffers[buffer] = at + (len * dtype.width() as usize).div_ceil(4);
        (buffer, at)
    };
    let mut spots = Vec::new();
    for (group, &(dtype, grad_dtype)) in formats.iter().enumerate() {
        for &len in lens {
            let (param, grad) = (place(len, dtype), place(len, grad_dtype));
            spots.push(Spot { group, len, param, grad, dtype, grad_dtype });
        }
    }
    // A few words behind the last tensor, too.
    buffers.iter_mut().for_each(|len| *len += 3);
    let group = |number| Hyperparams { lr: hyperparams.lr * (1 + number) as f64, ..hyperparams.clone() };
    let groups: Vec<_> = (0..formats.len()).map(group).collect();
    Rig::new(gpu, &groups, &buffers, &spots, 3)
}

/// A step on both sides from what is on the device; gives what the twin makes of it. Whatever belongs to no parameter is
/// as the twin leaves it.
fn step(rig: &mut Rig) -> Contents {
    rig.step_gpu();
    rig.step_twin();
    let found = rig.found();
    rig.assert_untouched(&found);
    std::mem::replace(&mut rig.expected, found)
}

pub const PAIRS: [(Dtype, Dtype); 8] = [
    (Dtype::F16, Dtype::F16),
    (Dtype::Bf16, Dtype::Bf16),
    (Dtype::Bf16, Dtype::F32),
    (Dtype::F16, Dtype::F32),
    (Dtype::F32, Dtype::F16),
    (Dtype::F32, Dtype::Bf16),
    (Dtype::Bf16, Dtype::F16),
    (Dtype::F32, Dtype::F32),
];

pub const LENS: [usize; 9] = [0, 1, 2, 3, 5, 64, 1757, 4099, 20_000];

pub const HOMES: [Home; 4] = [Home::Pool(0), Home::Pool(2), Home::Separate(0), Home::Separate(1)];

/// Every option that meets a parameter's type.
fn options() -> [GradOptions; 3] {
    let scaler = GradScaler { init_scale: 64.0, growth_interval: 2, ..GradScaler::default() };
    [
        GradOptions::default(),
        GradOptions { clip_norm: Some(1.0), zero: true, ..GradOptions::default() },
        GradOptions { scaler: Some(scaler), clip_value: Some(0.01), factor: 0.5, ..GradOptions::default() },
    ]
}

#[test]
fn master_copies_are_updated_and_rounded_to_nearest() {
    let Some(gpu) = gpu() else { return };
    for (number, home) in HOMES.into_iter().enumerate() {
        for (order, amsgrad) in [(0, true), (1, false), (3, true), (5, false)] {
            // The paper's scale would make steps at orders 3 and 5 too small to tell from none.
            let step_scale = StepScale::UnitGain;
            let hyperparams = Hyperparams { order, amsgrad, step_scale, switch_step: 3, ..Hyperparams::default() };
            let mut rig = rig(gpu.clone(), home, &PAIRS, &hyperparams, &LENS);
            rig.set_grad_options(options()[(number + order as usize) % 3]);
            let mut random = Random(5);
            // The device's and the twin's; the first step makes both of the parameter.
            let start = |spot: &Spot| [(); 2].map(|()| spot.param_in(&rig.expected).into_owned());
            let mut masters: Vec<_> = rig.spots.iter().map(start).collect();
            for number in 1..=4 {
                rig.set_grads(|| random.normal());
                step(&mut rig);
                check_masters(&rig, &mut masters, format_args!("{home:?}, order {order}, step {number}"));
            }
        }
    }
}

/// The rounded copy has the bits of the device's own master, whose step is the twin's, and so is the rest of the state.
fn check_masters(rig: &Rig, masters: &mut [[Vec<f32>; 2]], context: std::fmt::Arguments) {
    let (found, twin) = (rig.gpu.state(&rig.optimizer), rig.twin.read_state());
    assert_eq!(found.step, twin.step);
    assert_states_agree(&found.params, &twin.params);
    let states = found.params.iter().zip(&twin.params);
    for (((found, twin), spot), old) in states.zip(&rig.spots).zip(masters) {
        let masters = [found, twin].map(|state| state.plane(Plane::Master));
        assert_eq!(masters[0].is_some(), spot.dtype != Dtype::F32);
        let [Some(found), Some(twin)] = masters else { continue };
        assert!(spot.values_in(&rig.expected) == Values::new(spot.dtype, found), "{context}: {spot:?}");
        assert_updates_agree(old.each_ref().map(|old| &old[..]), [found, twin], context);
        *old = [found, twin].map(<[f32]>::to_vec);
    }
}

#[test]
fn a_master_copy_keeps_what_rounding_would_lose() {
    let Some(gpu) = gpu() else { return };
    for dtype in [Dtype::F16, Dtype::Bf16] {
        // Steps of 1e-4 beside 1, whose neighbours are 5e-4 and 4e-3 away.
        let hyperparams = Hyperparams { lr: 1e-4, order: 0, ..Hyperparams::default() };
        let mut rig = rig(gpu.clone(), Home::Pool(0), &[(dtype, Dtype::F32)], &hyperparams, &[6]);
        rig.set_param(0, 1.0);
        rig.set_grads(|| 1.0);
        for _ in 0..100 {
            step(&mut rig);
        }
        let found = rig.spots[0].values_in(&rig.expected);
        assert!(found == Values::new(dtype, &[0.99; 6]), "{found:?}");
    }
}

const STOCHASTIC: [(Dtype, Dtype); 4] =
    [(Dtype::Bf16, Dtype::Bf16), (Dtype::Bf16, Dtype::F32), (Dtype::Bf16, Dtype::F16), (Dtype::F32, Dtype::Bf16)];

/// Skipped or not, but never by one whose encoder is dropped or refused. What is written into the parameter later does not count.
#[test]
fn master_copies_are_made_by_the_first_step_that_runs() {
    let hyperparams = Hyperparams { order: 0, lr: 1e-4, ..Hyperparams::default() };
    let options = GradOptions { skip_non_finite: true, ..GradOptions::default() };
    let grads = [[f32::NAN, 1.0, 1.0, 1.0], [1.0; 4]];
    let check = |master: &[f32]| {
        assert!(master.iter().all(|&theta| (theta - (1.0 - 1e-4)).abs() < 1e-6), "{master:?}");
    };
    let group = ParamGroup::new(hyperparams, [Param::new("w", 4).with_dtype(Dtype::Bf16)]);
    let mut twin = cpu::MiAdam::new([group.clone()]).unwrap();
    twin.set_grad_options(options).unwrap();
    for (mut w, mut grads) in [bf16::ONE, bf16::NEG_ONE].map(|value| [value; 4]).into_iter().zip(grads) {
        twin.step([cpu::Binding::new("w", &mut w, &mut grads)]).unwrap();
    }
    check(twin.read_state().params[0].plane(Plane::Master).unwrap());

    let Some(gpu) = gpu() else { return };
    let pair = |value: bf16| f32::from_bits(0x10001 * u32::from(value.to_bits()));
    let (buffer, grad) = (gpu.buffer_of(&[pair(bf16::NEG_ONE); 2]), gpu.buffer_of(&grads[1]));
    let binding = Binding::new("w", &buffer, &grad).with_grad_dtype(Dtype::F32);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], [binding]).unwrap();
    optimizer.set_grad_options(options).unwrap();
    optimizer.step(&mut gpu.encoder()).unwrap();
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let mut refused = gpu.encoder();
    optimizer.step(&mut refused).unwrap();
    refused.copy_buffer_to_buffer(&buffer, 0, &grad, 1 << 20, 8);
    gpu.submit(refused);
    assert!(pollster::block_on(scope.pop()).is_some());
    gpu.wait();
    let dispatches = optimizer.dispatches().unwrap();
    for (value, grads) in [bf16::ONE, bf16::NEG_ONE].into_iter().zip(grads) {
        gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&[pair(value); 2]));
        gpu.queue.write_buffer(&grad, 0, bytemuck::cast_slice(&grads));
        gpu.step(&mut optimizer);
        gpu.wait();
        assert_eq!(optimizer.dispatches().unwrap(), dispatches - 1, "after a step that has run");
    }
    check(gpu.state(&optimizer).params[0].plane(Plane::Master).unwrap());
}

fn stochastic(order: u32, seed: u64) -> Hyperparams {
    let half_params = HalfParams::Stochastic { seed };
    Hyperparams { order, switch_step: 3, half_params, ..Hyperparams::default() }
}

#[test]
fn stochastic_rounding_is_that_of_the_twin() {
    let Some(gpu) = gpu() else { return };
    for (number, home) in HOMES.into_iter().enumerate() {
        for order in [0, 2] {
            let mut rig = rig(gpu.clone(), home, &STOCHASTIC, &stochastic(order, 7), &LENS);
            rig.set_grad_options(options()[number % 3]);
            let mut random = Random(5);
            for number in 1..=4 {
                rig.set_grads(|| random.normal());
                let expected = step(&mut rig);
                let state = rig.gpu.state(&rig.optimizer);
                assert!(state.params.iter().all(|state| state.plane(Plane::Master).is_none()));
                assert_states_agree(&state.params, &rig.twin.read_state().params);
                for spot in &rig.spots {
                    let values = [&rig.expected, &expected].map(|contents| spot.values_in(contents));
                    let [Values::Bf16(found), Values::Bf16(expected)] = values else { continue };
                    let differ: Vec<_> =
                        found.iter().zip(&expected).filter(|(found, expected)| found != expected).collect();
                    // A value off by a few f32 roundings meets its threshold, one of 2¹⁶, that seldom.
                    assert!(differ.len() <= 1 + found.len() / 100, "{home:?}, step {number}: {} differ", differ.len());
                    for (found, expected) in differ {
                        let apart = found.to_bits().abs_diff(expected.to_bits());
                        assert!(apart == 1, "{home:?}, step {number}: {found} is not {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn stochastic_rounding_does_not_depend_on_where_tensors_lie() {
    let Some(gpu) = gpu() else { return };
    let run = |home, seed| {
        let mut rig = rig(gpu.clone(), home, &STOCHASTIC[..1], &stochastic(1, seed), &LENS);
        let mut random = Random(5);
        for _ in 0..3 {
            rig.set_grads(|| random.normal());
            step(&mut rig);
        }
        rig.spots.iter().map(|spot| spot.values_in(&rig.expected)).collect::<Vec<_>>()
    };
    let first = run(HOMES[0], 7);
    assert!(HOMES.into_iter().all(|home| run(home, 7) == first));
    assert!(run(HOMES[0], 8) != first);
}

#[test]
fn stochastic_rounding_moves_parameters_as_far_as_they_should_in_the_mean() {
    // Steps of 1e-4 from 1: a hundredth in a hundred of them, though bf16 has nothing between 1 and 0.996.
    let len = 10_000;
    let hyperparams = Hyperparams { lr: 1e-4, ..stochastic(0, 1) };
    let param = Param::new("w", len).with_dtype(Dtype::Bf16);
    let mut twin = cpu::MiAdam::new([ParamGroup::new(hyperparams, [param])]).unwrap();
    let (mut w, mut grad) = (vec![bf16::ONE; len], vec![1.0; len]);
    for _ in 0..100 {
        twin.step([cpu::Binding::new("w", &mut w, &mut grad)]).unwrap();
    }
    let mean = w.iter().map(|w| f64::from(w.to_f32())).sum::<f64>() / len as f64;
    // A hundred steps of variance below 2⁻⁸·1e-4 each, over 10,000 elements: a deviation of 6e-5.
    assert!((mean - 0.99).abs() < 3e-4, "{mean}");
    assert!(w.windows(2).any(|pair| pair[0] != pair[1]), "they are drawn one by one");
}

#[test]
fn bad_types_are_errors() {
    let group = |len, dtype, half_params| {
        let hyperparams = Hyperparams { half_params, ..Hyperparams::default() };
        ParamGroup::new(hyperparams, [Param::new("w", len).with_dtype(dtype)])
    };
    let stochastic = HalfParams::Stochastic { seed: 0 };
    let refused = Error::StochasticRounding { name: "w".into() };
    assert_eq!(cpu::MiAdam::new([group(4, Dtype::F16, stochastic)]).err(), Some(refused.clone()));
    let mut twin = cpu::MiAdam::new([group(4, Dtype::F16, HalfParams::Master)]).unwrap();
    let error = twin.step([cpu::Binding::new("w", &mut [0.0; 4], &mut [0.0; 4])]).unwrap_err();
    assert!(matches!(error, Error::DtypeMismatch { expected: Dtype::F16, found: Dtype::F32, .. }), "{error}");
    assert_eq!(twin.read_report().step, 0);

    let Some(gpu) = gpu() else { return };
    let buffers = [gpu.buffer_of(&[0.0; 8]), gpu.buffer_of(&[0.0; 8])];
    let bind =
        |name, param, grad| Binding::new(name, (&buffers[0], param), (&buffers[1], grad)).with_grad_dtype(Dtype::F32);
    let make =
        |at, len, dtype| MiAdam::new(&gpu.device, &gpu.queue, [group(len, dtype, stochastic)], [bind("w", at, 0)]);
    assert_eq!(make(0, 8, Dtype::F16).err(), Some(refused));
    assert!(matches!(make(2, 4, Dtype::Bf16), Err(Error::Misaligned { .. })));
    assert!(matches!(make(20, 7, Dtype::Bf16), Err(Error::OutOfBounds { .. })));
    make(20, 5, Dtype::Bf16).unwrap();
    // The gradient's type counts for its bounds, and has to be said: a buffer does not know it.
    let bf16 = || Binding::new("w", (&buffers[0], 0), (&buffers[1], 16));
    let make = |binding| MiAdam::new(&gpu.device, &gpu.queue, [group(8, Dtype::Bf16, stochastic)], [binding]);
    let unknown = make(bf16()).unwrap_err();
    assert!(unknown == Error::UnknownGradDtype { name: "w".into() } && unknown.to_string().contains("with_grad_dtype"));
    make(bf16().with_grad_dtype(Dtype::Bf16)).unwrap();
    assert!(matches!(make(bf16().with_grad_dtype(Dtype::F32)), Err(Error::OutOfBounds { role: Role::Grad, .. })));
    // The last half of a word is a tensor's own, too.
    let params = ["a", "b"].map(|name| Param::new(name, 3).with_dtype(Dtype::F16));
    let group = ParamGroup::new(Hyperparams::default(), params);
    let error = MiAdam::new(&gpu.device, &gpu.queue, [group], [bind("a", 0, 0), bind("b", 4, 16)]).err();
    assert!(matches!(error, Some(Error::Overlap { .. })), "{error:?}");
}
