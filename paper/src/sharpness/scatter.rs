//! Test accuracy over the top eigenvalue: a number for each run, which the legend explains.

use std::ops::Range;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::short;
use super::summary::{Row, by_noise};
use crate::drawing::{Area, Result, font, svg};

const SIZE: (u32, u32) = (1000, 590);
const FOOT: u32 = 135;

/// A panel for each noise.
pub fn picture(rows: &[Row]) -> Result<String> {
    let panels: Vec<&[Row]> = by_noise(rows).collect();
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.name.as_str()) {
            names.push(&row.name);
        }
    }
    svg(SIZE, |area| {
        let (body, foot) = area.split_vertically(SIZE.1 - FOOT);
        let body = body.titled("Does flatness go with accuracy? A number is a run.", font(18))?;
        for (area, panel) in body.split_evenly((1, panels.len())).iter().zip(&panels) {
            draw(area, panel, &names)?;
        }
        let lines = names.len().div_ceil(2).max(1);
        for (index, name) in names.iter().enumerate() {
            let (left, top) = (60 + 480 * (index / lines) as i32, 6 + 24 * (index % lines) as i32);
            foot.draw(&Text::new(format!("{}   {name}", index + 1), (left, top), font(14)))?;
        }
        Ok(())
    })
}

fn draw(area: &Area<'_>, rows: &[Row], names: &[&str]) -> Result {
    let points: Vec<_> = rows.iter().map(|row| (row.top().max(f64::MIN_POSITIVE).log10(), row.last())).collect();
    let (x, y) = (padded(points.iter().map(|point| point.0), 0.02), padded(points.iter().map(|point| point.1), 0.05));
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{:.0} % wrong labels", 100.0 * rows[0].noise()), font(15))
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .label_style(font(12))
        .x_labels(6)
        .x_desc("top eigenvalue of the Hessian (nats), logarithmic")
        .y_desc("test accuracy after the last epoch, %")
        .x_label_formatter(&|power| short(10_f64.powf(*power)))
        .draw()?;
    let middle = font(15).pos(Pos::new(HPos::Center, VPos::Center));
    for (row, &point) in rows.iter().zip(&points) {
        let number = names.iter().position(|name| *name == row.name).map_or(0, |index| index + 1);
        chart.draw_series([Text::new(number.to_string(), point, middle.clone())])?;
    }
    Ok(())
}

/// A range about the values, wider by a tenth of it or by `least` at either end.
fn padded(values: impl Iterator<Item = f64>, least: f64) -> Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let margin = (0.1 * (high - low)).max(least);
    low - margin..high + margin
}
