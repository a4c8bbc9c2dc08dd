//! Differences with their intervals, a row for each name and a panel for each condition.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, Result, font, svg};

/// A mean, and half the width of its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub mean: f64,
    pub half: f64,
}

/// What is drawn.
pub struct Forest {
    pub title: String,
    /// Under the panels.
    pub x: String,
    pub names: Vec<String>,
    pub panels: Vec<Panel>,
}

/// A condition, with an interval for each name that has one.
pub struct Panel {
    pub name: String,
    pub rows: Vec<Option<Interval>>,
}

const LEFT: u32 = 250;
const PANEL: u32 = 190;
const ROW: u32 = 22;
const TOP: u32 = 64;
const FOOT: u32 = 58;

/// Means as dots on their intervals, with a line at 0. What lies outside of a panel is an arrow at its edge, with its number.
///
/// # Errors
/// If plotters cannot draw.
pub fn forest(forest: &Forest) -> Result<String> {
    let Forest { title, x, names, panels } = forest;
    let height = TOP + ROW * names.len() as u32 + FOOT;
    svg((LEFT + PANEL * panels.len() as u32 + 20, height), |area| {
        area.draw(&Text::new(title.as_str(), (14, 12), font(18)))?;
        for (row, name) in names.iter().enumerate() {
            area.draw(&Text::new(name.as_str(), (14, middle(row) - 7), font(14)))?;
        }
        for (index, panel) in panels.iter().enumerate() {
            draw(area, panel, (LEFT + PANEL * index as u32) as i32, names.len())?;
        }
        let (_, bottom) = area.dim_in_pixel();
        area.draw(&Text::new(x.as_str(), (14, bottom as i32 - 22), font(14)))?;
        Ok(())
    })
}

fn middle(row: usize) -> i32 {
    (TOP + ROW * row as u32 + ROW / 2) as i32
}

fn draw(area: &Area<'_>, panel: &Panel, left: i32, rows: usize) -> Result {
    let width = PANEL as i32 - 20;
    let reach = reach(panel);
    let place = |value: f64| left + ((value / reach + 1.0) / 2.0 * f64::from(width)).round() as i32;
    let (top, bottom) = (TOP as i32, (TOP + ROW * rows as u32) as i32);
    let grey = RGBColor(0xcc, 0xcc, 0xcc);
    area.draw(&Text::new(panel.name.as_str(), (left, top - 22), font(14)))?;
    area.draw(&Rectangle::new([(left, top), (left + width, bottom)], grey))?;
    area.draw(&PathElement::new([(place(0.0), top), (place(0.0), bottom)], BLACK.stroke_width(1)))?;
    for tick in [-reach, 0.0, reach] {
        let label = font(12).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(number(tick), (place(tick), bottom + 6), label))?;
    }
    for (row, interval) in panel.rows.iter().enumerate() {
        let (Some(Interval { mean, half }), y) = (*interval, middle(row)) else { continue };
        if mean.abs() > reach {
            let (edge, tip) = if mean > 0.0 { (left + width - 8, 8) } else { (left + 8, -8) };
            area.draw(&Polygon::new([(edge, y - 5), (edge, y + 5), (edge + tip, y)], BLACK.filled()))?;
            let side = if mean > 0.0 { HPos::Right } else { HPos::Left };
            let at = (edge - tip.signum() * 6, y);
            area.draw(&Text::new(number(mean), at, font(12).pos(Pos::new(side, VPos::Center))))?;
            continue;
        }
        let ends = [mean - half, mean + half].map(|end| (place(end.clamp(-reach, reach)), y));
        area.draw(&PathElement::new(ends, BLACK.stroke_width(2)))?;
        // Hollow where 0 is inside the interval.
        let dot = Circle::new((place(mean), y), 4, WHITE.filled());
        let filled = Circle::new((place(mean), y), 4, BLACK.filled());
        area.draw(if half >= mean.abs() { &dot } else { &filled })?;
        area.draw(&Circle::new((place(mean), y), 4, BLACK.stroke_width(1)))?;
    }
    Ok(())
}

/// The end of a panel's axis: three quarters of its rows fit.
fn reach(panel: &Panel) -> f64 {
    let mut ends: Vec<f64> = panel.rows.iter().flatten().map(|interval| interval.mean.abs()).collect();
    ends.sort_by(f64::total_cmp);
    let quarter = ends.get(ends.len() * 3 / 4).copied().unwrap_or(1.0);
    // Half a point more, up to a whole half.
    ((1.3 * quarter).max(0.2) * 2.0).ceil() / 2.0
}

fn number(value: f64) -> String {
    if value == 0.0 { "0".into() } else { format!("{value:+.1}") }
}
