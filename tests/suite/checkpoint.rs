//! Checkpoints: a resumed run has the bits of one that was never stopped.

use std::collections::BTreeMap;

use half::{bf16, f16};
use miadam::cpu::ValuesMut;
use miadam::{
    Checkpoint, Dtype, Error, GradOptions, GradScaler, HalfParams, Hyperparams, MiAdam, Param, ParamGroup, Schedule,
    Slice, StepScale, TensorState, WeightDecay, cpu,
};

use crate::common::{Gpu, Random, gpu};
use crate::parity::assert_states_agree;
use crate::values::Values;

/// Name, group, length and type.
type Tensor = (&'static str, usize, usize, Dtype);

const TENSORS: [Tensor; 6] = [
    ("a", 0, 5000, Dtype::F32),
    ("b", 0, 37, Dtype::F32),
    ("layer.c", 1, 513, Dtype::Bf16),
    ("layer.d", 2, 4101, Dtype::F16),
    ("e", 2, 6, Dtype::F32),
    ("nothing", 2, 0, Dtype::F32),
];

/// Three groups with all that a checkpoint has to remember; ζ is 4 and 3.
fn groups() -> [Hyperparams; 3] {
    let cosine = Schedule::Cosine { steps: 9, end_factor: 0.1 };
    let warmup = Schedule::LinearWarmup { start_factor: 0.1, steps: 3 };
    [
        Hyperparams {
            order: 2,
            // By the paper's, steps before ζ are lost in the rounding of θ.
            step_scale: StepScale::UnitGain,
            switch_step: 4,
            schedule: Schedule::Sequence(vec![(0, warmup), (3, cosine)]),
            ..Hyperparams::default()
        },
        Hyperparams {
            order: 1,
            switch_step: 3,
            half_params: HalfParams::Stochastic { seed: 5 },
            weight_decay: WeightDecay::Decoupled(0.01),
            ..Hyperparams::default()
        },
        Hyperparams {
            order: 0,
            amsgrad: true,
            schedule: Schedule::Exponential { gamma: 0.9 },
            ..Hyperparams::default()
        },
    ]
}

/// Between the norms of a gradient under the first loss scale and under twice that: some steps are clipped, some are not.
const CLIP_NORM: f64 = 4.0;

fn options() -> GradOptions {
    let scaler = GradScaler { init_scale: 8.0, growth_interval: 2, ..GradScaler::default() };
    GradOptions { clip_norm: Some(CLIP_NORM), scaler: Some(scaler), factor: 0.5, ..GradOptions::default() }
}

#[test]
fn some_steps_are_clipped() {
    let mut run = OnCpu::new(LAYOUTS[0]).unwrap();
    let norms: Vec<_> = (0..STEPS)
        .map(|step| {
            run.steps(step..step + 1);
            f64::from(run.optimizer.report().grad_norm.unwrap())
        })
        .collect();
    // Before the infinite one and after it.
    for norms in [&norms[..2], &norms[3..]] {
        assert!(norms.iter().any(|&norm| norm > CLIP_NORM), "{norms:?}");
    }
    assert!(norms.iter().any(|&norm| norm < CLIP_NORM), "{norms:?}");
}

/// How the same tensors are laid out and grouped.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The order of the groups.
    order: [usize; 3],
    /// All parameters in one buffer, or each in its own.
    pool: bool,
}

pub const LAYOUTS: [Layout; 2] = [Layout { order: [0, 1, 2], pool: true }, Layout { order: [2, 0, 1], pool: false }];

/// Steps of a whole run.
const STEPS: usize = 7;

/// The gradient of a tensor at a step, infinite at one of them.
fn grad((name, _, len, _): Tensor, step: usize) -> Vec<f32> {
    let mut random = Random(name.len() as u64 * 1000 + step as u64);
    // Quarters, whose squares add up exactly: the norm has the same bits however a layout orders them.
    let mut grad: Vec<_> = (0..len).map(|_| (4.0 * random.normal()).round() / 4.0).collect();
    if name == "b" && step == 2 {
        grad[7] = f32::INFINITY;
    }
    grad
}

fn start((name, _, len, dtype): Tensor) -> Vec<u8> {
    let mut random = Random(name.len() as u64);
    let values: Vec<f32> = (0..len).map(|_| 0.1 * random.normal()).collect();
    match dtype {
        Dtype::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
        Dtype::Bf16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
    }
}

