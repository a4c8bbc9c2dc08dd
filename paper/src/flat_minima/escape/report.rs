//! What the escapes say: lines, a table, a picture.

use std::error::Error;
use std::fmt::Write;

use super::{Exit, Measured};
use crate::flat_minima::drawing::{Axis, Curve, Kind, Panel, curves};
use crate::flat_minima::intervals::{Estimate, Line, line};

/// Fewer escapes than this say too little for a fit.
const FEWEST: usize = 30;
/// Adam's exponent from which on the temperature counts as low.
const LOW_TEMPERATURE: f64 = 3.0;

/// One optimizer's line: ln(steps) over Adam's exponent.
#[derive(Debug, Clone)]
pub struct Fit {
    pub name: String,
    pub lr: f64,
    pub line: Line,
    /// The slope of Adam at the same rate over this one: the t̃ that Eq. 14 would need. None where a lower temperature does not
    /// hold it longer, as Eq. 14 has it for every t̃.
    pub t_tilde: Option<f64>,
}

/// A fit for each rate and contender that has enough points.
pub fn fits(measured: &[Measured]) -> Vec<Fit> {
    let mut fits: Vec<Fit> = Vec::new();
    for group in measured.chunk_by(|one, other| (one.lr, one.contender) == (other.lr, other.contender)) {
        let counted = group.iter().filter(|run| run.escaped >= FEWEST && run.exponent >= LOW_TEMPERATURE);
        // The variance of the logarithm is one over the number of escapes.
        let points: Vec<_> = counted.map(|run| [run.exponent, run.steps.value.ln(), run.escaped as f64]).collect();
        let (Some(first), Some(line)) = (group.first(), line(&points)) else { continue };
        let adam = fits.iter().find(|fit| fit.lr == first.lr).map_or(line.slope.value, |fit| fit.line.slope.value);
        let t_tilde = (line.slope.low > 0.0).then(|| adam / line.slope.value);
        fits.push(Fit { name: first.name.clone(), lr: first.lr, line, t_tilde });
    }
    fits
}

pub fn csv(measured: &[Measured]) -> String {
    let mut csv =
        "lr,optimizer,noise,exponent,escaped,walkers,steps,steps_low,steps_high,eq15_steps,eq14_steps,kramers_steps\n"
            .to_owned();
    for run in measured {
        let Estimate { value, low, high } = run.steps;
        // Writing to a string cannot fail.
        let _ = writeln!(
            csv,
            "{},\"{}\",{:.4},{},{},{},{value:.1},{low:.1},{high:.1},{:.1},{:.1},{:.1}",
            run.lr,
            run.name,
            run.noise,
            run.exponent,
            run.escaped,
            run.walkers,
            run.predicted,
            run.predicted_miadam,
            run.kramers
        );
    }
    csv
}

pub fn fits_csv(fits: &[Fit]) -> String {
    let mut csv = "lr,optimizer,slope,slope_low,slope_high,t_tilde\n".to_owned();
    for Fit { name, lr, line, t_tilde } in fits {
        let Estimate { value, low, high } = line.slope;
        let t_tilde = t_tilde.map_or(String::new(), |t_tilde| format!("{t_tilde:.3}"));
        let _ = writeln!(csv, "{lr},\"{name}\",{value:.4},{low:.4},{high:.4},{t_tilde}");
    }
    csv
}

