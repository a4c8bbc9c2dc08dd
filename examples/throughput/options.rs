//! What each option costs: its step beside the plain one, in turns.

use std::time::Instant;

use miadam::cpu::ValuesMut;
use miadam::{GradOptions, GradScaler, ParamGroup, cpu};
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

/// The plain step, and each option by itself.
fn options() -> [(&'static str, GradOptions); 7] {
    let plain = GradOptions::default();
    [
        ("plain", plain),
        ("factor", GradOptions { factor: 0.25, ..plain }),
        ("clip_value", GradOptions { clip_value: Some(1.0), ..plain }),
        ("zero", GradOptions { zero: true, ..plain }),
        ("clip_norm", GradOptions { clip_norm: Some(1.0), ..plain }),
        ("skip_non_finite", GradOptions { skip_non_finite: true, ..plain }),
        ("scaler", GradOptions { scaler: Some(GradScaler::default()), ..plain }),
    ]
}

/// A step under one of the options, and the milliseconds it takes.
type Stepper<'a> = Box<dyn FnMut() -> Result<f64, String> + 'a>;

pub fn measure_gpu(gpu: &Gpu, case: &Case, rounds: u32) -> Result<Vec<Cost>, String> {
    let params = gpu.params(case)?;
    let steppers = options().into_iter().map(|(name, options)| {
        let mut optimizer = gpu.optimizer(case, params.clone(), options)?;
        let step = move || {
            let mut encoder = gpu.encoder();
            optimizer.step(&mut encoder).map_err(|error| error.to_string())?;
            gpu.run(encoder)
        };
        Ok((name, Box::new(step) as Stepper<'_>))
    });
    race(&gpu.name, case, steppers.collect::<Result<_, String>>()?, rounds)
}

pub fn measure_cpu(case: &Case, rounds: u32) -> Result<Vec<Cost>, String> {
    let tensors = || case.lens.iter().map(|&len| vec![0.02f32; len]).collect::<Vec<_>>();
    // Each its own tensors, as in training: what another left in the cache is of no use.
    let steppers = options().into_iter().map(|(name, options)| {
        let named = case.lens.iter().enumerate().map(|(number, &len)| cpu::Param::new(number.to_string(), len));
        let mut optimizer = cpu::MiAdam::new([ParamGroup::new(case.hyperparams(), named)])?;
        optimizer.set_grad_options(options)?;
        let (mut params, mut grads) = (tensors(), tensors());
        let step = move || {
            let mut params: Vec<_> = params.iter_mut().map(|param| &mut param[..]).collect();
            let start = Instant::now();
            let stepped = if options.zero {
                let mut params: Vec<_> = params.iter_mut().map(|param| ValuesMut::F32(param)).collect();
                let mut grads: Vec<_> = grads.iter_mut().map(|grad| ValuesMut::F32(grad)).collect();
                optimizer.step_values(&mut params, &mut grads)
            } else {
                let grads: Vec<_> = grads.iter().map(|grad| &grad[..]).collect();
                optimizer.step(&mut params, &grads)
            };
            stepped.map_err(|error| error.to_string())?;
            Ok(1e3 * start.elapsed().as_secs_f64())
        };
        Ok((name, Box::new(step) as Stepper<'_>))
    });
    let steppers = steppers.collect::<Result<_, miadam::Error>>().map_err(|error| error.to_string())?;
    race(&format!("CPU, {} threads", rayon::current_num_threads()), case, steppers, rounds)
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
