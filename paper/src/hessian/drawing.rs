//! Spectral densities over each other, as SVG and as CSV.

use plotters::prelude::*;

use super::Density;
use crate::drawing::{Area, Result, font, svg};

/// A network's density, and what the legend says of it.
pub struct Spectrum<'a> {
    pub name: String,
    pub density: &'a Density,
}

/// How a line is told from others without its colour: its width, and the lengths of its dashes and gaps in pixels.
struct Style {
    colour: RGBColor,
    width: u32,
    dashes: &'static [f64],
}

const STYLES: [Style; 9] = [
    Style { colour: RGBColor(0x00, 0x00, 0x00), width: 2, dashes: &[] },
    Style { colour: RGBColor(0xd5, 0x5e, 0x00), width: 2, dashes: &[12.0, 5.0] },
    Style { colour: RGBColor(0x00, 0x72, 0xb2), width: 2, dashes: &[3.0, 3.0] },
    Style { colour: RGBColor(0x00, 0x7a, 0x58), width: 2, dashes: &[12.0, 4.0, 3.0, 4.0] },
    Style { colour: RGBColor(0xb0, 0x60, 0x9b), width: 2, dashes: &[6.0, 3.0] },
    Style { colour: RGBColor(0x8a, 0x6d, 0x00), width: 2, dashes: &[14.0, 3.0, 3.0, 3.0, 3.0, 3.0] },
    Style { colour: RGBColor(0x77, 0x77, 0x77), width: 1, dashes: &[] },
    Style { colour: RGBColor(0x00, 0x00, 0x00), width: 1, dashes: &[9.0, 9.0] },
    Style { colour: RGBColor(0x56, 0xb4, 0xe9), width: 3, dashes: &[] },
];

/// Points of a curve.
const POINTS: usize = 400;
const SIZE: (u32, u32) = (1000, 650);
const FOOT: u32 = 135;

/// What is drawn: all densities at the same points, under bells of the same width.
struct Curves {
    sigma: f64,
    t: Vec<f64>,
    /// For each spectrum, φ at each t.
    densities: Vec<Vec<f64>>,
}

impl Curves {
    /// σ is a hundredth of what the widest of them spans.
    fn new(spectra: &[Spectrum<'_>]) -> Self {
        let ranges = || spectra.iter().map(|spectrum| spectrum.density.range());
        let low = ranges().map(|range| range.0).fold(f64::INFINITY, f64::min);
        let high = ranges().map(|range| range.1).fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low < high { (low, high) } else { (-1.0, 1.0) };
        let sigma = (high - low) / 100.0;
        let (left, right) = (low - 4.0 * sigma, high + 4.0 * sigma);
        let t: Vec<_> = (0..POINTS).map(|index| left + (right - left) * index as f64 / (POINTS - 1) as f64).collect();
        let curve = |spectrum: &Spectrum<'_>| t.iter().map(|&t| spectrum.density.at(t, sigma)).collect();
        let densities = spectra.iter().map(curve).collect();
        Self { sigma, t, densities }
    }
}

/// The curves as a table: t, and φ(t) of each spectrum.
pub fn csv(spectra: &[Spectrum<'_>]) -> String {
    let Curves { sigma, t, densities } = Curves::new(spectra);
    let quoted = |spectrum: &Spectrum<'_>| format!(",\"{}\"", spectrum.name.replace('"', "\"\""));
    let names: String = spectra.iter().map(quoted).collect();
    let mut text = format!("eigenvalue (sigma {sigma:.6e}){names}\n");
    for (row, t) in t.iter().enumerate() {
        let values: String = densities.iter().map(|density| format!(",{:.6e}", density[row])).collect();
        text += &format!("{t:.6e}{values}\n");
    }
    text
}

