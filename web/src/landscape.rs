//! Figure 2: the two-dimensional landscapes, and the ways of Adam and of MIAdam on them.

#[allow(dead_code, reason = "the study of Figure 2 also asks for curvature")]
#[path = "../../paper/src/flat_minima/landscapes.rs"]
mod landscapes;

use landscapes::{Landscape, Point};
use miadam::{Hyperparams, Param, ParamGroup, cpu};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::Result;
use crate::settings::Settings;

/// The paper's landscape by its name.
fn named(name: &str) -> Result<Landscape> {
    let found = Landscape::ALL.into_iter().find(|landscape| landscape.name() == name);
    found.ok_or_else(|| format!("There is no landscape {name:?}."))
}

/// Half of the window's width.
///
/// # Errors
/// If there is no such landscape.
#[wasm_bindgen]
pub fn half_width(name: &str) -> Result<f64> {
    named(name).map(Landscape::half_width)
}

/// The loss at the middles of `side` by `side` squares, from the top left, row by row.
///
/// # Errors
/// If there is no such landscape.
#[wasm_bindgen]
pub fn heights(name: &str, side: u32) -> Result<Vec<f32>> {
    let landscape = named(name)?;
    let at = |index: u32| landscape.half_width() * (2.0 * (f64::from(index) + 0.5) / f64::from(side) - 1.0);
    let rows = (0..side).flat_map(|row| (0..side).map(move |column| (column, row)));
    Ok(rows.map(|(column, row)| landscape.value([at(column), -at(row)]) as f32).collect())
}

/// The ways of Adam and of MIAdam from a start: x and y of each step, the start included; MIAdam's after Adam's. The learning rate
/// and ζ are the landscape's own, since its steps are not a network's.
///
/// # Errors
/// If the settings or the landscape are refused.
#[wasm_bindgen]
pub fn ways(settings: &str, name: &str, x: f64, y: f64, lr: f64, steps: u32) -> Result<Vec<f32>> {
    let (landscape, settings) = (named(name)?, Settings { lr, ..Settings::parse(settings)? });
    let mut ways = way(landscape, settings.adam(), [x, y], steps)?;
    let miadam = Hyperparams { switch_step: steps / 2 + 1, ..settings.miadam() };
    ways.extend(way(landscape, miadam, [x, y], steps)?);
    Ok(ways)
}

fn way(landscape: Landscape, hyperparams: Hyperparams, start: Point, steps: u32) -> Result<Vec<f32>> {
    let hyperparams = Hyperparams { schedule: Default::default(), ..hyperparams };
    let group = ParamGroup::new(hyperparams, [Param::new("point", 2)]);
    let mut optimizer = cpu::MiAdam::new([group]).map_err(|error| format!("{error}."))?;
    let mut point = start.map(|place| place as f32);
    let mut way = point.to_vec();
    for _ in 0..steps {
        let mut gradient = landscape.gradient(point.map(f64::from)).map(|slope| slope as f32);
        let binding = cpu::Binding::new("point", &mut point[..], &mut gradient[..]);
        optimizer.step([binding]).map_err(|error| format!("{error}."))?;
        way.extend(point);
    }
    Ok(way)
}

/// Which kind of minimum a point has come to: "flat", "sharp" or "none".
///
/// # Errors
/// If there is no such landscape.
#[wasm_bindgen]
pub fn ending(name: &str, x: f64, y: f64) -> Result<String> {
    let landscape = named(name)?;
    let hessian = landscape.hessian([x, y]);
    let slope = landscape.gradient([x, y]).into_iter().fold(0.0, f64::hypot);
    let kind = match hessian.eigenvalues()[0] > 0.0 && slope < 0.5 {
        true if hessian.sharpness() < landscape.flat_below() => "flat",
        true => "sharp",
        false => "none",
    };
    Ok(kind.to_owned())
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test]
    fn adam_from_beside_a_minimum_ends_there() {
        let settings = crate::settings::preset("recommended", 600).unwrap();
        let ways = ways(&settings, "waves", -1.0, 0.2, 0.05, 400).unwrap();
        assert_eq!(ways.len(), 2 * 2 * 401);
        for end in [800, 1602] {
            assert!(
                (f64::from(ways[end]) + 1.11).abs() < 0.01 && ways[end + 1].abs() < 0.01,
                "{:?}",
                &ways[end..end + 2]
            );
            assert_eq!(ending("waves", ways[end].into(), ways[end + 1].into()).unwrap(), "flat");
        }
        assert_eq!(ending("waves", 0.5, 2.0).unwrap(), "sharp");
    }
}
