//! Settings, tensors and gradients at random.
//!
//! Every type and option makes kernels of its own, whose compiling takes most of the time on a GPU in software. So each walk has
//! half of them.

use half::{bf16, f16};
use miadam::{Dtype, GradOptions, Hyperparams, Schedule, StepScale, WeightDecay};

use super::device::New;
use crate::common::{Random, Values};

pub fn pick<T: Clone>(random: &mut Random, all: &[T]) -> T {
    all[random.below(all.len())].clone()
}

/// True once in `times`.
pub fn once_in(random: &mut Random, times: usize) -> bool {
    random.below(times) == 0
}

/// Settings that move a parameter by a hundredth or a tenth a step.
pub fn hyperparams(random: &mut Random) -> Hyperparams {
    let order = random.below(4) as u32;
    let scales = [StepScale::Paper, StepScale::Reference, StepScale::UnitGain, StepScale::ExactGain];
    let step_scale = pick(random, &scales);
    // Powers of it still move a parameter.
    let is_power = order > 0 && matches!(step_scale, StepScale::Paper | StepScale::Reference);
    let decays =
        [WeightDecay::None, WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1), WeightDecay::Cautious(0.1)];
    let schedules = [
        Schedule::Constant,
        Schedule::Cosine { steps: 500, end_factor: 0.1 },
        Schedule::Exponential { gamma: 0.999 },
        Schedule::LinearWarmup { start_factor: 0.25, steps: 300 },
    ];
    Hyperparams {
        lr: if is_power { 0.25 } else { pick(random, &[0.02, 0.05]) },
        schedule: pick(random, &schedules),
        beta1: pick(random, &[0.9, 0.5]),
        beta2: pick(random, &[0.99, 0.999, 0.75]),
        eps: pick(random, &[1e-8, 1e-3]),
        order,
        kappa: pick(random, &[0.0, 0.5, 0.9]),
        switch_step: if once_in(random, 2) { Hyperparams::NEVER } else { 1 + random.below(60) as u32 },
        step_scale,
        weight_decay: pick(random, &decays),
        amsgrad: once_in(random, 3),
        maximize: once_in(random, 4),
        ..Hyperparams::default()
    }
}

pub fn grad_options(random: &mut Random, is_mixed: bool) -> GradOptions {
    GradOptions {
        factor: pick(random, &[1.0, 1.0, 0.25, 1.0 / 3.0]),
        clip_norm: pick(random, &[None, None, Some(1.0), Some(20.0)]),
        clip_value: pick(random, &[None, None, Some(0.5)]).filter(|_| is_mixed),
        measure_norm: once_in(random, 4),
        skip_non_finite: once_in(random, 2),
        zero: once_in(random, 4) && !is_mixed,
        ..GradOptions::default()
    }
}

/// A parameter of a small length, mostly odd. Now and then it goes over a workgroup or a chunk.
pub fn new(random: &mut Random, name: &str, is_mixed: bool) -> New {
    let lens = [0, 1, 2, 3, 5, 7, 8, 13, 17, 31];
    let len = match random.below(40) {
        0 => 257,
        1 => 1025,
        2 => 4099,
        _ => pick(random, &lens),
    };
    let halves = [Dtype::Bf16, Dtype::F16];
    let mut dtype = || if is_mixed && once_in(random, 3) { pick(random, &halves) } else { Dtype::F32 };
    let (dtype, grad_dtype) = (dtype(), dtype());
    let values: Vec<_> = (0..len).map(|_| 0.1 * random.normal()).collect();
    New { name: name.to_owned(), param: Values::new(dtype, &values), grad_dtype }
}

/// A gradient of this type, as numbers that it can hold.
pub fn grad(random: &mut Random, dtype: Dtype, len: usize) -> Vec<f32> {
    let size = pick(random, &[1.0, 1.0, 0.01, 30.0]);
    let round = |value: f32| match dtype {
        Dtype::F32 => value,
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::Bf16 => bf16::from_f32(value).to_f32(),
    };
    (0..len).map(|_| round(size * random.normal())).collect()
}