pub fn printed(measured: &[Measured], fits: &[Fit]) -> String {
    let mut text = String::new();
    for run in measured.chunk_by(|one, other| one.lr == other.lr) {
        let exit = Exit::of_waves();
        let lr = run[0].lr;
        let _ = writeln!(
            text,
            "\nescape from the sharp minimum of the waves, lr {lr}: mean steps (95 %), by Adam's exponent 2ΔL/(ασ)"
        );
        let mut exponents: Vec<f64> = run.iter().map(|run| run.exponent).collect();
        exponents.sort_by(f64::total_cmp);
        exponents.dedup();
        let heads: Vec<_> = exponents.iter().map(|exponent| format!("{exponent:>24}")).collect();
        let _ = writeln!(text, "{:34}{}  slope (95 %), t̃", "optimizer", heads.concat());
        let line = |name: &str, cells: Vec<String>, end: String| {
            format!("{name:34}{}  {end}\n", cells.iter().map(|cell| format!("{cell:>24}")).collect::<String>())
        };
        for runs in run.chunk_by(|one, other| one.contender == other.contender) {
            let cells = runs.iter().map(|run| {
                let Estimate { value, low, high } = run.steps;
                format!("{value:.0} ({low:.0}-{high:.0})")
            });
            let fit = fits.iter().find(|fit| fit.lr == lr && fit.name == runs[0].name);
            let end = fit.map_or(String::new(), |fit| {
                let Estimate { value, low, high } = fit.line.slope;
                let t_tilde = fit.t_tilde.map_or("none".to_owned(), |t_tilde| format!("{t_tilde:.2}"));
                format!("{value:.2} ({low:.2} to {high:.2}), {t_tilde}")
            });
            text.push_str(&line(&runs[0].name, cells.collect(), end));
        }
        let noises = || exponents.iter().map(|&exponent| exit.noise(lr, exponent));
        let cells = |steps: &dyn Fn(f64) -> f64| noises().map(|noise| format!("{:.0}", steps(noise))).collect();
        text.push_str(&line(
            "Eq. 15 (Adam)",
            cells(&|noise| exit.steps(lr, noise, 1.0)),
            "1 by the exponent".to_owned(),
        ));
        text.push_str(&line(
            "Eq. 14 with t̃ = 2",
            cells(&|noise| exit.steps(lr, noise, 2.0)),
            "0.5 by the exponent".to_owned(),
        ));
        text.push_str(&line("Kramers (Adam)", cells(&|noise| exit.kramers(lr, noise)), "1 by the exponent".to_owned()));
    }
    text
}

/// Escape times over Adam's exponent, a panel for each rate.
///
/// # Errors
/// If plotters cannot draw.
pub fn picture(measured: &[Measured]) -> Result<String, Box<dyn Error>> {
    let exit = Exit::of_waves();
    let mut legend: Vec<String> = Vec::new();
    let mut panels = Vec::new();
    for runs in measured.chunk_by(|one, other| one.lr == other.lr) {
        let lr = runs[0].lr;
        let groups = runs.chunk_by(|one, other| one.contender == other.contender);
        legend = groups.clone().map(|group| group[0].name.clone()).collect();
        let mut drawn: Vec<_> = groups.map(measured_curve).collect();
        drawn.extend(predictions(runs, &exit));
        panels.push(Panel {
            name: format!("lr {lr};  dashed, from above: Kramers, Eq. 15, Eq. 14 with t̃ = 2"),
            x: Axis::linear("Adam's exponent 2ΔL/(lr·σ): barrier over temperature"),
            y: Axis::log("mean escape time, steps"),
            curves: drawn,
        });
    }
    curves("Escape from a sharp minimum under gradient noise σ", &panels, &legend)
}

/// Kramers and Eq. 15 in the style of Adam, Eq. 14 in that of MIAdam1 under `Paper`.
fn predictions(runs: &[Measured], exit: &Exit) -> [Curve; 3] {
    let adam = || runs.iter().filter(|run| run.contender == 0);
    let curve = |style, steps: &dyn Fn(&Measured) -> f64| Curve {
        style,
        kind: Kind::Dashed,
        points: adam().map(|run| (run.exponent, steps(run))).collect(),
        intervals: Vec::new(),
    };
    let guessed = |run: &Measured| exit.steps(run.lr, run.noise, 2.0);
    [curve(0, &|run| run.kramers), curve(0, &|run| run.predicted), curve(3, &guessed)]
}

fn measured_curve(group: &[Measured]) -> Curve {
    let seen: Vec<_> = group.iter().filter(|run| run.escaped > 0).collect();
    Curve {
        style: group[0].contender,
        kind: Kind::Line,
        points: seen.iter().map(|run| (run.exponent, run.steps.value)).collect(),
        intervals: seen.iter().map(|run| (run.steps.low, run.steps.high)).collect(),
    }
}