/// An optimizer with its parameters, on either device.
pub trait Run: Sized {
    fn new(layout: Layout) -> Option<Self>;
    /// Steps `range`, counted from 0.
    fn steps(&mut self, range: std::ops::Range<usize>);
    fn checkpoint(&mut self) -> Checkpoint;
    fn load(&mut self, checkpoint: &Checkpoint);
}

pub struct OnGpu {
    gpu: Gpu,
    optimizer: MiAdam,
    grads: BTreeMap<&'static str, wgpu::Buffer>,
}

impl OnGpu {
    fn on(gpu: Gpu, layout: Layout) -> Self {
        let words = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.resize(bytes.len().next_multiple_of(4).max(4), 0);
            bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)
        };
        let pool: Vec<f32> = TENSORS.iter().flat_map(|&tensor| words(&start(tensor))).collect();
        let pool_buffer = gpu.buffer(&pool);
        let (mut offset, mut params, mut grads) = (0, BTreeMap::new(), BTreeMap::new());
        for tensor in TENSORS {
            let (name, group, len, dtype) = tensor;
            let values = words(&start(tensor));
            let (buffer, at) = if layout.pool { (pool_buffer.clone(), offset) } else { (gpu.buffer(&values), 0) };
            offset += 4 * values.len() as u64;
            let grad = gpu.buffer(&vec![0.0; len.max(1)]);
            let param = Slice::new(&buffer, at, len as u64).with_dtype(dtype);
            let param = Param::new(name, param, Slice::new(&grad, 0, len as u64));
            params.entry(group).or_insert_with(Vec::new).push(param);
            grads.insert(name, grad);
        }
        let groups = layout.order.map(|group| ParamGroup::new(self::groups()[group].clone(), params[&group].clone()));
        let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups).unwrap();
        optimizer.set_grad_options(options()).unwrap();
        Self { gpu, optimizer, grads }
    }
}

impl Run for OnGpu {
    fn new(layout: Layout) -> Option<Self> {
        Some(Self::on(gpu()?, layout))
    }

    fn steps(&mut self, range: std::ops::Range<usize>) {
        for step in range {
            for tensor in TENSORS {
                self.gpu.queue.write_buffer(&self.grads[tensor.0], 0, bytemuck::cast_slice(&grad(tensor, step)));
            }
            let mut encoder = self.gpu.encoder();
            self.optimizer.step(&mut encoder).unwrap();
            self.gpu.queue.submit([encoder.finish()]);
        }
    }

    fn checkpoint(&mut self) -> Checkpoint {
        let mut encoder = self.gpu.encoder();
        let checkpoint = self.optimizer.read_checkpoint(&mut encoder, true).unwrap();
        self.gpu.queue.submit([encoder.finish()]);
        self.gpu.wait();
        pollster::block_on(checkpoint).unwrap()
    }

    fn load(&mut self, checkpoint: &Checkpoint) {
        self.optimizer.load(checkpoint).unwrap();
        self.optimizer.write_params(checkpoint).unwrap();
    }
}

pub struct OnCpu {
    optimizer: cpu::MiAdam,
    /// In the order of the layout's groups.
    tensors: Vec<Tensor>,
    params: Vec<Values>,
}

impl Run for OnCpu {
    fn new(layout: Layout) -> Option<Self> {
        let of = |group: usize| TENSORS.into_iter().filter(move |&(_, own, ..)| own == group);
        let tensors: Vec<_> = layout.order.into_iter().flat_map(of).collect();
        let groups = layout.order.map(|group| {
            let params = of(group).map(|(name, _, len, dtype)| cpu::Param::new(name, len).with_dtype(dtype));
            ParamGroup::new(self::groups()[group].clone(), params.collect::<Vec<_>>())
        });
        let mut optimizer = cpu::MiAdam::new(groups).unwrap();
        optimizer.set_grad_options(options()).unwrap();
        let params = tensors.iter().map(|&tensor| Values::from_bytes(tensor.3, &start(tensor), tensor.2)).collect();
        Some(Self { optimizer, tensors, params })
    }

