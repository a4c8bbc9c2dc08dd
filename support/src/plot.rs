//! Curves as a picture: a small SVG, written by hand.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::command_line::{say, wrapped};

/// Colours that people tell apart whatever their eyes, each with a dash pattern for those who see none.
pub const STROKES: [(&str, &str); 14] = [
    ("#0072b2", "none"),
    ("#d55e00", "10 4"),
    ("#009e73", "3 3"),
    ("#b0609b", "14 4 3 4"),
    ("#8a6d00", "6 6"),
    ("#444444", "2 6"),
    ("#56a0d0", "20 5"),
    ("#e08040", "12 3 3 3 3 3"),
    ("#3cb890", "8 2"),
    ("#cc79a7", "4 8"),
    ("#b89b20", "16 4 6 4"),
    ("#888888", "1 3"),
    ("#003a5c", "24 3 2 3"),
    ("#7a3500", "5 2 1 2"),
];

// The picture in its own units; it is as large as its place.
const WIDTH: f64 = 640.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 620.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 400.0;
const ROW: f64 = 28.0;

pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Curves over common axes, with what these show and in which units.
pub struct Chart<'a> {
    pub curves: &'a [Curve],
    pub across: &'a str,
    pub up: &'a str,
}

/// Draws the charts one under another into an SVG file, and says so.
pub fn draw(file: &Path, charts: &[Chart<'_>]) -> Result<(), Box<dyn Error>> {
    let name = file.display();
    fs::write(file, picture(charts)).map_err(|error| format!("--plot {name}: {error}; choose another file"))?;
    Ok(say(&wrapped(&format!("drawn: {name}")))?)
}

/// A number's place in the picture, along one axis.
struct Axis {
    ticks: Vec<f64>,
    values: RangeInclusive<f64>,
    places: RangeInclusive<f64>,
}

impl Axis {
    /// An axis from one round number to another, with about five between.
    fn new(values: impl Iterator<Item = f64>, places: RangeInclusive<f64>) -> Self {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let rough = ((high - low) / 5.0).max(1e-3);
        let power = 10_f64.powf(rough.log10().floor());
        let unit = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|unit| *unit >= rough);
        let unit = unit.unwrap_or(rough);
        let (first, last) = ((low / unit).floor(), (high / unit).ceil().max((low / unit).floor() + 1.0));
        let ticks: Vec<f64> = (first as i64..=last as i64).map(|tick| tick as f64 * unit).collect();
        Self { values: first * unit..=last * unit, ticks, places }
    }

    fn place(&self, value: f64) -> f64 {
        let fraction = (value - self.values.start()) / (self.values.end() - self.values.start());
        self.places.start() + fraction * (self.places.end() - self.places.start())
    }

    /// The numbers at the ticks, without what binary fractions add to them.
    fn labels(&self) -> impl Iterator<Item = (f64, f64)> {
        self.ticks.iter().map(|&tick| (self.place(tick), (tick * 1e6).round() / 1e6))
    }
}

fn picture(charts: &[Chart<'_>]) -> String {
    let height = |chart: &Chart<'_>| BOTTOM + 66.0 + ROW * chart.curves.len() as f64;
    let whole: f64 = charts.iter().map(height).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {whole}\" font-family=\"sans-serif\" \
         font-size=\"18\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut top = 0.0;
    for chart in charts {
        // Writing to a string cannot fail.
        let _ = writeln!(svg, "<g transform=\"translate(0 {top})\">");
        let _ = draw_chart(&mut svg, chart);
        svg += "</g>\n";
        top += height(chart);
    }
    svg + "</svg>\n"
}

fn draw_chart(svg: &mut String, chart: &Chart<'_>) -> std::fmt::Result {
    let points = || chart.curves.iter().flat_map(|curve| &curve.points);
    let across = Axis::new(points().map(|point| point.0), LEFT..=RIGHT);
    let up = Axis::new(points().map(|point| point.1), BOTTOM..=TOP);
    frame(svg, &across, &up, chart)?;
    for (number, (curve, stroke)) in chart.curves.iter().zip(STROKES).enumerate() {
        let row = BOTTOM + 74.0 + ROW * number as f64;
        draw_curve(svg, curve, stroke, row, |(x, y)| (across.place(x), up.place(y)))?;
    }
    Ok(())
}

/// The grid and its numbers.
fn frame(svg: &mut String, across: &Axis, up: &Axis, chart: &Chart<'_>) -> std::fmt::Result {
    writeln!(svg, "<text x=\"{LEFT}\" y=\"26\">{}</text>", escaped(chart.up))?;
    for (y, value) in up.labels() {
        writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>")?;
        writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>", LEFT - 10.0, y + 6.0)?;
    }
    for (x, value) in across.labels() {
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>", BOTTOM + 24.0)?;
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        BOTTOM + 46.0,
        escaped(chart.across)
    )
}

/// The curve, and its row in the legend.
fn draw_curve(
    svg: &mut String,
    curve: &Curve,
    (colour, dashes): (&str, &str),
    row: f64,
    place: impl Fn((f64, f64)) -> (f64, f64),
) -> std::fmt::Result {
    let stroke = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" stroke-dasharray=\"{dashes}\"");
    let points = curve.points.iter().map(|&point| place(point)).map(|(x, y)| format!("{x:.1},{y:.1}"));
    writeln!(svg, "<polyline {stroke} points=\"{}\"/>", points.collect::<Vec<_>>().join(" "))?;
    writeln!(svg, "<path {stroke} d=\"M{LEFT} {}h44\"/>", row - 6.0)?;
    writeln!(svg, "<text x=\"{}\" y=\"{row}\">{}</text>", LEFT + 56.0, escaped(&curve.name))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
