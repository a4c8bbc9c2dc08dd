//! Maps of the starts: in which kind of minimum each has ended.

use std::ops::Range;

use plotters::prelude::*;

use super::{Area, Result, font, page, svg};
use crate::flat_minima::ends::End;
use crate::flat_minima::landscapes::Landscape;

const FLAT: RGBColor = RGBColor(0xf6, 0xd9, 0x6b);
const SHARP: RGBColor = RGBColor(0x1b, 0x3f, 0x6e);

/// The ends of a square grid of starts under one optimizer, row by row.
pub struct Map {
    pub name: String,
    pub ends: Vec<End>,
}

/// One panel an optimizer.
///
/// # Errors
/// If plotters cannot draw.
pub fn maps(landscape: Landscape, title: &str, panels: &[Map]) -> Result<String> {
    let columns = 4;
    let rows = panels.len().div_ceil(columns);
    svg((1080, 285 * rows as u32 + 70), |area| {
        let (areas, foot) = page(area, title, [rows, columns], 36)?;
        legend(&foot)?;
        let width = landscape.half_width();
        for (area, panel) in areas.iter().zip(panels) {
            let side = panel.ends.len().isqrt();
            let mut chart = ChartBuilder::on(area)
                .caption(&panel.name, font(14))
                .margin(6)
                .x_label_area_size(34)
                .y_label_area_size(38)
                .build_cartesian_2d(-width..width, -width..width)?;
            chart
                .configure_mesh()
                .disable_mesh()
                .x_labels(5)
                .y_labels(5)
                .label_style(font(12))
                .x_desc("x of the start")
                .y_desc("y of the start")
                .draw()?;
            let edge = |cell: usize| (2.0 * cell as f64 / side as f64 - 1.0) * width;
            for Stripe { row, columns, end } in stripes(&panel.ends, side) {
                let [left, right] = [columns.start, columns.end].map(edge);
                let colour = match end {
                    End::Flat => FLAT,
                    End::Sharp => SHARP,
                    End::Nowhere => {
                        let middle = f64::midpoint(edge(row), edge(row + 1));
                        chart.draw_series([PathElement::new([(left, middle), (right, middle)], BLACK)])?;
                        continue;
                    }
                };
                chart.draw_series([Rectangle::new([(left, edge(row)), (right, edge(row + 1))], colour.filled())])?;
            }
        }
        Ok(())
    })
}

/// A run of equal cells in a row, drawn as one so that the file stays small.
struct Stripe {
    row: usize,
    columns: Range<usize>,
    end: End,
}

fn stripes(ends: &[End], side: usize) -> Vec<Stripe> {
    let mut stripes = Vec::new();
    for (row, cells) in ends.chunks(side).enumerate() {
        let mut column = 0;
        for run in cells.chunk_by(|one, other| one == other) {
            let columns = column..column + run.len();
            column = columns.end;
            stripes.push(Stripe { row, columns, end: run[0] });
        }
    }
    stripes
}

fn legend(foot: &Area<'_>) -> Result {
    let words = ["light: ends in a flat minimum", "dark: in a sharp one", "lines: in none"];
    for (number, word) in (0..).zip(words) {
        let left = 30 + 300 * number;
        let corners = [(left, 8), (left + 18, 26)];
        match number {
            0 => foot.draw(&Rectangle::new(corners, FLAT.filled()))?,
            1 => foot.draw(&Rectangle::new(corners, SHARP.filled()))?,
            _ => {
                for top in [12, 17, 22] {
                    foot.draw(&PathElement::new([(left, top), (left + 18, top)], BLACK))?;
                }
            }
        }
        foot.draw(&Rectangle::new(corners, BLACK.stroke_width(1)))?;
        foot.draw(&Text::new(word, (left + 26, 10), font(14)))?;
    }
    Ok(())
}