    fn steps(&mut self, range: std::ops::Range<usize>) {
        for step in range {
            let mut grads: Vec<_> = self.tensors.iter().map(|&tensor| grad(tensor, step)).collect();
            let mut grads: Vec<_> = grads.iter_mut().map(|grad| ValuesMut::F32(grad)).collect();
            let mut params: Vec<_> = self.params.iter_mut().map(Values::as_mut).collect();
            self.optimizer.step_values(&mut params, &mut grads).unwrap();
        }
    }

    fn checkpoint(&mut self) -> Checkpoint {
        let mut checkpoint = self.optimizer.checkpoint();
        for (tensor, param) in self.tensors.iter().zip(&mut self.params) {
            checkpoint.insert_param(tensor.0, &param.as_mut()).unwrap();
        }
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) {
        self.optimizer.load(checkpoint).unwrap();
        for (tensor, param) in self.tensors.iter().zip(&mut self.params) {
            let (dtype, bytes) = checkpoint.param(tensor.0).unwrap();
            *param = Values::from_bytes(dtype, bytes, tensor.2);
        }
    }
}

/// Everything in a checkpoint by name, however it is grouped.
fn contents(checkpoint: &Checkpoint) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::from([("step".to_owned(), checkpoint.step().to_string())]);
    for tensor in checkpoint.tensors() {
        // Bits that differ show as digits that differ: Rust prints floats so that they come back as they were.
        contents.insert(tensor.name.clone(), format!("{tensor:?} {:?}", checkpoint.param(&tensor.name)));
    }
    for (hyperparams, names) in checkpoint.groups() {
        contents.insert(format!("group of {names:?}"), format!("{hyperparams:?}"));
    }
    contents
}

/// Runs on from step `at` in another process's place: through the bytes of a file, in either layout.
fn resumes<First: Run, Second: Run>(at: usize) -> [Checkpoint; 2] {
    let mut results = Vec::new();
    for layout in LAYOUTS {
        let Some(mut first) = First::new(LAYOUTS[0]) else { continue };
        first.steps(0..at);
        let bytes = first.checkpoint().to_bytes().unwrap();
        let loaded = Checkpoint::from_bytes(&bytes).unwrap();
        assert!(loaded == first.checkpoint());
        let mut second = Second::new(layout).unwrap();
        // What it has done before does not matter.
        second.steps(0..2);
        second.load(&loaded);
        assert!(contents(&second.checkpoint()) == contents(&loaded), "{layout:?} at {at}");
        second.steps(at..STEPS);
        results.push(second.checkpoint());
    }
    results.try_into().unwrap_or_else(|_| unreachable!("one for each layout"))
}

fn a_resumed_run_is_the_same<R: Run>() {
    let Some(mut whole) = R::new(LAYOUTS[0]) else { return };
    whole.steps(0..STEPS);
    let expected = whole.checkpoint();
    // One step is skipped.
    assert_eq!(expected.step() as usize, STEPS - 1);
    // Before the first step, before the skipped one, after it, at both switches and after them.
    for at in 0..STEPS {
        for found in resumes::<R, R>(at) {
            assert!(contents(&found) == contents(&expected), "resumed at {at}");
        }
    }
}

#[test]
fn a_run_resumed_on_the_cpu_is_the_same() {
    a_resumed_run_is_the_same::<OnCpu>();
}

#[test]
fn a_run_resumed_on_the_gpu_is_the_same() {
    a_resumed_run_is_the_same::<OnGpu>();
}

#[test]
fn what_one_device_saves_the_other_loads() {
    if gpu().is_none() {
        return;
    }
    let mut whole = OnCpu::new(LAYOUTS[0]).unwrap();
    whole.steps(0..STEPS);
    let expected = whole.checkpoint();
    // Loading is exact, which `resumes` checks; what follows is the other device's.
    for found in resumes::<OnGpu, OnCpu>(3).into_iter().chain(resumes::<OnCpu, OnGpu>(3)) {
        assert_states_agree(&by_name(&found), &by_name(&expected));
        TENSORS.iter().for_each(|&tensor| assert_params_agree(tensor, &found, &expected));
    }
}

