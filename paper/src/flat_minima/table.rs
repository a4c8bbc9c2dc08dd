//! The table of end points.

use std::fmt::Write;

use super::ends::Summary;
use super::intervals::Estimate;
use super::landscapes::Landscape;

/// A swarm's line.
pub struct Row {
    pub landscape: Landscape,
    pub lr: f64,
    pub contender: String,
    /// The step that a steady gradient settles to before the switch.
    pub effective_lr: f64,
    pub summary: Summary,
}

const COLUMNS: [&str; 6] = ["sharpness", "flat", "sharp", "nowhere", "above_flat", "outside"];

fn estimates(summary: &Summary) -> [Estimate; 6] {
    [summary.sharpness, summary.flat, summary.sharp, summary.nowhere, summary.above_flat, summary.outside]
}

/// The table as a CSV file: each estimate with the two ends of its interval.
pub fn csv(rows: &[Row]) -> String {
    let mut csv = "landscape,lr,optimizer,effective_lr".to_owned();
    for column in COLUMNS {
        // Writing to a string cannot fail.
        let _ = write!(csv, ",{column},{column}_low,{column}_high");
    }
    csv.push('\n');
    for row in rows {
        let Row { landscape, lr, contender, effective_lr, summary } = row;
        let _ = write!(csv, "{},{lr},\"{contender}\",{effective_lr:.6}", landscape.name());
        for Estimate { value, low, high } in estimates(summary) {
            let _ = write!(csv, ",{value:.4},{low:.4},{high:.4}");
        }
        csv.push('\n');
    }
    csv
}

/// The table for people: landscape by landscape, rate by rate.
pub fn printed(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut last = None;
    for row in rows {
        let present = Some((row.landscape, row.lr));
        if last != present {
            let _ = writeln!(text, "\n{}, lr {}", row.landscape.name(), row.lr);
            let _ = writeln!(
                text,
                "{:46} {:>9} {:>17} {:>15} {:>7} {:>15}",
                "optimizer", "step", "mean Σ|λ|", "flat, %", "sharp", "no minimum, %"
            );
            last = present;
        }
        let Summary { sharpness, flat, sharp, nowhere, .. } = &row.summary;
        let radius = (sharpness.high - sharpness.low) / 2.0;
        let _ = writeln!(
            text,
            "{:46} {:>9} {:>9.1} ± {:<5.1} {:>15} {:>7.1} {:>15}",
            row.contender,
            format!("{:.4}", row.effective_lr),
            sharpness.value,
            radius,
            percent(flat),
            100.0 * sharp.value,
            percent(nowhere)
        );
    }
    text
}

fn percent(estimate: &Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
    format!("{value:.1} ({low:.0}-{high:.0})")
}
