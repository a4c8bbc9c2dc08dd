//! What each option costs: its step beside the plain one, in turns.

use std::time::{Duration, Instant};

use miadam::{Average, Dtype, GradOptions, GradScaler, HalfParams, Hyperparams, Schedule};
use miadam_support::cases::Case;
use miadam_support::gpu::Gpu;
use miadam_support::steppers::{CpuStepper, GpuStepper, Setup};
use miadam_support::throughput::{self, median, ms};
use serde::Serialize;

use crate::cpu;

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
    /// `ms` over the median time of a pass that only loads and stores the same bytes, where they are more than the plain step's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_ratio: Option<f64>,
}

/// The option whose bytes are more: another plane is read and written.
const EMA: &str = "ema";

/// Elements of a case whose options are measured, at most: all of them have tensors and state at once.
pub const MOST: usize = 5 << 20;

/// The plain step, and each option by itself.
fn setups(case: &Case) -> Vec<(&'static str, Setup)> {
    let plain = Setup::plain(case);
    let grads = |grad_options| Setup { grad_options, ..plain.clone() };
    let hyperparams = |hyperparams| Setup { hyperparams, ..plain.clone() };
    let half = |dtype, half_params| Setup { dtype, ..hyperparams(Hyperparams { half_params, ..case.hyperparams() }) };
    let schedule = Schedule::Cosine { steps: 1000, end_factor: 0.0 };
    let default = GradOptions::default();
    vec![
        ("plain", plain.clone()),
        ("schedule", hyperparams(Hyperparams { schedule, ..case.hyperparams() })),
        (EMA, hyperparams(Hyperparams { average: Average::Ema { decay: 0.999, warmup: true }, ..case.hyperparams() })),
        ("factor", grads(GradOptions { factor: 0.25, ..default })),
        ("clip_value", grads(GradOptions { clip_value: Some(1.0), ..default })),
        ("zero", grads(GradOptions { zero: true, ..default })),
        ("clip_norm", grads(GradOptions { clip_norm: Some(1.0), ..default })),
        ("skip_non_finite", grads(GradOptions { skip_non_finite: true, ..default })),
        ("scaler", grads(GradOptions { scaler: Some(GradScaler::default()), ..default })),
        ("f16, master", half(Dtype::F16, HalfParams::Master)),
        ("bf16, master", half(Dtype::Bf16, HalfParams::Master)),
        ("bf16, stochastic", half(Dtype::Bf16, HalfParams::Stochastic { seed: 0 })),
    ]
}

/// Takes a step under one of the options, and tells how long it was.
type Step<'a> = Box<dyn FnMut() -> Result<Duration, String> + 'a>;

pub fn measure_gpu(gpu: &Gpu, case: &Case, rounds: u32) -> Result<Vec<Cost>, String> {
    let steps = setups(case).into_iter().map(|(option, setup)| {
        let mut optimizer = GpuStepper::new(gpu, case, &setup)?.optimizer;
        let step = move || {
            let mut encoder = gpu.encoder();
            optimizer.step(&mut encoder).map_err(|error| error.to_string())?;
            gpu.run(encoder).map_err(|error| error.to_string())
        };
        Ok((option, Box::new(step) as Step<'_>))
    });
    let steps = steps.collect::<Result<_, String>>()?;
    let limit = throughput::Limit::guarded(gpu, case, 3)?;
    let pass = || {
        let mut encoder = gpu.encoder();
        limit.record(&mut encoder);
        gpu.run(encoder).map_err(|error| error.to_string())
    };
    race(&gpu.name, case, steps, Box::new(pass), rounds)
}

pub fn measure_cpu(case: &Case, rounds: u32) -> Result<Vec<Cost>, String> {
    // Each its own tensors, as in training: what another left in the cache is of no use.
    let steps = setups(case).into_iter().map(|(option, setup)| {
        let mut stepper = CpuStepper::new(case, &setup).map_err(|error| error.to_string())?;
        let step = move || {
            let start = Instant::now();
            stepper.step().map_err(|error| error.to_string())?;
            Ok(start.elapsed())
        };
        Ok((option, Box::new(step) as Step<'_>))
    });
    let steps = steps.collect::<Result<_, String>>()?;
    let mut limit = cpu::Limit::new(case, 3);
    let pass = || {
        let start = Instant::now();
        limit.pass();
        Ok(start.elapsed())
    };
    race(&cpu::device(), case, steps, Box::new(pass), rounds)
}

/// Everybody takes a step in every round. `limit` is the pass of [`EMA`].
fn race<'a>(
    device: &str,
    case: &Case,
    mut steps: Vec<(&'static str, Step<'a>)>,
    limit: Step<'a>,
    rounds: u32,
) -> Result<Vec<Cost>, String> {
    // Behind it, so that both find what the other has left in the caches.
    let behind = 1 + steps.iter().position(|(option, _)| *option == EMA).unwrap_or_default();
    steps.insert(behind, ("limit", limit));
    let mut times = vec![Vec::new(); steps.len()];
    for round in 0..=rounds {
        for ((_, step), times) in steps.iter_mut().zip(&mut times) {
            let time = step()?;
            // The first round touches the memory for the first time.
            if round > 0 {
                times.push(ms(time));
            }
        }
    }
    let plain = median(&times[0]);
    let limit = median(&times.remove(behind));
    drop(steps.remove(behind));
    let cost = |((option, _), times): (&(&'static str, _), &Vec<f64>)| {
        let (ms, device) = (median(times), device.to_owned());
        let limit_ratio = (*option == EMA).then_some(ms / limit);
        Cost { device, case: case.name, order: case.order, option, ms, plain_ratio: ms / plain, limit_ratio }
    };
    Ok(steps.iter().zip(&times).map(cost).collect())
}
