//! Checkpoints: a resumed run has the bits of one that was never stopped.

mod loading;
mod resuming;

use std::collections::BTreeMap;

use half::{bf16, f16};
use miadam::cpu::ValuesMut;
use miadam::{
    Checkpoint, Dtype, GradOptions, GradScaler, HalfParams, Hyperparams, MiAdam, Param, ParamGroup, Schedule, Slice,
    StepScale, WeightDecay, cpu,
};

use crate::common::{Gpu, Random, gpu};
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
