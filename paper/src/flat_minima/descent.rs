//! Which minimum a point belongs to.

use super::landscapes::{Landscape, Point};

/// The longest single step down. The narrowest well is twenty times as wide.
const STRIDE: f64 = 0.02;
const MOST_STEPS: usize = 20_000;
/// The gradient's length at what counts as a critical point.
const LEVEL: f64 = 1e-9;

/// Goes downhill in small steps to the minimum of the basin that `start` lies in. None if the way ends at a saddle or does not
/// end.
///
/// The steps follow the gradient, no longer than 1 over the sum of the absolute eigenvalues allows. Near a minimum they are
/// Newton's.
pub fn minimum_below(landscape: Landscape, start: Point) -> Option<Point> {
    let mut point = start;
    for _ in 0..MOST_STEPS {
        let [gx, gy] = landscape.gradient(point);
        let hessian = landscape.hessian(point);
        let is_convex = hessian.eigenvalues()[0] > 0.0;
        let length = gx.hypot(gy);
        if length < LEVEL {
            return is_convex.then_some(point);
        }
        let determinant = hessian.determinant();
        let newton =
            [(hessian.yy * gx - hessian.xy * gy) / determinant, (hessian.xx * gy - hessian.xy * gx) / determinant];
        let step = if is_convex && newton[0].hypot(newton[1]) < STRIDE {
            newton
        } else {
            let rate = (1.0 / hessian.sharpness()).min(STRIDE / length);
            [rate * gx, rate * gy]
        };
        point = [point[0] - step[0], point[1] - step[1]];
    }
    None
}
