//! Where a swarm has ended: in which kind of minimum, if in one at all, and how sharp the loss is there.

use rayon::prelude::*;

use super::descent::minimum_below;
use super::intervals::{Estimate, mean, share};
use super::landscapes::{Landscape, Point};

/// An end point lies in a minimum if its loss is at most this much above the loss there. The wells are 1 deep, the way from the
/// sharp to the flat minimum of the waves leads 7 up.
pub const SETTLED: f64 = 0.01;

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It lies in a flat minimum.
    Flat,
    /// It lies in a sharp one.
    Sharp,
    /// It lies in no minimum: it still moves about, or has left the landscape.
    Nowhere,
}

impl End {
    /// A letter for files.
    pub fn letter(self) -> char {
        match self {
            Self::Flat => 'f',
            Self::Sharp => 's',
            Self::Nowhere => 'n',
        }
    }
}

/// An end point in full.
#[derive(Debug, Clone, Copy)]
pub struct EndPoint {
    pub end: End,
    /// Whether the basin that it lies in is a flat minimum's, however high above the minimum it is.
    pub is_above_flat: bool,
    /// Σ|λ| of the Hessian at the end point itself; none far outside the window, where the waves grow ever sharper.
    pub sharpness: Option<f64>,
}

/// Judges one end point.
pub fn judge(landscape: Landscape, point: Point) -> EndPoint {
    // Not-a-number is outside, too.
    let is_near = point.iter().all(|value| value.abs() <= 2.0 * landscape.half_width());
    let minimum = is_near.then(|| minimum_below(landscape, point)).flatten();
    let Some(minimum) = minimum else {
        let sharpness = is_near.then(|| landscape.hessian(point).sharpness());
        return EndPoint { end: End::Nowhere, is_above_flat: false, sharpness };
    };
    let is_flat = landscape.hessian(minimum).sharpness() < landscape.flat_below();
    let end = match landscape.value(point) - landscape.value(minimum) <= SETTLED {
        true if is_flat => End::Flat,
        true => End::Sharp,
        false => End::Nowhere,
    };
    EndPoint { end, is_above_flat: is_flat, sharpness: Some(landscape.hessian(point).sharpness()) }
}

/// All end points of a swarm, judged.
pub fn judge_all(landscape: Landscape, points: &[Point]) -> Vec<EndPoint> {
    points.par_iter().map(|&point| judge(landscape, point)).collect()
}

/// What a table says of a swarm. Each number has its 95 % interval, as though the starts were drawn at random.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The mean of Σ|λ| over the end points that are not far outside.
    pub sharpness: Estimate,
    pub flat: Estimate,
    pub sharp: Estimate,
    pub nowhere: Estimate,
    /// The share whose basin is a flat one, settled or not.
    pub above_flat: Estimate,
    /// The share that is more than twice as far out as the window.
    pub outside: Estimate,
}

impl Summary {
    pub fn new(ends: &[EndPoint]) -> Self {
        let count = |is: &dyn Fn(&EndPoint) -> bool| share(ends.iter().filter(|end| is(end)).count(), ends.len());
        let sharpness: Vec<f64> = ends.iter().filter_map(|end| end.sharpness).collect();
        Self {
            sharpness: mean(&sharpness),
            flat: count(&|end| end.end == End::Flat),
            sharp: count(&|end| end.end == End::Sharp),
            nowhere: count(&|end| end.end == End::Nowhere),
            above_flat: count(&|end| end.is_above_flat),
            outside: count(&|end| end.sharpness.is_none()),
        }
    }
}
