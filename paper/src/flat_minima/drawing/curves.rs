//! Curves over a logarithmic axis, with markers that tell them apart.

use plotters::prelude::*;

use super::{Area, COLOURS, Result, font, page, svg};

/// Markers along each curve.
const MARKERS: usize = 8;

/// A curve, by points (x, log10 y).
pub struct Curve {
    /// Which line of the legend it belongs to.
    pub style: usize,
    pub points: Vec<(f64, f64)>,
    /// The 95 % interval at each point, as log10 y; none for curves.
    pub intervals: Vec<(f64, f64)>,
    /// Whether the curve is a prediction, drawn in dashes without markers.
    pub is_dashed: bool,
}

/// One chart.
pub struct Panel {
    pub name: String,
    pub x: &'static str,
    pub y: &'static str,
    pub curves: Vec<Curve>,
}

/// Charts in a grid over one legend, which names the styles.
///
/// # Errors
/// If plotters cannot draw.
pub fn curves(title: &str, panels: &[Panel], legend: &[String]) -> Result<String> {
    let columns = panels.len().min(2);
    let rows = panels.len().div_ceil(columns);
    let foot = 22 * legend.len().div_ceil(2) as u32 + 14;
    svg((1000, 360 * rows as u32 + 34 + foot), |area| {
        let (areas, foot) = page(area, title, [rows, columns], foot)?;
        for (area, panel) in areas.iter().zip(panels) {
            draw(area, panel)?;
        }
        for (style, name) in legend.iter().enumerate() {
            let (left, top) = (30 + 490 * (style % 2) as i32, 16 + 22 * (style / 2) as i32);
            let colour = COLOURS[style % COLOURS.len()];
            foot.draw(&PathElement::new(vec![(left, top), (left + 44, top)], colour.stroke_width(2)))?;
            let outline: Vec<_> = marker(style).into_iter().map(|(x, y)| (left + 22 + x, top + y)).collect();
            foot.draw(&Polygon::new(outline.clone(), fill(style).filled()))?;
            foot.draw(&PathElement::new(outline, BLACK.stroke_width(1)))?;
            foot.draw(&Text::new(name.as_str(), (left + 54, top - 7), font(14)))?;
        }
        Ok(())
    })
}

fn draw(area: &Area<'_>, panel: &Panel) -> Result {
    let points = || panel.curves.iter().flat_map(|curve| &curve.points).filter(|point| point.1.is_finite());
    let range = |part: fn(&(f64, f64)) -> f64| {
        let (low, high) = points().map(part).fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)));
        if low < high { (low, high) } else { (0.0, 1.0) }
    };
    let ((left, right), (bottom, top)) = (range(|point| point.0), range(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.name, font(14))
        .margin(8)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d(left..right, bottom.floor()..top.ceil())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .label_style(font(12))
        .x_desc(panel.x)
        .y_desc(panel.y)
        .y_labels((top.ceil() - bottom.floor()) as usize + 1)
        .y_label_formatter(&|power| number(*power))
        .draw()?;
    for curve in &panel.curves {
        let colour = COLOURS[curve.style % COLOURS.len()];
        let points: Vec<_> = curve.points.iter().copied().filter(|point| point.1.is_finite()).collect();
        if curve.is_dashed {
            chart.draw_series(DashedLineSeries::new(points, 6, 5, colour.stroke_width(1)))?;
            continue;
        }
        for (&(x, _), &(low, high)) in curve.points.iter().zip(&curve.intervals) {
            // An open interval ends where the chart does.
            let ends = [low, high].map(|end| (x, end.clamp(bottom.floor(), top.ceil())));
            chart.draw_series([PathElement::new(ends.to_vec(), colour.stroke_width(1))])?;
        }
        let every = points.len().div_ceil(MARKERS).max(1);
        // Shifted by the style, so that markers of equal curves do not hide each other.
        let first = if every == 1 { 0 } else { curve.style * every / COLOURS.len() };
        let markers: Vec<_> = points.iter().copied().skip(first).step_by(every).collect();
        chart.draw_series([PathElement::new(points, colour.stroke_width(2))])?;
        for point in markers {
            let outline = marker(curve.style);
            let filled = Polygon::new(outline.clone(), fill(curve.style).filled());
            let edge = PathElement::new(outline, BLACK.stroke_width(1));
            chart.draw_series([EmptyElement::at(point) + filled + edge])?;
        }
    }
    Ok(())
}

/// A power of ten as people write it.
fn number(power: f64) -> String {
    match power.round() as i32 {
        power @ 0..=4 => 10_i32.pow(power as u32).to_string(),
        power @ -3..0 => format!("{:.*}", power.unsigned_abs() as usize, 10_f64.powi(power)),
        power => format!("1e{power}"),
    }
}

/// The closed outline of a style's marker, in pixels about its middle.
fn marker(style: usize) -> Vec<(i32, i32)> {
    match style % COLOURS.len() {
        0 => vec![(-4, -2), (-2, -4), (2, -4), (4, -2), (4, 2), (2, 4), (-2, 4), (-4, 2), (-4, -2)],
        1 => vec![(-4, 4), (4, 4), (0, -5), (-4, 4)],
        2 => vec![(-4, -4), (4, -4), (4, 4), (-4, 4), (-4, -4)],
        3 => vec![(0, -6), (5, 0), (0, 6), (-5, 0), (0, -6)],
        4 => vec![(-4, -4), (4, -4), (0, 5), (-4, -4)],
        5 => vec![(-6, -2), (6, -2), (6, 2), (-6, 2), (-6, -2)],
        _ => vec![(-2, -6), (2, -6), (2, 6), (-2, 6), (-2, -6)],
    }
}

/// Filled or hollow by turns, with a black edge, so that it is seen on any line.
fn fill(style: usize) -> RGBColor {
    if style.is_multiple_of(2) { COLOURS[style % COLOURS.len()] } else { WHITE }
}
