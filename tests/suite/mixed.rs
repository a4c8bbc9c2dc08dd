//! Parameters and gradients in half precision: the optimizer on the GPU against the CPU twin, bit for bit where nothing but
//! rounding to half precision could differ.

use half::bf16;
use miadam::{
    Dtype, Error, GradOptions, GradScaler, HalfParams, Hyperparams, MiAdam, Param, ParamGroup, Slice, StepScale, cpu,
};

use crate::common::{Gpu, Random, gpu};
use crate::parity::{assert_states_agree, assert_updates_agree};
use crate::values::Values;

/// What lies between tensors in a buffer.
const FILL: u8 = 0xa5;

/// Where the tensors of a [`Mixed`] lie.
#[derive(Clone, Copy, Debug)]
enum Home {
    /// All in one buffer, with gaps of at least this many bytes.
    Pool(usize),
    /// Two buffers each, starting at this byte.
    Separate(usize),
}

/// Where a tensor lies: buffer, first byte, bytes.
#[derive(Clone, Copy)]
struct Spot {
    buffer: usize,
    at: usize,
    len: usize,
}

struct Tensor {
    param: Values,
    grad: Values,
    spots: [Spot; 2],
}

/// An optimizer over tensors of several types, and its twin.
struct Mixed {
    gpu: Gpu,
    optimizer: MiAdam,
    twin: cpu::MiAdam,
    /// As they are on the device after the last step.
    tensors: Vec<Tensor>,
    buffers: Vec<wgpu::Buffer>,
    contents: Vec<Vec<u8>>,
}

impl Mixed {
    /// A group for each of the formats, with tensors of these lengths.
    fn new(gpu: Gpu, home: Home, formats: &[(Dtype, Dtype)], hyperparams: &Hyperparams, lens: &[usize]) -> Self {
        let mut random = Random(3);
        let (mut contents, mut tensors) = (Vec::<Vec<u8>>::new(), Vec::new());
        let mut place = |bytes: Vec<u8>| {
            let (buffer, gap) = match home {
                Home::Pool(gap) => (0, gap),
                Home::Separate(start) => (contents.len(), start),
            };
            contents.resize(contents.len().max(buffer + 1), Vec::new());
            let at = (contents[buffer].len() + gap).next_multiple_of(4);
            contents[buffer].resize(at, FILL);
            contents[buffer].extend(&bytes);
            Spot { buffer, at, len: bytes.len() }
        };
        for (param, grad) in formats {
            for &len in lens {
                let values: Vec<_> = (0..len).map(|_| 0.05 * random.normal()).collect();
                let (param, grad) = (Values::new(*param, &values), Values::new(*grad, &vec![0.0; len]));
                let spots = [place(param.bytes()), place(grad.bytes())];
                tensors.push(Tensor { param, grad, spots });
            }
        }
        for bytes in &mut contents {
            bytes.resize(bytes.len().next_multiple_of(4) + 12, FILL);
        }
        let buffers: Vec<_> =
            contents.iter().map(|bytes| gpu.buffer(&bytemuck::pod_collect_to_vec::<u8, f32>(bytes))).collect();
        let group = |number: usize| Hyperparams { lr: hyperparams.lr * (1 + number) as f64, ..hyperparams.clone() };
        let of = |number: usize| tensors[number * lens.len()..][..lens.len()].iter().zip(lens).zip(0..);
        let optimizer = MiAdam::new(
            &gpu.device,
            &gpu.queue,
            formats.iter().enumerate().map(|(number, &(param, grad))| {
                let params = of(number).map(|((tensor, &len), index): ((&Tensor, _), u32)| {
                    let [param, grad] = [(0, param), (1, grad)].map(|(role, dtype)| {
                        let Spot { buffer, at, .. } = tensor.spots[role];
                        Slice::new(&buffers[buffer], at as u64, len as u64).with_dtype(dtype)
                    });
                    Param::new(format!("{number}.{index}"), param, grad)
                });
                ParamGroup::new(group(number), params.collect::<Vec<_>>())
            }),
        )
        .unwrap();
        let twin = cpu::MiAdam::new(formats.iter().enumerate().map(|(number, &(param, _))| {
            let params = of(number)
                .map(|((_, &len), index)| cpu::Param::new(format!("{number}.{index}"), len).with_dtype(param));
            ParamGroup::new(group(number), params.collect::<Vec<_>>())
        }))
        .unwrap();
        Self { gpu, optimizer, twin, tensors, buffers, contents }
    }

