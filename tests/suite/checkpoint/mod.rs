//! Checkpoints: a resumed run has the bits of one that was never stopped.

mod contents;
mod loading;
mod older;
mod options;
mod peaks;
mod ranks;
mod resuming;
#[cfg(unix)]
mod targets;
#[cfg(unix)]
mod unwritable;
#[cfg(unix)]
mod writers;

use std::collections::BTreeMap;

use miadam::{
    Average, Checkpoint, Dtype, GradOptions, GradScaler, HalfParams, Hyperparams, Schedule, StatePrecision, StepScale,
    WeightDecay,
};

use crate::common::{Gpu, Groups, OnGpu, Random, Run, Start};

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
            step_scale: StepScale::ExactGain,
            switch_step: 4,
            schedule: Schedule::Sequence(vec![(0, warmup), (3, cosine)]),
            average: Average::Ema { decay: 0.75, warmup: true },
            state_precision: StatePrecision::Bf16,
            ..Hyperparams::default()
        },
        Hyperparams {
            order: 1,
            switch_step: 3,
            half_params: HalfParams::Stochastic { seed: 5 },
            average: Average::Equal { from: 2, every: 2 },
            weight_decay: WeightDecay::Decoupled(0.01),
            ..Hyperparams::default()
        },
        Hyperparams {
            order: 0,
            amsgrad: true,
            schedule: Schedule::Exponential { gamma: 0.9 },
            average: Average::Ema { decay: 0.5, warmup: false },
            state_precision: StatePrecision::Q8,
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

fn start((name, _, len, dtype): Tensor) -> Start {
    let mut random = Random(name.len() as u64);
    Start { name: name.to_owned(), dtype, values: (0..len).map(|_| 0.1 * random.normal()).collect() }
}

/// The groups in the layout's order.
fn laid_out(layout: Layout) -> Groups {
    let starts = |group| TENSORS.into_iter().filter(move |&(_, own, ..)| own == group).map(start).collect();
    layout.order.map(|group| (groups()[group].clone(), starts(group))).to_vec()
}

/// A run in this layout, under all options.
pub fn begin<R: Run>(layout: Layout) -> Option<R> {
    let mut run = R::new(&laid_out(layout), layout.pool)?;
    run.optimizer().set_grad_options(options()).unwrap();
    Some(run)
}

/// The same on a GPU of the test's own.
fn begin_on(gpu: Gpu, layout: Layout) -> OnGpu {
    let mut run = OnGpu::on(gpu, &laid_out(layout), layout.pool);
    run.optimizer.set_grad_options(options()).unwrap();
    run
}

/// Steps `range`, counted from 0.
pub fn steps(run: &mut impl Run, range: std::ops::Range<usize>) {
    for step in range {
        run.step(|name| grad(TENSORS.into_iter().find(|tensor| tensor.0 == name).unwrap(), step));
    }
}

/// Everything in a checkpoint by name, however it is grouped.
fn contents(checkpoint: &Checkpoint) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::from([("step".to_owned(), checkpoint.step().to_string())]);
    for state in checkpoint.states() {
        // Bits that differ show as digits that differ: Rust prints floats so that they come back as they were.
        contents.insert(state.name.clone(), format!("{state:?} {:?}", checkpoint.param(&state.name)));
    }
    for (hyperparams, names) in checkpoint.groups() {
        contents.insert(format!("group of {names:?}"), format!("{hyperparams:?}"));
    }
    contents
}
