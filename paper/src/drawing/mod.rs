//! Pictures, as SVG: readable without colours.

mod forest;
mod heat;

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

pub use forest::{Forest, Interval, Panel, forest};
pub use heat::{HeatMap, HeatMaps, Line, heat_maps};

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// An SVG of this size.
pub fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
    }
    Ok(text)
}

pub fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}