    fn set_grad_options(&mut self, options: GradOptions) {
        self.optimizer.set_grad_options(options).unwrap();
        self.twin.set_grad_options(options).unwrap();
    }

    /// New gradients on the device.
    fn set_grads(&mut self, mut value: impl FnMut() -> f32) {
        for tensor in &mut self.tensors {
            let values: Vec<_> = tensor.param.single().iter().map(|_| value()).collect();
            tensor.grad = Values::new(tensor.grad.as_mut().dtype(), &values);
            let Spot { buffer, at, len } = tensor.spots[1];
            let contents = &mut self.contents[buffer];
            contents[at..at + len].copy_from_slice(&tensor.grad.bytes());
            let words = &contents[at..at + len.next_multiple_of(4)];
            self.gpu.queue.write_buffer(&self.buffers[buffer], at as u64, words);
        }
    }

    /// A step on both sides from what is on the device; gives what the twin makes of the parameters. Whatever belongs to
    /// no parameter is as the twin leaves it.
    fn step(&mut self) -> Vec<Values> {
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).unwrap();
        self.gpu.queue.submit([encoder.finish()]);
        let mut expected: Vec<_> = self.tensors.iter().map(|tensor| tensor.param.clone()).collect();
        let mut params: Vec<_> = expected.iter_mut().map(Values::as_mut).collect();
        let mut grads: Vec<_> = self.tensors.iter_mut().map(|tensor| tensor.grad.as_mut()).collect();
        self.twin.step_values(&mut params, &mut grads).unwrap();

        for (number, buffer) in self.buffers.iter().enumerate() {
            let found: Vec<u8> = bytemuck::pod_collect_to_vec(&self.gpu.read(buffer));
            let mut other = self.contents[number].clone();
            for tensor in &mut self.tensors {
                let [param, grad] = tensor.spots;
                if grad.buffer == number {
                    other[grad.at..grad.at + grad.len].copy_from_slice(&tensor.grad.bytes());
                }
                if param.buffer == number {
                    let range = param.at..param.at + param.len;
                    other[range.clone()].copy_from_slice(&found[range.clone()]);
                    let dtype = tensor.param.as_mut().dtype();
                    tensor.param = Values::from_bytes(dtype, &found[range], usize::MAX);
                }
            }
            assert!(found == other, "buffer {number}: a byte of no parameter has changed");
            self.contents[number] = found;
        }
        expected
    }
}

const PAIRS: [(Dtype, Dtype); 8] = [
    (Dtype::F16, Dtype::F16),
    (Dtype::Bf16, Dtype::Bf16),
    (Dtype::Bf16, Dtype::F32),
    (Dtype::F16, Dtype::F32),
    (Dtype::F32, Dtype::F16),
    (Dtype::F32, Dtype::Bf16),
    (Dtype::Bf16, Dtype::F16),
    (Dtype::F32, Dtype::F32),
];

const LENS: [usize; 9] = [0, 1, 2, 3, 5, 64, 1757, 4099, 20_000];

const HOMES: [Home; 4] = [Home::Pool(0), Home::Pool(7), Home::Separate(0), Home::Separate(4)];

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
            let mut mixed = Mixed::new(gpu.clone(), home, &PAIRS, &hyperparams, &LENS);
            mixed.set_grad_options(options()[(number + order as usize) % 3]);
            let mut random = Random(5);
            // The device's and the twin's; the first step makes both of the parameter.
            let mut masters: Vec<_> =
                mixed.tensors.iter().map(|tensor| [(); 2].map(|()| tensor.param.single())).collect();
            for step in 1..=4 {
                mixed.set_grads(|| random.normal());
                mixed.step();
                check_masters(&mixed, &mut masters, format_args!("{home:?}, order {order}, step {step}"));
            }
        }
    }
}

/// The rounded copy has the bits of the device's own master, whose step is the twin's, and so is the rest of the state.
fn check_masters(mixed: &Mixed, masters: &mut [[Vec<f32>; 2]], context: std::fmt::Arguments) {
    let (found, twin) = (mixed.gpu.state(&mixed.optimizer), mixed.twin.state());
    assert_eq!(found.step, twin.step);
    assert_states_agree(&found.tensors, &twin.tensors);
    let states = found.tensors.into_iter().zip(twin.tensors);
    for (((found, twin), tensor), old) in states.zip(&mixed.tensors).zip(masters) {
        let dtype = tensor.param.clone().as_mut().dtype();
        assert_eq!(found.master.is_some(), dtype != Dtype::F32);
        let (Some(found), Some(twin)) = (found.master, twin.master) else { continue };
        assert!(tensor.param == Values::new(dtype, &found), "{context}: {}", tensor.param.single().len());
        let new = [found, twin];
        assert_updates_agree(old.each_ref().map(|old| &old[..]), new.each_ref().map(|new| &new[..]), context);
        *old = new;
    }
}

