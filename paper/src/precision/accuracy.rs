//! The accuracy that state in fewer bits costs, on digits with right and with wrong labels.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use miadam::StatePrecision;
use miadam_support::command_line::say;
use miadam_support::mnist::data::Data;

use super::{ORDERS, PACKED, write};
use crate::drawing::{Forest, Interval, Panel, forest};
use crate::lab::Lab;
use crate::setting::{Name, Scale, Setting};
use crate::stats::{Mean, paired};
use crate::training::{Run, Split};

/// Wrong labels, in percent.
const NOISE: [u32; 2] = [0, 40];
const SEEDS: u64 = 10;

/// One order and precision at one noise.
struct Row {
    noise: u32,
    order: u32,
    state: StatePrecision,
    /// In percent after the last epoch, over the seeds.
    last: Mean,
    /// In points, seed by seed, over state in `f32`.
    difference: Mean,
}

/// Trains what is left to train, and writes `accuracy.csv` and `accuracy.svg`.
pub fn run(out: &Path, data: &Data, threads: usize, is_quick: bool) -> Result<(), Box<dyn Error>> {
    let (epochs, hidden) = if is_quick { (1, 16) } else { (10, 256) };
    let mut lab = Lab::open(out, data)?;
    say(&format!("{} training digits, {} test digits, {epochs} epochs", data.train.len(), data.test.len()))?;
    let runs = |order, state, noise: u32| {
        let setting = Setting { state, ..setting(order) };
        let noise = f64::from(noise) / 100.0;
        (0..SEEDS).map(move |seed| Run { setting, noise, seed, epochs, batch: 128, hidden, split: Split::Test })
    };
    let mut all = Vec::new();
    for noise in NOISE {
        for order in ORDERS {
            for state in [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Q8] {
                all.extend(runs(order, state, noise));
            }
        }
    }
    lab.run("accuracy", &all, data, threads)?;

    let percent = |order, state, noise| -> Option<Vec<f64>> {
        runs(order, state, noise).map(|run| lab.outcome(&run).map(|outcome| 100.0 * outcome.last)).collect()
    };
    let mut rows = Vec::new();
    for noise in NOISE {
        for order in ORDERS {
            let Some(exact) = percent(order, StatePrecision::F32, noise) else { continue };
            for state in [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Q8] {
                let Some(values) = percent(order, state, noise) else { continue };
                let (last, difference) = (Mean::of(&values), paired(&values, &exact));
                rows.push(Row { noise, order, state, last, difference });
            }
        }
    }
    write(out, "accuracy.csv", csv(&rows)?)?;
    write(out, "accuracy.svg", picture(&rows)?)?;
    print(&rows)
}

/// Adam, or what the README says to start with.
fn setting(order: u32) -> Setting {
    match order {
        0 => Setting { scale: Scale::UnitGain, ..Setting::new(Name::MiAdam, 1e-3) },
        _ => Setting::miadam(order, 0.9, Scale::UnitGain, 1e-3),
    }
}

fn csv(rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from(
        "noise_percent,order,state,seeds,last_percent,last_deviation,difference_points,difference_half_width_95\n",
    );
    for Row { noise, order, state, last, difference } in rows {
        writeln!(
            text,
            "{noise},{order},{state:?},{},{:.3},{:.3},{:.3},{:.3}",
            last.count,
            last.mean,
            last.deviation,
            difference.mean,
            difference.half_width(),
        )?;
    }
    Ok(text)
}

fn picture(rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let names: Vec<_> = ORDERS.into_iter().flat_map(|order| PACKED.map(|state| (order, state))).collect();
    let panel = |noise| {
        let interval = |&(order, state): &(u32, StatePrecision)| {
            let row = rows.iter().find(|row| row.noise == noise && row.order == order && row.state == state);
            row.map(|row| Interval { mean: row.difference.mean, half: row.difference.half_width() })
        };
        Panel { name: format!("{noise} % wrong"), rows: names.iter().map(interval).collect() }
    };
    forest(&Forest {
        title: format!("Test accuracy less that of f32 state, {SEEDS} seeds"),
        x: "points after the last epoch, seed by seed, with 95 % intervals; hollow where 0 is inside".into(),
        panels: NOISE.map(panel).into(),
        names: names.iter().map(|(order, state)| format!("n = {order}, {state:?}")).collect(),
    })
}

fn print(rows: &[Row]) -> Result<(), Box<dyn Error>> {
    for Row { noise, order, state, last, difference } in rows {
        let difference = format!("{:+.2} ± {:.2}", difference.mean, difference.half_width());
        let state = format!("{state:?}");
        say(&format!(
            "{noise:2} % wrong, n = {order}, {state:4}  {:.2} ± {:.2}   {difference}",
            last.mean, last.deviation
        ))?;
    }
    Ok(())
}
