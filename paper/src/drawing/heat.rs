//! Heat maps, with the number in each cell and lines across them.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, Result, font, svg};

/// A grid of maps over the same columns and rows.
pub struct HeatMaps {
    pub title: String,
    /// What the columns and the rows are.
    pub axes: [String; 2],
    pub columns: Vec<String>,
    /// From the top.
    pub rows: Vec<String>,
    /// Rows of maps.
    pub maps: Vec<Vec<HeatMap>>,
    /// The values of white and black; what is below white is hatched by a stroke.
    pub range: [f64; 2],
}

/// One map.
pub struct HeatMap {
    pub name: String,
    /// By rows from the top.
    pub values: Vec<Vec<Option<f64>>>,
    pub lines: Vec<Line>,
}

/// A line through points (column, row), counted from the middle of the first cell. What lies outside is not drawn.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

const CELL: (i32, i32) = (44, 26);
const LEFT: i32 = 74;
const TOP: i32 = 78;
const GAP: (i32, i32) = (26, 62);

/// The maps side by side and under each other.
///
/// # Errors
/// If plotters cannot draw.
pub fn heat_maps(heat: &HeatMaps) -> Result<String> {
    let size = (CELL.0 * heat.columns.len() as i32, CELL.1 * heat.rows.len() as i32);
    let across = heat.maps.iter().map(Vec::len).max().unwrap_or(1) as i32;
    let width = LEFT + across * (size.0 + GAP.0);
    let height = TOP + heat.maps.len() as i32 * (size.1 + GAP.1) + 10;
    svg((width as u32, height as u32), |area| {
        area.draw(&Text::new(heat.title.as_str(), (14, 10), font(18)))?;
        let [columns, rows] = &heat.axes;
        area.draw(&Text::new(format!("across: {columns}; up: {rows}"), (14, 34), font(14)))?;
        for (down, maps) in heat.maps.iter().enumerate() {
            for (right, map) in maps.iter().enumerate() {
                let corner = (LEFT + right as i32 * (size.0 + GAP.0), TOP + down as i32 * (size.1 + GAP.1));
                draw(area, heat, map, corner, right == 0)?;
            }
        }
        Ok(())
    })
}

fn draw(area: &Area<'_>, heat: &HeatMaps, map: &HeatMap, (left, top): (i32, i32), is_first: bool) -> Result {
    let centred = |size| font(size).pos(Pos::new(HPos::Center, VPos::Center));
    let middle = |column: f64, row: f64| {
        let place = |start: i32, cell: i32, index: f64| start + (f64::from(cell) * (index + 0.5)).round() as i32;
        (place(left, CELL.0, column), place(top, CELL.1, row))
    };
    area.draw(&Text::new(map.name.as_str(), (left, top - 20), font(14)))?;
    let cells = || {
        let rows = map.values.iter().enumerate();
        rows.flat_map(|(row, values)| {
            values.iter().enumerate().filter_map(move |(column, value)| Some((column, row, (*value)?)))
        })
    };
    for (column, row, value) in cells() {
        let (x, y) = (left + CELL.0 * column as i32, top + CELL.1 * row as i32);
        area.draw(&Rectangle::new([(x, y), (x + CELL.0, y + CELL.1)], shades(value, heat.range).0.filled()))?;
        if value < heat.range[0] {
            area.draw(&PathElement::new([(x, y + CELL.1), (x + CELL.0, y)], RGBColor(0xcc, 0xcc, 0xcc)))?;
        }
    }
    draw_lines(area, heat, map, &middle)?;
    for (column, row, value) in cells() {
        let (_, ink) = shades(value, heat.range);
        area.draw(&Text::new(format!("{value:.1}"), middle(column as f64, row as f64), centred(13).color(&ink)))?;
    }
    for (column, name) in heat.columns.iter().enumerate() {
        let (x, _) = middle(column as f64, 0.0);
        area.draw(&Text::new(name.as_str(), (x, top + CELL.1 * heat.rows.len() as i32 + 10), centred(12)))?;
    }
    if is_first {
        for (row, name) in heat.rows.iter().enumerate() {
            let (_, y) = middle(0.0, row as f64);
            let right = font(12).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(name.as_str(), (left - 6, y), right))?;
        }
    }
    Ok(())
}

/// Each line, with its name at its right end.
fn draw_lines(area: &Area<'_>, heat: &HeatMaps, map: &HeatMap, middle: &dyn Fn(f64, f64) -> (i32, i32)) -> Result {
    let (columns, rows) = (heat.columns.len() as f64, heat.rows.len() as f64);
    let inside =
        |&(column, row): &(f64, f64)| (-0.5..=columns - 0.5).contains(&column) && (-0.5..=rows - 0.5).contains(&row);
    for line in &map.lines {
        for part in line.points.split(|point| !inside(point)).filter(|part| part.len() > 1) {
            let pixels: Vec<_> = part.iter().map(|&(column, row)| middle(column, row)).collect();
            area.draw(&PathElement::new(pixels.clone(), RGBColor(0xd5, 0x5e, 0x00).stroke_width(1)))?;
            let (x, y) = pixels[pixels.len() - 1];
            area.draw(&Text::new(line.name.as_str(), (x - 2, y - 14), font(11).color(&RGBColor(0xa0, 0x40, 0x00))))?;
        }
    }
    Ok(())
}

/// The shade of a cell, and what is seen on it.
fn shades(value: f64, [white, black]: [f64; 2]) -> (RGBColor, RGBColor) {
    let part = ((value - white) / (black - white)).clamp(0.0, 1.0);
    let grey = (255.0 - 200.0 * part) as u8;
    (RGBColor(grey, grey, grey), if part > 0.5 { WHITE } else { BLACK })
}
