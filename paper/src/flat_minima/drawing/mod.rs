//! Pictures, as SVG: readable without colours, by brightness, markers and numbers.

mod contours;
mod curves;
mod maps;

use plotters::prelude::*;

use crate::drawing::{Area, Result, font, svg};

pub use contours::{Trajectories, contours};
pub use curves::{Axis, Curve, Kind, Panel, curves};
pub use maps::{Map, maps};

/// Colours that people tell apart whatever their eyes.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xb0, 0x60, 0x9b),
    RGBColor(0x8a, 0x6d, 0x00),
    RGBColor(0x44, 0x44, 0x44),
    RGBColor(0x56, 0xb4, 0xe9),
];
const GREY: RGBColor = RGBColor(0xbb, 0xbb, 0xbb);

/// A picture's title, its grid of panels, and its foot for a legend.
fn page<'a>(area: &Area<'a>, title: &str, [rows, columns]: [usize; 2], foot: u32) -> Result<(Vec<Area<'a>>, Area<'a>)> {
    let (_, height) = area.dim_in_pixel();
    let (body, foot) = area.split_vertically(height - foot);
    let body = body.titled(title, font(18))?;
    Ok((body.split_evenly((rows, columns)), foot))
}
