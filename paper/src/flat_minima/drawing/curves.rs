//! Curves and points over linear and logarithmic axes, with markers that tell them apart.

use plotters::prelude::*;

use super::{Area, COLOURS, Result, font, page, svg};

/// Markers along each curve.
const MARKERS: usize = 8;

/// How points are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A line with markers here and there.
    Line,
    /// A dashed line without markers: a prediction.
    Dashed,
    /// Markers alone.
    Points,
}

/// Points that belong together.
pub struct Curve {
    /// Which line of the legend it belongs to.
    pub style: usize,
    pub kind: Kind,
    pub points: Vec<(f64, f64)>,
    /// The 95 % interval of y at each point, or nothing.
    pub intervals: Vec<(f64, f64)>,
}

/// An axis: its name with the unit, and whether it is logarithmic.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    pub name: &'static str,
    pub is_log: bool,
}

impl Axis {
    pub const fn linear(name: &'static str) -> Self {
        Self { name, is_log: false }
    }

    pub const fn log(name: &'static str) -> Self {
        Self { name, is_log: true }
    }

    /// Where a number lies along the axis.
    fn place(self, number: f64) -> f64 {
        if self.is_log { number.log10() } else { number }
    }

    /// The axis' ends, such that all numbers are within: whole powers of ten if it is logarithmic.
    fn range(self, numbers: impl Iterator<Item = f64>) -> [f64; 2] {
        let places = numbers.map(|number| self.place(number)).filter(|place| place.is_finite());
        let (low, high) = places.fold((f64::MAX, f64::MIN), |(low, high), place| (low.min(place), high.max(place)));
        match low < high {
            true if self.is_log => [low.floor(), high.ceil()],
            // Room for the markers.
            true => [low, high].map(|end| end + (end - f64::midpoint(low, high)) * 0.06),
            false => [0.0, 1.0],
        }
    }

    /// What is written at a place.
    fn label(self, place: f64) -> String {
        if !self.is_log {
            return format!("{}", (place * 1e6).round() / 1e6);
        }
        match place.round() as i32 {
            _ if (place - place.round()).abs() > 1e-6 => String::new(),
            power @ 0..=4 => 10_i32.pow(power as u32).to_string(),
            power @ -3..0 => format!("{:.*}", power.unsigned_abs() as usize, 10_f64.powi(power)),
            power => format!("1e{power}"),
        }
    }

    fn ticks(self, [low, high]: [f64; 2]) -> usize {
        if self.is_log { (high - low) as usize + 1 } else { 6 }
    }
}

/// One chart.
pub struct Panel {
    pub name: String,
    pub x: Axis,
    pub y: Axis,
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
    let points = || panel.curves.iter().flat_map(|curve| &curve.points);
    let [left, right] = panel.x.range(points().map(|point| point.0));
    let [bottom, top] = panel.y.range(points().map(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.name, font(14))
        .margin(8)
        .margin_right(24)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d(left..right, bottom..top)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .label_style(font(12))
        .x_desc(panel.x.name)
        .y_desc(panel.y.name)
        .x_labels(panel.x.ticks([left, right]))
        .y_labels(panel.y.ticks([bottom, top]))
        .x_label_formatter(&|place| panel.x.label(*place))
        .y_label_formatter(&|place| panel.y.label(*place))
        .draw()?;
    for curve in &panel.curves {
        let colour = COLOURS[curve.style % COLOURS.len()];
        let place = |&(x, y): &(f64, f64)| (panel.x.place(x), panel.y.place(y));
        let points: Vec<_> = curve.points.iter().map(place).filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        for (&(x, _), &(low, high)) in curve.points.iter().zip(&curve.intervals) {
            // An open interval ends where the chart does.
            let ends = [low, high].map(|end| (panel.x.place(x), panel.y.place(end).clamp(bottom, top)));
            chart.draw_series([PathElement::new(ends, colour.stroke_width(1))])?;
        }
        match curve.kind {
            Kind::Line => drop(chart.draw_series([PathElement::new(points.clone(), colour.stroke_width(2))])?),
            Kind::Dashed => drop(chart.draw_series(DashedLineSeries::new(points.clone(), 6, 5, colour.into()))?),
            Kind::Points => {}
        }
        for point in markers(curve, points) {
            let outline = marker(curve.style);
            let filled = Polygon::new(outline.clone(), fill(curve.style).filled());
            chart.draw_series([EmptyElement::at(point) + filled + PathElement::new(outline, BLACK)])?;
        }
    }
    Ok(())
}

/// The places of a curve's markers.
fn markers(curve: &Curve, points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = match curve.kind {
        Kind::Line => points.len().div_ceil(MARKERS).max(1),
        Kind::Dashed => return Vec::new(),
        Kind::Points => 1,
    };
    // Shifted by the style, so that markers of equal curves do not hide each other.
    let first = curve.style * every / COLOURS.len();
    points.into_iter().skip(first).step_by(every).collect()
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
