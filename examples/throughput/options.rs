//! What each option costs: its step beside the plain one, in turns.

use std::time::Instant;

use half::{bf16, f16};
use miadam::cpu::ValuesMut;
use miadam::{Dtype, GradOptions, GradScaler, HalfParams, Hyperparams, ParamGroup, Schedule, cpu};
use serde::Serialize;

use crate::cases::Case;
use crate::gpu::Gpu;
use crate::report::median;

/// An option's cost; the keys of a JSON line.
#[derive(Serialize)]
pub struct Cost {
    pub device: String,
    pub case: &'static str,
    pub order: u32,
    pub option: &'static str,
    /// Median time of a step.
    pub ms: f64,
    /// `ms` over that of the plain step.
    pub plain_ratio: f64,
}

/// Elements of a case whose options are measured, at most: all of them have tensors and state at once.
pub const MOST: usize = 5 << 20;

/// What is set beside the plain step.
#[derive(Clone)]
pub struct Setting {
    name: &'static str,
    pub grad_options: GradOptions,
    /// Of parameters and gradients.
    pub dtype: Dtype,
    pub half_params: HalfParams,
    pub schedule: Schedule,
}

impl Setting {
    pub fn plain() -> Self {
        Self {
            name: "plain",
            grad_options: GradOptions::default(),
            dtype: Dtype::F32,
            half_params: HalfParams::Master,
            schedule: Schedule::Constant,
        }
    }

    pub fn hyperparams(&self, case: &Case) -> Hyperparams {
        let (half_params, schedule) = (self.half_params, self.schedule.clone());
        Hyperparams { half_params, schedule, ..case.hyperparams() }
    }
}

/// The plain step, and each option by itself.
fn settings() -> Vec<Setting> {
    let plain = Setting::plain();
    let grads = |name, grad_options| Setting { name, grad_options, ..plain.clone() };
    let half = |name, dtype, half_params| Setting { name, dtype, half_params, ..plain.clone() };
    let default = GradOptions::default();
    vec![
        plain.clone(),
        Setting { name: "schedule", schedule: Schedule::Cosine { steps: 1000, end_factor: 0.0 }, ..plain.clone() },
        grads("factor", GradOptions { factor: 0.25, ..default }),
        grads("clip_value", GradOptions { clip_value: Some(1.0), ..default }),
        grads("zero", GradOptions { zero: true, ..default }),
        grads("clip_norm", GradOptions { clip_norm: Some(1.0), ..default }),
        grads("skip_non_finite", GradOptions { skip_non_finite: true, ..default }),
        grads("scaler", GradOptions { scaler: Some(GradScaler::default()), ..default }),
        half("f16, master", Dtype::F16, HalfParams::Master),
        half("bf16, master", Dtype::Bf16, HalfParams::Master),
        half("bf16, stochastic", Dtype::Bf16, HalfParams::Stochastic { seed: 0 }),
    ]
}

/// A step under one of the options, and the milliseconds it takes.
type Stepper<'a> = Box<dyn FnMut() -> Result<f64, String> + 'a>;

pub fn measure_gpu(gpu: &Gpu, case: &Case, rounds: u32) -> Result<Vec<Cost>, String> {
    let steppers = settings().into_iter().map(|setting| {
        let mut optimizer = gpu.optimizer(case, &setting)?;
        let step = move || {
            let mut encoder = gpu.encoder();
            optimizer.step(&mut encoder).map_err(|error| error.to_string())?;
            gpu.run(encoder)
        };
        Ok((setting.name, Box::new(step) as Stepper<'_>))
    });
    race(&gpu.name, case, steppers.collect::<Result<_, String>>()?, rounds)
}

pub fn measure_cpu(case: &Case, rounds: u32) -> Result<Vec<Cost>, String> {
    // Each its own tensors, as in training: what another left in the cache is of no use.
    let steppers = settings().into_iter().map(|setting| {
        let param =
            |(number, &len): (usize, &usize)| cpu::Param::new(number.to_string(), len).with_dtype(setting.dtype);
        let named = case.lens.iter().enumerate().map(param);
        let mut optimizer = cpu::MiAdam::new([ParamGroup::new(setting.hyperparams(case), named)])?;
        optimizer.set_grad_options(setting.grad_options)?;
        let [mut params, mut grads] = [(); 2].map(|()| Tensors::new(case, setting.dtype));
        let step = move || {
            let start = Instant::now();
            optimizer.step_values(&mut params.values(), &mut grads.values()).map_err(|error| error.to_string())?;
            Ok(1e3 * start.elapsed().as_secs_f64())
        };
        Ok((setting.name, Box::new(step) as Stepper<'_>))
    });
    let steppers = steppers.collect::<Result<_, miadam::Error>>().map_err(|error| error.to_string())?;
    race(&format!("CPU, {} threads", rayon::current_num_threads()), case, steppers, rounds)
}

/// The tensors of a case in host memory.
enum Tensors {
    F32(Vec<Vec<f32>>),
    F16(Vec<Vec<f16>>),
    Bf16(Vec<Vec<bf16>>),
}

impl Tensors {
    fn new(case: &Case, dtype: Dtype) -> Self {
        fn filled<T: Clone>(case: &Case, value: T) -> Vec<Vec<T>> {
            case.lens.iter().map(|&len| vec![value.clone(); len]).collect()
        }
        match dtype {
            Dtype::F32 => Self::F32(filled(case, 0.02)),
            Dtype::F16 => Self::F16(filled(case, f16::from_f32(0.02))),
            Dtype::Bf16 => Self::Bf16(filled(case, bf16::from_f32(0.02))),
        }
    }

    fn values(&mut self) -> Vec<ValuesMut<'_>> {
        match self {
            Self::F32(tensors) => tensors.iter_mut().map(|tensor| ValuesMut::F32(tensor)).collect(),
            Self::F16(tensors) => tensors.iter_mut().map(|tensor| ValuesMut::F16(tensor)).collect(),
            Self::Bf16(tensors) => tensors.iter_mut().map(|tensor| ValuesMut::Bf16(tensor)).collect(),
        }
    }
}

/// Everybody takes a step in every round.
fn race(
    device: &str,
    case: &Case,
    mut steppers: Vec<(&'static str, Stepper<'_>)>,
    rounds: u32,
) -> Result<Vec<Cost>, String> {
    let mut times = vec![Vec::new(); steppers.len()];
    for round in 0..=rounds {
        for ((_, step), times) in steppers.iter_mut().zip(&mut times) {
            let ms = step()?;
            // The first round touches the memory for the first time.
            if round > 0 {
                times.push(ms);
            }
        }
    }
    let plain = median(&times[0]);
    let cost = |((option, _), times): (&(&'static str, _), &Vec<f64>)| {
        let ms = median(times);
        Cost { device: device.to_owned(), case: case.name, order: case.order, option, ms, plain_ratio: ms / plain }
    };
    Ok(steppers.iter().zip(&times).map(cost).collect())
}