/// The states of all tensors, however they are grouped.
fn by_name(checkpoint: &Checkpoint) -> Vec<TensorState> {
    let mut tensors = checkpoint.tensors().to_vec();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

/// A parameter is the same after all steps, some of them on another device.
fn assert_params_agree(tensor: Tensor, found: &Checkpoint, expected: &Checkpoint) {
    let (name, _, len, dtype) = tensor;
    let param = |checkpoint: &Checkpoint| {
        let (found, bytes) = checkpoint.param(name).unwrap();
        assert_eq!(found, dtype);
        Values::from_bytes(dtype, bytes, len)
    };
    if let (Values::Bf16(found), Values::Bf16(expected)) = (param(found), param(expected)) {
        let apart = found.iter().zip(&expected).map(|(found, expected)| found.to_bits().abs_diff(expected.to_bits()));
        let apart: Vec<_> = apart.filter(|&apart| apart > 0).collect();
        // Rounded at random: a value off by a few f32 roundings meets its threshold, one of 2¹⁶, that seldom, and stays
        // where it then is, beside the other.
        assert!(apart.len() <= 1 + STEPS * len / 100 && apart.iter().all(|&apart| apart == 1), "{name}: {apart:?}");
        return;
    }
    // Of a parameter in half precision, its master copy.
    let values = |checkpoint: &Checkpoint| {
        let state = checkpoint.tensors().iter().find(|tensor| tensor.name == name).unwrap();
        state.master.clone().unwrap_or_else(|| param(checkpoint).single())
    };
    let (start, found, expected) =
        (Values::from_bytes(dtype, &start(tensor), len).single(), values(found), values(expected));
    let way = expected.iter().zip(&start).fold(0.0, |way: f32, (end, start)| way.max((end - start).abs()));
    assert!(len == 0 || way > 1e-3, "{name} hardly moved: {way}");
    for (found, expected) in found.iter().zip(&expected) {
        // As for a single update in parity.rs: the way of all steps in place of one, and a rounding of θ for each.
        let tolerance = f32::EPSILON * (64.0 * way + STEPS as f32 * expected.abs());
        assert!((found - expected).abs() <= tolerance, "{name}: {found} is not {expected} within {tolerance:e}");
    }
}

#[test]
fn a_lost_device_is_followed_by_another() {
    let Some(first) = Gpu::new(wgpu::Limits::default()) else { return };
    let mut run = OnGpu::on(first.clone(), LAYOUTS[0]);
    run.steps(0..4);
    let saved = run.checkpoint();
    run.steps(4..5);
    first.wait();
    first.device.destroy();
    assert_eq!(run.optimizer.load(&saved), Err(Error::DeviceLost));
    let mut encoder = first.encoder();
    assert_eq!(run.optimizer.read_checkpoint(&mut encoder, true).err(), Some(Error::DeviceLost));

    let mut resumed = OnGpu::on(Gpu::new(wgpu::Limits::default()).unwrap(), LAYOUTS[1]);
    resumed.load(&saved);
    resumed.steps(4..STEPS);
    let mut whole = OnGpu::new(LAYOUTS[0]).unwrap();
    whole.steps(0..STEPS);
    assert!(contents(&resumed.checkpoint()) == contents(&whole.checkpoint()));
}

#[test]
fn released_integrals_are_not_missed() {
    let mut run = OnCpu::new(LAYOUTS[0]).unwrap();
    run.steps(0..5);
    let full = run.checkpoint();
    run.optimizer.release_integrals().unwrap();
    let released = Checkpoint::from_bytes(&run.checkpoint().to_bytes().unwrap()).unwrap();
    assert!(released.tensors().iter().all(|tensor| tensor.integrals.is_empty()));
    run.steps(5..7);
    let expected = contents(&run.checkpoint());
    // Into an optimizer that has integrals, and the other way round.
    let mut fresh = OnCpu::new(LAYOUTS[1]).unwrap();
    fresh.load(&released);
    fresh.steps(5..7);
    fresh.optimizer.release_integrals().unwrap();
    assert!(contents(&fresh.checkpoint()) == expected);
    fresh.load(&full);
    fresh.steps(5..7);
    assert!(contents(&fresh.checkpoint()) == expected);
    // Where they are needed, they are missed.
    let mut early = OnCpu::new(LAYOUTS[0]).unwrap();
    let error = fresh.optimizer.load(&early.checkpoint()).unwrap_err();
    assert!(error.to_string().contains("integrals"), "{error}");
    let Some(mut on_gpu) = OnGpu::new(LAYOUTS[0]) else { return };
    on_gpu.load(&released);
    on_gpu.optimizer.release_integrals().unwrap();
    on_gpu.steps(5..7);
    assert_eq!(on_gpu.checkpoint().step(), 6);
    early.steps(0..1);
    assert!(on_gpu.optimizer.load(&early.checkpoint()).is_err());
}

#[test]
fn a_tensor_that_was_not_saved_gets_its_master_copy_from_the_parameter() {
    // A checkpoint of f32 parameters, loaded by a model that has become half precision.
    let saved = |dtype| {
        let param = cpu::Param::new("w", 6).with_dtype(dtype);
        cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [param])]).unwrap()
    };
    let mut single = saved(Dtype::F32);
    (0..3).for_each(|_| single.step(&mut [&mut [1.0; 6]], &[&[1.0; 6]]).unwrap());
    let checkpoint = single.checkpoint();
    let near_one = |w: &[f16]| w.iter().all(|w| (w.to_f32() - 1.0).abs() < 0.01);

    let mut twin = saved(Dtype::F16);
    assert_eq!(twin.load_lenient(&checkpoint).unwrap().len(), 1);
    let mut w = [f16::ONE; 6];
    for _ in 0..2 {
        twin.step_values(&mut [ValuesMut::F16(&mut w)], &mut [ValuesMut::F32(&mut [1.0; 6])]).unwrap();
    }
    assert!(near_one(&w), "{w:?}");
    assert_eq!(twin.report().step, 5);

    let Some(gpu) = gpu() else { return };
    let halves = |values: [f16; 6]| gpu.buffer(&bytemuck::pod_collect_to_vec::<_, f32>(&values.map(f16::to_bits)));
    let (buffer, grad) = (halves([f16::ONE; 6]), gpu.buffer(&[1.0; 6]));
    let param = Param::new("w", Slice::new(&buffer, 0, 6).with_dtype(Dtype::F16), Slice::whole(&grad));
    let group = ParamGroup::new(Hyperparams::default(), [param]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group]).unwrap();
    assert_eq!(optimizer.load_lenient(&checkpoint).unwrap().len(), 1);
    for _ in 0..2 {
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        gpu.queue.submit([encoder.finish()]);
    }
    let bits = bytemuck::pod_collect_to_vec::<f32, u16>(&gpu.read(&buffer));
    let found: Vec<_> = bits.into_iter().map(f16::from_bits).collect();
    assert!(near_one(&found), "{found:?}");
    assert!(found[..] == w[..], "{found:?} and {w:?}");
}

