//! The error of single updates against an oracle in `f64`, beside that of the 8-bit state of bitsandbytes and torchao.
//!
//! All take the same gradients, those of [`drift`](super::drift), at order 0, which is all that the others have. θ is 0 before each step,
//! so that rounding θ counts for nothing.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use miadam::StatePrecision;
use miadam_support::command_line::say;

use super::drift::{Case, ELEMENTS, Gradients, SPREADS, Walker, distance, norm};
use super::dynamic::Adam;
use super::write;

/// The errors of one update.
struct Errors {
    spread: f64,
    state: &'static str,
    step: u32,
    /// ‖u - u*‖ / ‖u*‖.
    whole: f64,
    /// The mean of |u - u*|, of elements whose steps are about 1 before they are multiplied by α.
    absolute: f64,
    /// The median of |u - u*| / |u*|.
    median: f64,
}

/// Writes `single.csv`, and prints it.
pub fn run(out: &Path, steps: u32) -> Result<(), Box<dyn Error>> {
    let mut all = Vec::new();
    for spread in SPREADS {
        all.extend(errors(spread, steps)?);
    }
    let mut text = String::from("spread,state,step,update_error,mean_absolute_error,median_relative_error\n");
    say(
        "Single updates at order 0: the error of all elements together, the mean error, the median of relative errors",
    )?;
    for Errors { spread, state, step, whole, absolute, median } in &all {
        writeln!(text, "{spread},{state},{step},{whole:.5},{absolute:.5},{median:.5}")?;
        let [whole, median] = [whole, median].map(|part| format!("{:.2} %", 100.0 * part));
        say(&format!("1 : {spread:<4} {state:8} step {step:5} {whole:>8} {absolute:.4} {median:>8}"))?;
    }
    write(out, "single.csv", text)
}

fn errors(spread: f64, steps: u32) -> Result<Vec<Errors>, miadam::Error> {
    let case = Case { spread, order: 0, kappa: 0.5 };
    let packed = |precision| Walker::new(case, precision);
    let [mut single, mut bf16, mut q8] =
        [packed(StatePrecision::F32)?, packed(StatePrecision::Bf16)?, packed(StatePrecision::Q8)?];
    let (mut oracle, mut dynamic) = (Adam::exact(ELEMENTS), Adam::dynamic(ELEMENTS));
    let mut gradients = Gradients::new(spread);
    let mut all = Vec::new();
    for step in 1..=steps {
        let grad = gradients.next_step();
        let exact = oracle.update(grad);
        let updates = [
            ("f32", single.lone_update(grad)?),
            ("bf16", bf16.lone_update(grad)?),
            ("q8", q8.lone_update(grad)?),
            ("dynamic", dynamic.update(grad)),
        ];
        if step == steps || [10, 100, 1000].contains(&step) {
            all.extend(updates.map(|(state, update)| compare(spread, state, step, &update, &exact)));
        }
    }
    Ok(all)
}

fn compare(spread: f64, state: &'static str, step: u32, update: &[f64], exact: &[f64]) -> Errors {
    let mut errors: Vec<_> = update.iter().zip(exact).map(|(found, wanted)| (found - wanted).abs()).collect();
    let absolute = errors.iter().sum::<f64>() / errors.len() as f64;
    errors.iter_mut().zip(exact).for_each(|(error, wanted)| *error /= wanted.abs());
    errors.sort_by(f64::total_cmp);
    let median = errors[errors.len() / 2];
    Errors { spread, state, step, whole: distance(update, exact) / norm(exact), absolute, median }
}
