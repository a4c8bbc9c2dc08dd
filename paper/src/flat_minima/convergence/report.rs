//! What the distances and the regrets say: lines, files, pictures.

use std::error::Error;
use std::fmt::Write;

use super::Series;
use crate::flat_minima::drawing::{Axis, Curve, Kind, Panel, curves};

/// Points that are drawn and written of each curve.
const POINTS: usize = 120;

/// Where a curve of distances ends.
#[derive(Debug, Clone)]
pub struct Ending {
    pub name: String,
    pub is_noisy: bool,
    pub is_switched: bool,
    /// The mean distance in the last tenth of the steps.
    pub distance: f64,
    /// How far the linear model says that it swings: [`hover`](crate::flat_minima::stability::hover).
    pub hover: f64,
}

pub fn endings(series: &[Series]) -> Vec<Ending> {
    let ending = |series: &Series| {
        let last = &series.points[series.points.len() - series.points.len().div_ceil(10)..];
        Ending {
            name: series.name.clone(),
            is_noisy: series.is_noisy,
            is_switched: series.switch_step.is_some(),
            hover: series.hover,
            distance: last.iter().map(|point| point.1).sum::<f64>() / last.len() as f64,
        }
    };
    series.iter().map(ending).collect()
}

/// Evenly spaced points of a curve, the last one among them.
fn thinned(points: &[(u32, f64)]) -> impl Iterator<Item = (u32, f64)> {
    let every = points.len().div_ceil(POINTS);
    points.iter().copied().rev().step_by(every).collect::<Vec<_>>().into_iter().rev()
}

pub fn csv(series: &[Series]) -> String {
    let mut csv = "noise,switch_step,optimizer,step,distance\n".to_owned();
    for Series { name, is_noisy, switch_step, points, .. } in series {
        let switch = switch_step.map_or("never".to_owned(), |step| step.to_string());
        for (step, distance) in thinned(points) {
            // Writing to a string cannot fail.
            let _ = writeln!(csv, "{is_noisy},{switch},\"{name}\",{step},{distance:.6e}");
        }
    }
    csv
}

pub fn regret_csv(series: &[Series]) -> String {
    let mut csv = "optimizer,step,average_regret\n".to_owned();
    for Series { name, points, .. } in series {
        for (step, regret) in thinned(points) {
            let _ = writeln!(csv, "\"{name}\",{step},{regret:.6e}");
        }
    }
    csv
}

/// Zero has no logarithm. Distances below this are rounding.
const LEAST: f64 = 1e-9;

/// # Errors
/// If plotters cannot draw.
pub fn distances_picture(series: &[Series]) -> Result<String, Box<dyn Error>> {
    let groups = series.chunk_by(|one, other| (one.is_noisy, one.switch_step) == (other.is_noisy, other.switch_step));
    let panels: Vec<_> = groups.map(panel).collect();
    curves("Distance to the minimum of ½(x² + 10y²)", &panels, &legend(series))
}

fn panel(group: &[Series]) -> Panel {
    let noise = if group[0].is_noisy { "gradients with noise of deviation 1" } else { "exact gradients" };
    let switch = group[0].switch_step.map_or("no switch".to_owned(), |step| format!("switch at step {step}"));
    let curve = |series: &Series| Curve {
        style: series.contender,
        kind: Kind::Line,
        points: thinned(&series.points).map(|(step, y)| (f64::from(step), y.max(LEAST))).collect(),
        intervals: Vec::new(),
    };
    let curves = group.iter().map(curve).collect();
    Panel {
        name: format!("{noise}, {switch}"),
        x: Axis::linear("step"),
        y: Axis::log("distance, r.m.s.; 1e-9: or less"),
        curves,
    }
}

/// # Errors
/// If plotters cannot draw.
pub fn regret_picture(series: &[Series]) -> Result<String, Box<dyn Error>> {
    let curve = |series: &Series| Curve {
        style: series.contender,
        // By the logarithm of the step, since a rate of 1/√t or 1/t is a straight line there.
        kind: Kind::Line,
        points: by_logarithm(&series.points).map(|(step, regret)| (f64::from(step), regret)).collect(),
        intervals: Vec::new(),
    };
    let panel = Panel {
        name: "rate lr/√t, β1·λ^(t-1), no switch: the setting of Theorem 2".to_owned(),
        x: Axis::log("step t"),
        y: Axis::log("average regret R(t)/t"),
        curves: series.iter().map(curve).collect(),
    };
    curves("Average regret on ½(x² + 10y²)", &[panel], &legend(series))
}

/// Points at even distances of log t.
fn by_logarithm(points: &[(u32, f64)]) -> impl Iterator<Item = (u32, f64)> {
    let mut next = 1.0;
    points.iter().copied().filter(move |&(step, _)| {
        let is_next = f64::from(step) >= next;
        if is_next {
            next = f64::from(step) * 1.05;
        }
        is_next
    })
}

fn legend(series: &[Series]) -> Vec<String> {
    let count = series.iter().map(|series| series.contender + 1).max().unwrap_or(0);
    series.iter().take(count).map(|series| series.name.clone()).collect()
}

pub fn printed(endings: &[Ending], regrets: &[Series]) -> String {
    let mut text = "\ndistance to the minimum at the end (mean of the last tenth of the steps)\n".to_owned();
    let _ = writeln!(
        text,
        "{:28}{:>9}{:>18}{:>18}{:>18}{:>18}",
        "optimizer", "model", "exact, no switch", "exact, switch", "noise, no switch", "noise, switch"
    );
    let kinds = [(false, false), (false, true), (true, false), (true, true)];
    for Ending { name, hover, .. } in endings.iter().filter(|ending| !ending.is_noisy && !ending.is_switched) {
        let cells = kinds.map(|kind| {
            let ending = endings.iter().find(|e| &e.name == name && (e.is_noisy, e.is_switched) == kind);
            format!("{:>18.2e}", ending.map_or(f64::NAN, |ending| ending.distance))
        });
        let _ = writeln!(text, "{name:28}{hover:>9.2e}{}", cells.concat());
    }
    text.push_str("\naverage regret in the setting of Theorem 2, after a tenth of the steps and after all\n");
    for Series { name, points, .. } in regrets {
        let part = |step: usize| points[step - 1].1;
        let all = points.len();
        let _ = writeln!(text, "{name:28}{:>17.2e}{:>17.2e}", part((all / 10).max(1)), part(all));
    }
    text
}