#[test]
fn whether_integrals_are_needed_is_the_checkpoints_to_say() {
    let with_switch = |switch_step| {
        let hyperparams = Hyperparams { switch_step, ..Hyperparams::default() };
        cpu::MiAdam::new([ParamGroup::new(hyperparams, [cpu::Param::new("w", 3)])]).unwrap()
    };
    let step = |optimizer: &mut cpu::MiAdam| optimizer.step(&mut [&mut [0.0; 3]], &[&[1.0; 3]]).unwrap();
    let [mut early, mut late] = [with_switch(3), with_switch(100)];
    for optimizer in [&mut early, &mut late] {
        (0..5).for_each(|_| step(optimizer));
    }
    early.release_integrals().unwrap();
    // One that has released its integrals takes over a run that needs them: nothing can mend that, leniency included.
    let before = early.clone();
    for error in [early.load(&late.checkpoint()).unwrap_err(), early.load_lenient(&late.checkpoint()).unwrap_err()] {
        assert!(error.to_string().contains("integrals"), "{error}");
    }
    assert_eq!(format!("{early:?}"), format!("{before:?}"));
    // The other way round nobody misses them, whatever the new optimizer's own ζ.
    let mut fresh = with_switch(Hyperparams::NEVER);
    fresh.load(&early.checkpoint()).unwrap();
    step(&mut fresh);
    step(&mut early);
    assert_eq!(fresh.state().tensors[0].first_moment, early.state().tensors[0].first_moment);
}

#[test]
fn a_learning_rate_set_near_to_0_is_no_obstacle() {
    let hyperparams = Hyperparams { order: 3, ..Hyperparams::default() };
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(hyperparams, [cpu::Param::new("w", 3)])]).unwrap();
    optimizer.set_lr(0, 1e-20).unwrap();
    let bytes = optimizer.checkpoint().to_bytes().unwrap();
    assert!(Checkpoint::from_bytes(&bytes).unwrap() == optimizer.checkpoint());
}
