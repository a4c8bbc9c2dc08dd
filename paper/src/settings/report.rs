//! The table and the heat maps.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use miadam_support::command_line::say;

use super::NOISE;
use super::grid::Grid;
use crate::drawing::{HeatMap, HeatMaps, Line, heat_maps};
use crate::setting::{Scale, Setting};

/// Steps per run at which effective learning rates are asked for: any, since none of the settings has a schedule.
const ANY: u32 = 1000;

/// The mean accuracy of a setting at a noise, in percent, if it has been run.
type Accuracy<'a> = &'a dyn Fn(Setting, u32) -> Option<f64>;

/// Writes `settings.csv`, a picture for each noise and switch, and prints the best of each map.
pub fn write(out: &Path, grid: &Grid, accuracy: Accuracy<'_>) -> Result<(), Box<dyn Error>> {
    let write = |name: &str, text: String| {
        let path = out.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}; choose a folder to write to", path.display()))
    };
    write("settings.csv", csv(grid, accuracy)?)?;
    for noise in NOISE {
        for &switch in &grid.switches {
            let name = format!("noise_{noise}_switch_{:.0}.svg", 100.0 * switch);
            write(&name, picture(grid, noise, switch, accuracy)?)?;
        }
    }
    print(grid, accuracy)
}

fn csv(grid: &Grid, accuracy: Accuracy<'_>) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("setting,lr,effective_lr");
    NOISE.iter().try_for_each(|noise| write!(text, ",accuracy_at_{noise}_percent_noise"))?;
    text.push('\n');
    for setting in grid.settings() {
        write!(text, "\"{setting}\",{},{:.3e}", setting.lr, setting.hyperparams(ANY).effective_lr())?;
        for noise in NOISE {
            let accuracy = accuracy(setting, noise).map_or(String::new(), |accuracy| format!("{accuracy:.3}"));
            write!(text, ",{accuracy}")?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn picture(grid: &Grid, noise: u32, switch: f64, accuracy: Accuracy<'_>) -> Result<String, Box<dyn Error>> {
    let map = |order: u32, scale: Scale| {
        let cell = |kappa: f64, lr: f64| accuracy(grid.setting(order, scale, switch, kappa, lr), noise);
        let row = |&lr: &f64| grid.kappas.iter().map(|&kappa| cell(kappa, lr)).collect();
        HeatMap {
            name: format!("n = {order}, {scale:?}"),
            values: grid.rates.iter().rev().map(row).collect(),
            lines: lines(grid, order, scale),
        }
    };
    let adam = grid.adam().filter_map(|setting| accuracy(setting, noise)).fold(f64::NAN, f64::max);
    heat_maps(&HeatMaps {
        title: format!(
            "Test accuracy, %; {noise} % wrong labels, switch after {:.0} % of the run, best Adam {adam:.1}",
            100.0 * switch
        ),
        axes: ["κ".into(), "learning rate; lines: effective_lr before the switch".into()],
        columns: grid.kappas.iter().map(f64::to_string).collect(),
        rows: grid.rates.iter().rev().map(|lr| format!("{lr:e}")).collect(),
        maps: grid.orders.iter().map(|&order| grid.scales.iter().map(|&scale| map(order, scale)).collect()).collect(),
        // What is far below Adam is white.
        range: [adam - 6.0, adam + 1.0],
    })
}

/// Where `effective_lr` is a power of ten. It is `lr` itself under the two gains, where lines would only repeat the axis.
fn lines(grid: &Grid, order: u32, scale: Scale) -> Vec<Line> {
    let power = match scale {
        Scale::Paper => order,
        Scale::Reference => order + 1,
        Scale::UnitGain | Scale::ExactGain => return Vec::new(),
    };
    let row = |lr: f64| {
        // Rates stand one factor apart.
        let step = (grid.rates[1] / grid.rates[0]).ln();
        (grid.rates.len() - 1) as f64 - (lr / grid.rates[0]).ln() / step
    };
    let line = |exponent: i32| {
        let lr = |kappa: f64| {
            let gain = (1.0 - kappa).powi(order as i32);
            (10_f64.powi(exponent) * gain).powf(1.0 / f64::from(power))
        };
        // Many points between two columns, so that a line ends where the map does.
        let points = (0..=20 * (grid.kappas.len() - 1)).map(|at| {
            let (column, part) = (at / 20, (at % 20) as f64 / 20.0);
            let next = (column + 1).min(grid.kappas.len() - 1);
            let between = |value: &dyn Fn(f64) -> f64| {
                value(grid.kappas[column]) * (1.0 - part) + value(grid.kappas[next]) * part
            };
            (column as f64 + part, between(&|kappa| row(lr(kappa))))
        });
        Line { name: format!("1e{exponent}"), points: points.collect() }
    };
    (-7..=1).map(line).collect()
}

fn print(grid: &Grid, accuracy: Accuracy<'_>) -> Result<(), Box<dyn Error>> {
    for noise in NOISE {
        say("")?;
        say(&format!("{noise} % wrong: the best of each kind, by the test digits"))?;
        let best = |settings: &mut dyn Iterator<Item = Setting>| {
            let found = settings.filter_map(|setting| Some((accuracy(setting, noise)?, setting)));
            found.max_by(|a, b| a.0.total_cmp(&b.0))
        };
        let mut lines = vec![best(&mut grid.adam())];
        for &order in &grid.orders {
            for &scale in &grid.scales {
                let is_kind = |setting: &Setting| setting.order == order && setting.scale == scale;
                lines.push(best(&mut grid.settings().into_iter().filter(is_kind)));
            }
        }
        for (accuracy, setting) in lines.into_iter().flatten() {
            say(&format!("{accuracy:.2}  {setting}, lr {:e}", setting.lr))?;
        }
    }
    Ok(())
}