/// The curves over a logarithmic axis. It ends at a tenth of the height of one eigenvalue's bell.
///
/// # Errors
/// If plotters cannot draw.
pub fn picture(title: &str, spectra: &[Spectrum<'_>]) -> Result<String> {
    let curves = Curves::new(spectra);
    svg(SIZE, |area| {
        let (body, foot) = area.split_vertically(SIZE.1 - FOOT);
        draw(&body.titled(title, font(18))?, &curves, floor(spectra, curves.sigma))?;
        legend(&foot, spectra)?;
        Ok(())
    })
}

/// The lowest power of ten that is drawn.
fn floor(spectra: &[Spectrum<'_>], sigma: f64) -> f64 {
    let dimension = spectra.iter().map(|spectrum| spectrum.density.dimension).max().unwrap_or(1);
    (0.1 / (dimension as f64 * sigma * std::f64::consts::TAU.sqrt())).log10().floor()
}

fn draw(area: &Area<'_>, curves: &Curves, bottom: f64) -> Result {
    let highest = curves.densities.iter().flatten().copied().fold(0.0, f64::max);
    let top = highest.log10().ceil().max(bottom + 1.0);
    let ends = curves.t[0]..curves.t[POINTS - 1];
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(ends, bottom..top)?;
    let x =
        format!("eigenvalue of the Hessian of the mean loss (nats), blurred by a Gaussian of σ = {:.2e}", curves.sigma);
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .label_style(font(13))
        .x_desc(x)
        .y_desc("density: fraction of all eigenvalues per unit")
        .y_labels((top - bottom) as usize + 1)
        .y_label_formatter(&|power| format!("1e{power:.0}"))
        .draw()?;
    for (density, style) in curves.densities.iter().zip(STYLES.iter().cycle()) {
        let points: Vec<_> = curves.t.iter().zip(density).map(|(&t, density)| (t, density.log10())).collect();
        // A curve is drawn where it is above the axis' end.
        for above in points.split(|point| point.1 < bottom) {
            let pixels: Vec<_> = above.iter().map(|point| chart.backend_coord(point)).collect();
            line(area, &pixels, style)?;
        }
    }
    Ok(())
}

/// Names, each beside its line, in two columns.
fn legend(foot: &Area<'_>, spectra: &[Spectrum<'_>]) -> Result {
    let rows = spectra.len().div_ceil(2).max(1);
    let (corner_x, corner_y) = foot.get_base_pixel();
    for (index, (spectrum, style)) in spectra.iter().zip(STYLES.iter().cycle()).enumerate() {
        let (left, top) = (40 + 480 * (index / rows) as i32, 12 + 24 * (index % rows) as i32);
        let ends = [(left + corner_x, top + corner_y), (left + 60 + corner_x, top + corner_y)];
        line(foot, &ends, style)?;
        foot.draw(&Text::new(spectrum.name.as_str(), (left + 70, top - 8), font(14)))?;
    }
    Ok(())
}

/// A line through these pixels of the whole picture, in its dashes.
fn line(area: &Area<'_>, pixels: &[(i32, i32)], style: &Style) -> Result {
    let (corner_x, corner_y) = area.get_base_pixel();
    let points: Vec<_> = pixels.iter().map(|&(x, y)| (f64::from(x - corner_x), f64::from(y - corner_y))).collect();
    for dash in dashes(&points, style.dashes) {
        let mut dash: Vec<_> = dash.into_iter().map(|(x, y)| (x.round() as i32, y.round() as i32)).collect();
        dash.dedup();
        area.draw(&PathElement::new(dash, style.colour.stroke_width(style.width)))?;
    }
    Ok(())
}

/// Cuts a line into dashes: a dash, a gap, and so on. No pattern is one dash.
fn dashes(points: &[(f64, f64)], pattern: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let (Some(&first), false) = (points.first(), pattern.is_empty()) else { return vec![points.to_vec()] };
    let (mut done, mut dash) = (vec![], vec![first]);
    let (mut part, mut left) = (0, pattern[0]);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let (dx, dy) = (to.0 - from.0, to.1 - from.1);
            let length = dx.hypot(dy);
            if length <= left {
                left -= length;
                dash.push(to);
                break;
            }
            from = (from.0 + dx * left / length, from.1 + dy * left / length);
            dash.push(from);
            let ended = std::mem::replace(&mut dash, vec![from]);
            if part % 2 == 0 {
                done.push(ended);
            }
            part = (part + 1) % pattern.len();
            left = pattern[part];
        }
    }
    if part % 2 == 0 {
        done.push(dash);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_go_round_corners() {
        let corner = [(0.0, 0.0), (4.0, 0.0), (4.0, 6.0)];
        let expected = vec![vec![(0.0, 0.0), (3.0, 0.0)], vec![(4.0, 1.0), (4.0, 4.0)]];
        assert_eq!(dashes(&corner, &[3.0, 2.0]), expected);
        assert_eq!(dashes(&corner, &[]), vec![corner.to_vec()]);
        assert!(dashes(&[], &[3.0, 2.0]).iter().all(Vec::is_empty));
    }
}
