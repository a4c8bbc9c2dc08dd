//! Contours, with the ways of some starts over them.

use std::collections::{BTreeMap, VecDeque};

use plotters::prelude::*;

use super::{COLOURS, GREY, Result, font, page, svg};
use crate::flat_minima::landscapes::{Landscape, Point};

/// Cells of the grid on which contours are found, along each side.
const CELLS: usize = 60;
/// How much wider the picture is than the window of the starts.
const MARGIN: f64 = 1.2;
/// Points of a way nearer than this share of the window's half-width to the last one drawn are left out.
const NEAR: f64 = 0.004;

/// The ways of some starts under one optimizer.
pub struct Trajectories {
    pub name: String,
    /// For each start, the places it has come through.
    pub ways: Vec<Vec<Point>>,
}

/// One panel an optimizer.
///
/// # Errors
/// If plotters cannot draw.
pub fn contours(landscape: Landscape, title: &str, panels: &[Trajectories]) -> Result<String> {
    let columns = 3;
    let rows = panels.len().div_ceil(columns);
    let lines = chained(pieces(landscape));
    svg((990, 360 * rows as u32 + 60), |area| {
        let (areas, foot) = page(area, title, [rows, columns], 30)?;
        let note = "circle: start, with its number;  cross: end, if it is in the picture;  grey: contours of the loss;  axes: the two parameters";
        foot.draw(&Text::new(note, (20, 6), font(13)))?;
        let width = MARGIN * landscape.half_width();
        for (area, panel) in areas.iter().zip(panels) {
            let mut chart = ChartBuilder::on(area)
                .caption(&panel.name, font(14))
                .margin(8)
                .x_label_area_size(34)
                .y_label_area_size(40)
                .build_cartesian_2d(-width..width, -width..width)?;
            let mut mesh = chart.configure_mesh();
            mesh.disable_mesh().x_labels(7).y_labels(7).label_style(font(12)).x_desc("x").y_desc("y").draw()?;
            let line = |line: &Vec<Point>| PathElement::new(tuples(line), GREY);
            chart.draw_series(lines.iter().map(line))?;
            for (number, way) in panel.ways.iter().enumerate() {
                let colour = COLOURS[number % COLOURS.len()];
                let (Some(&first), Some(&last)) = (way.first(), way.last()) else { continue };
                let seen = within(&thinned(way, NEAR * width), width);
                chart.draw_series(seen.iter().map(|part| PathElement::new(tuples(part), colour)))?;
                let first: (f64, f64) = first.into();
                chart.draw_series([Circle::new(first, 4, BLACK.stroke_width(1))])?;
                if is_within(last, width) {
                    chart.draw_series([Cross::new(last.into(), 5, BLACK.stroke_width(2))])?;
                }
                let label = EmptyElement::at(first) + Text::new((number + 1).to_string(), (6, -14), font(13));
                chart.draw_series([label])?;
            }
        }
        Ok(())
    })
}

fn is_within(point: Point, width: f64) -> bool {
    point.iter().all(|value| value.abs() <= width)
}

/// The parts of a way that can be seen. What is outside would be drawn along the edge.
fn within(way: &[Point], width: f64) -> Vec<Vec<Point>> {
    let parts = way.chunk_by(|&one, &other| is_within(one, width) == is_within(other, width));
    parts.filter(|part| is_within(part[0], width)).map(<[Point]>::to_vec).collect()
}

/// The way without the points that would be drawn over each other. The first and the last one stay.
fn thinned(way: &[Point], near: f64) -> Vec<Point> {
    let mut drawn: Vec<Point> = Vec::new();
    for (index, &point) in way.iter().enumerate() {
        let is_far = drawn.last().is_none_or(|last| (point[0] - last[0]).hypot(point[1] - last[1]) > near);
        if is_far || index + 1 == way.len() {
            drawn.push(point);
        }
    }
    drawn
}

fn levels(landscape: Landscape) -> Vec<f64> {
    match landscape {
        Landscape::Waves => vec![-2.5, -1.0, 1.0, 3.0, 5.0, 7.0, 10.0, 14.0],
        Landscape::Wells => vec![-0.8, -0.5, -0.2, 0.1, 0.3, 0.6],
    }
}

/// The pieces of all contours, by marching triangles: each cell is cut along a diagonal, and within a triangle a contour is a
/// straight line.
fn pieces(landscape: Landscape) -> Vec<[Point; 2]> {
    let place = |cell: usize| (2.0 * cell as f64 / CELLS as f64 - 1.0) * MARGIN * landscape.half_width();
    let corner = |i: usize, j: usize| {
        let point = [place(i), place(j)];
        (point, landscape.value(point))
    };
    let levels = levels(landscape);
    let mut pieces = Vec::new();
    for i in 0..CELLS {
        for j in 0..CELLS {
            let [a, b, c, d] = [corner(i, j), corner(i + 1, j), corner(i, j + 1), corner(i + 1, j + 1)];
            for triangle in [[a, b, c], [b, c, d]] {
                pieces.extend(levels.iter().filter_map(|&level| crossing(triangle, level)));
            }
        }
    }
    pieces
}

/// Where a level crosses a triangle's sides, if it does.
fn crossing(corners: [(Point, f64); 3], level: f64) -> Option<[Point; 2]> {
    let mut found = [(0, 1), (1, 2), (2, 0)].into_iter().filter_map(|(from, to)| {
        // In one order, so that both triangles of a side find the same point to the bit.
        let (from, to) = if corners[from].0 < corners[to].0 { (from, to) } else { (to, from) };
        let ((p, low), (q, high)) = (corners[from], corners[to]);
        let is_crossed = (low < level) != (high < level);
        let part = (level - low) / (high - low);
        is_crossed.then(|| [0, 1].map(|axis| p[axis] + part * (q[axis] - p[axis])))
    });
    Some([found.next()?, found.next()?])
}

/// Pieces that meet, joined to lines.
fn chained(pieces: Vec<[Point; 2]>) -> Vec<Vec<Point>> {
    let key = |point: Point| point.map(f64::to_bits);
    let mut at: BTreeMap<[u64; 2], Vec<usize>> = BTreeMap::new();
    for (number, piece) in pieces.iter().enumerate() {
        piece.iter().for_each(|&end| at.entry(key(end)).or_default().push(number));
    }
    let mut is_used = vec![false; pieces.len()];
    let mut lines = Vec::new();
    for first in 0..pieces.len() {
        if std::mem::replace(&mut is_used[first], true) {
            continue;
        }
        let mut line = VecDeque::from(pieces[first]);
        for is_forward in [true, false] {
            loop {
                let end = if is_forward { line[line.len() - 1] } else { line[0] };
                let Some(&next) = at[&key(end)].iter().find(|&&number| !is_used[number]) else { break };
                is_used[next] = true;
                let [one, other] = pieces[next];
                let far = if key(one) == key(end) { other } else { one };
                if is_forward { line.push_back(far) } else { line.push_front(far) }
            }
        }
        lines.push(line.into());
    }
    lines
}

fn tuples(points: &[Point]) -> Vec<(f64, f64)> {
    points.iter().copied().map(Into::into).collect()
}
