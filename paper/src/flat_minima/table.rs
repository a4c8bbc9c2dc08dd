//! The table of end points.

use std::error::Error;
use std::fmt::Write;

use super::drawing::{Axis, Curve, Kind, Panel, curves};
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
    /// How far it swings about a minimum before the switch: [`hover`](super::stability::hover).
    pub hover: f64,
    pub summary: Summary,
}

const COLUMNS: [&str; 6] = ["sharpness", "flat", "sharp", "nowhere", "above_flat", "outside"];

fn estimates(summary: &Summary) -> [Estimate; 6] {
    [summary.sharpness, summary.flat, summary.sharp, summary.nowhere, summary.above_flat, summary.outside]
}

/// The table as a CSV file: each estimate with the two ends of its interval.
pub fn csv(rows: &[Row]) -> String {
    let mut csv = "landscape,lr,optimizer,effective_lr,hover".to_owned();
    for column in COLUMNS {
        // Writing to a string cannot fail.
        let _ = write!(csv, ",{column},{column}_low,{column}_high");
    }
    csv.push('\n');
    for row in rows {
        let Row { landscape, lr, contender, effective_lr, hover, summary } = row;
        let _ = write!(csv, "{},{lr},\"{contender}\",{effective_lr:.6},{hover:.6}", landscape.name());
        for Estimate { value, low, high } in estimates(summary) {
            // Nothing is known of the sharpness where all have left.
            let cells =
                [value, low, high].map(|number| if number.is_nan() { String::new() } else { format!("{number:.4}") });
            let _ = write!(csv, ",{}", cells.join(","));
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
                "{:46} {:>9} {:>8} {:>17} {:>15} {:>7} {:>15}",
                "optimizer", "step", "hovers", "mean Σ|λ|", "flat, %", "sharp", "no minimum, %"
            );
            last = present;
        }
        let Summary { sharpness, flat, sharp, nowhere, .. } = &row.summary;
        let radius = (sharpness.high - sharpness.low) / 2.0;
        let mean = if radius.is_nan() { "-".to_owned() } else { format!("{:.1} ± {radius:.1}", sharpness.value) };
        let _ = writeln!(
            text,
            "{:46} {:>9.4} {:>8.3} {mean:>17} {:>15} {:>7.1} {:>15}",
            row.contender,
            row.effective_lr,
            row.hover,
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

/// The share that ends in a flat minimum over how far an optimizer hovers: all rows, a panel for each landscape.
///
/// # Errors
/// If plotters cannot draw.
pub fn picture(rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let families = ["Adam", "UnitGain", "Paper", "Reference"];
    let family = |row: &Row| match row.contender.starts_with("Adam") {
        true => 0,
        false => families.iter().rposition(|name| row.contender.contains(name)).unwrap_or(0),
    };
    let panels: Vec<_> = rows
        .chunk_by(|one, other| one.landscape == other.landscape)
        .map(|rows| {
            let curve = |style| {
                let rows: Vec<_> = rows.iter().filter(|row| family(row) == style).collect();
                Curve {
                    style,
                    kind: Kind::Points,
                    points: rows.iter().map(|row| (row.hover, 100.0 * row.summary.flat.value)).collect(),
                    intervals: rows
                        .iter()
                        .map(|row| (100.0 * row.summary.flat.low, 100.0 * row.summary.flat.high))
                        .collect(),
                }
            };
            Panel {
                name: format!("the {}, all rates", rows[0].landscape.name()),
                x: Axis::log("amplitude about a minimum before the switch, by the linear model"),
                y: Axis::linear("ends in a flat minimum, % of the starts"),
                curves: (0..families.len()).map(curve).collect(),
            }
        })
        .collect();
    let legend = [
        "Adam and the controls",
        "MIAdam1, 2, 3 UnitGain κ 0.9",
        "MIAdam1, 2, 3 Paper κ 0.5",
        "MIAdam1, 2, 3 Reference κ 0.98",
    ];
    curves("A flat minimum, by how far an optimizer hovers", &panels, &legend.map(str::to_owned))
}
