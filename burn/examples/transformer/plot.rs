//! The loss curves of metrics files, in one picture.

use std::error::Error;
use std::path::{Path, PathBuf};

use crate::transformer::metrics;
use miadam_support::plot::{self, Chart, Curve, STROKES};

/// Steps whose mean is drawn, since single batches differ more than optimizers do.
const WINDOW: usize = 25;

/// Draws the metrics files into an SVG file.
pub fn draw(file: &Path, metrics: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    if metrics.len() > STROKES.len() {
        return Err(format!("{} metrics files; draw at most {} in one picture", metrics.len(), STROKES.len()).into());
    }
    let curves = metrics.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let up = format!("training loss, nats a character (mean of {WINDOW} steps)");
    plot::draw(file, &[Chart { curves: &curves, across: "step", up: &up }])
}

fn read(path: &Path) -> Result<Curve, String> {
    let lines = metrics::read(path)?;
    let window = WINDOW.min(lines.len());
    let mean = |lines: &[metrics::Line]| {
        let loss: f64 = lines.iter().map(|line| f64::from(line.loss)).sum();
        (lines[window - 1].step as f64, loss / window as f64)
    };
    let points: Vec<_> = lines.windows(window).map(mean).filter(|(_, loss)| loss.is_finite()).collect();
    match points.last() {
        Some((_, last)) => Ok(Curve { name: format!("{}: {last:.3} at the end", lines[0].optimizer), points }),
        None => Err(format!("{}: no loss is finite; draw another run", path.display())),
    }
}