#[test]
fn a_master_copy_keeps_what_rounding_would_lose() {
    let Some(gpu) = gpu() else { return };
    for dtype in [Dtype::F16, Dtype::Bf16] {
        // Steps of 1e-4 beside 1, whose neighbours are 5e-4 and 4e-3 away.
        let hyperparams = Hyperparams { lr: 1e-4, order: 0, ..Hyperparams::default() };
        let mut mixed = Mixed::new(gpu.clone(), Home::Pool(0), &[(dtype, Dtype::F32)], &hyperparams, &[6]);
        mixed.tensors[0].param = Values::new(dtype, &[1.0; 6]);
        let Spot { at, len, .. } = mixed.tensors[0].spots[0];
        mixed.contents[0][at..at + len].copy_from_slice(&mixed.tensors[0].param.bytes());
        mixed.gpu.queue.write_buffer(&mixed.buffers[0], 0, &mixed.contents[0]);
        mixed.set_grads(|| 1.0);
        for _ in 0..100 {
            mixed.step();
        }
        assert!(mixed.tensors[0].param == Values::new(dtype, &[0.99; 6]), "{:?}", mixed.tensors[0].param);
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
    let param = cpu::Param::new("w", 4).with_dtype(Dtype::Bf16);
    let mut twin = cpu::MiAdam::new([ParamGroup::new(hyperparams.clone(), [param])]).unwrap();
    twin.set_grad_options(options).unwrap();
    for (mut w, mut grads) in [bf16::ONE, bf16::NEG_ONE].map(|value| [value; 4]).into_iter().zip(grads) {
        twin.step_values(&mut [(&mut w[..]).into()], &mut [(&mut grads[..]).into()]).unwrap();
    }
    check(twin.state().tensors[0].master.as_ref().unwrap());

    let Some(gpu) = gpu() else { return };
    let pair = |value: bf16| f32::from_bits(0x10001 * u32::from(value.to_bits()));
    let (buffer, grad) = (gpu.buffer(&[pair(bf16::NEG_ONE); 2]), gpu.buffer(&grads[1]));
    let param = Param::new("w", Slice::new(&buffer, 0, 4).with_dtype(Dtype::Bf16), Slice::whole(&grad));
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [ParamGroup::new(hyperparams, [param])]).unwrap();
    optimizer.set_grad_options(options).unwrap();
    optimizer.step(&mut gpu.encoder()).unwrap();
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let mut refused = gpu.encoder();
    optimizer.step(&mut refused).unwrap();
    refused.copy_buffer_to_buffer(&buffer, 0, &grad, 1 << 20, 8);
    gpu.queue.submit([refused.finish()]);
    assert!(pollster::block_on(scope.pop()).is_some());
    gpu.wait();
    let dispatches = optimizer.dispatches().unwrap();
    for (value, grads) in [bf16::ONE, bf16::NEG_ONE].into_iter().zip(grads) {
        gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&[pair(value); 2]));
        gpu.queue.write_buffer(&grad, 0, bytemuck::cast_slice(&grads));
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        gpu.queue.submit([encoder.finish()]);
        gpu.wait();
        assert_eq!(optimizer.dispatches().unwrap(), dispatches - 1, "after a step that has run");
    }
    check(gpu.state(&optimizer).tensors[0].master.as_ref().unwrap());
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
            let mut mixed = Mixed::new(gpu.clone(), home, &STOCHASTIC, &stochastic(order, 7), &LENS);
            mixed.set_grad_options(options()[number % 3]);
            let mut random = Random(5);
            for step in 1..=4 {
                mixed.set_grads(|| random.normal());
                let expected = mixed.step();
                let state = mixed.gpu.state(&mixed.optimizer);
                assert!(state.tensors.iter().all(|tensor| tensor.master.is_none()));
                assert_states_agree(&state.tensors, &mixed.twin.state().tensors);
                for (tensor, expected) in mixed.tensors.iter().zip(expected) {
                    let (Values::Bf16(found), Values::Bf16(expected)) = (&tensor.param, &expected) else { continue };
                    let differ: Vec<_> =
                        found.iter().zip(expected).filter(|(found, expected)| found != expected).collect();
                    // A value off by a few f32 roundings meets its threshold, one of 2¹⁶, that seldom.
                    assert!(differ.len() <= 1 + found.len() / 100, "{home:?}, step {step}: {} differ", differ.len());
                    for (found, expected) in differ {
                        let apart = found.to_bits().abs_diff(expected.to_bits());
                        assert!(apart == 1, "{home:?}, step {step}: {found} is not {expected}");
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
        let mut mixed = Mixed::new(gpu.clone(), home, &STOCHASTIC[..1], &stochastic(1, seed), &LENS);
        let mut random = Random(5);
        for _ in 0..3 {
            mixed.set_grads(|| random.normal());
            mixed.step();
        }
        mixed.tensors.into_iter().map(|tensor| tensor.param).collect::<Vec<_>>()
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
    let param = cpu::Param::new("w", len).with_dtype(Dtype::Bf16);
    let mut twin = cpu::MiAdam::new([ParamGroup::new(hyperparams, [param])]).unwrap();
    let (mut w, mut grad) = (vec![bf16::ONE; len], vec![1.0; len]);
    for _ in 0..100 {
        twin.step_values(&mut [(&mut w[..]).into()], &mut [(&mut grad[..]).into()]).unwrap();
    }
    let mean = w.iter().map(|w| f64::from(w.to_f32())).sum::<f64>() / len as f64;
    // A hundred steps of variance below 2⁻⁸·1e-4 each, over 10,000 elements: a deviation of 6e-5.
    assert!((mean - 0.99).abs() < 3e-4, "{mean}");
    assert!(w.windows(2).any(|pair| pair[0] != pair[1]), "they are drawn one by one");
}

#[test]
fn bad_types_are_errors() {
    let f16 = |half_params| {
        let hyperparams = Hyperparams { half_params, ..Hyperparams::default() };
        ParamGroup::new(hyperparams, [cpu::Param::new("w", 4).with_dtype(Dtype::F16)])
    };
    let refused = Error::StochasticRounding { name: "w".into() };
    assert_eq!(cpu::MiAdam::new([f16(HalfParams::Stochastic { seed: 0 })]).err(), Some(refused.clone()));
    let mut twin = cpu::MiAdam::new([f16(HalfParams::Master)]).unwrap();
    let error = twin.step(&mut [&mut [0.0; 4]], &[&[0.0; 4]]).unwrap_err();
    assert!(matches!(error, Error::DtypeMismatch { expected: Dtype::F16, found: Dtype::F32, .. }), "{error}");
    assert_eq!(twin.report().step, 0);

    let Some(gpu) = gpu() else { return };
    let buffers = [gpu.buffer(&[0.0; 8]), gpu.buffer(&[0.0; 8])];
    let slice = |buffer: usize, offset, len, dtype| Slice::new(&buffers[buffer], offset, len).with_dtype(dtype);
    let make = |param: Slice, half_params| {
        let hyperparams = Hyperparams { half_params, ..Hyperparams::default() };
        let grad = slice(1, 0, param.len, Dtype::F32);
        MiAdam::new(&gpu.device, &gpu.queue, [ParamGroup::new(hyperparams, [Param::new("w", param, grad)])])
    };
    let stochastic = HalfParams::Stochastic { seed: 0 };
    assert_eq!(make(slice(0, 0, 8, Dtype::F16), stochastic).err(), Some(refused));
    assert!(matches!(make(slice(0, 2, 4, Dtype::Bf16), stochastic), Err(Error::Misaligned { .. })));
    assert!(matches!(make(slice(0, 20, 7, Dtype::Bf16), stochastic), Err(Error::OutOfBounds { .. })));
    let mut optimizer = make(slice(0, 20, 5, Dtype::Bf16), stochastic).unwrap();
    let error = optimizer.rebind("w", slice(0, 0, 5, Dtype::F16), slice(1, 0, 5, Dtype::F32)).unwrap_err();
    assert!(matches!(error, Error::DtypeMismatch { expected: Dtype::Bf16, found: Dtype::F16, .. }), "{error}");
    // The last half of a word is a tensor's own, too.
    let overlapping = [
        Param::new("a", slice(0, 0, 3, Dtype::F16), slice(1, 0, 3, Dtype::F32)),
        Param::new("b", slice(0, 4, 3, Dtype::F16), slice(1, 16, 3, Dtype::F32)),
    ];
    let error = MiAdam::new(&gpu.device, &gpu.queue, [ParamGroup::new(Hyperparams::default(), overlapping)]).err();
    assert!(matches!(error, Some(Error::Overlap { .. })), "{error:?}");
}
