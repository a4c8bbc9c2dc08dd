//! Formulas against finite differences, and the minima that the docs name.

use miadam_paper::flat_minima::descent::minimum_below;
use miadam_paper::flat_minima::landscapes::{BOWL, Landscape, Point, way_out};
use miadam_support::random::Random;

/// Seeded points all over the window.
fn points(landscape: Landscape) -> Vec<Point> {
    let mut random = Random(7);
    let mut place = || (f64::from(random.uniform()) * 2.0 - 1.0) * landscape.half_width();
    (0..200).map(|_| [place(), place()]).collect()
}

/// Central differences of width 2h. Their error is h²/6 times a third derivative, of which the largest here are about 3000, and
/// the rounding of values up to 25 over h: 5e-8 and 3e-10 for h = 1e-5.
const H: f64 = 1e-5;
const TOLERANCE: f64 = 2e-7;

fn difference<const N: usize>(f: impl Fn(Point) -> [f64; N], [x, y]: Point, axis: usize) -> [f64; N] {
    let [dx, dy] = if axis == 0 { [H, 0.0] } else { [0.0, H] };
    let (above, below) = (f([x + dx, y + dy]), f([x - dx, y - dy]));
    std::array::from_fn(|n| (above[n] - below[n]) / (2.0 * H))
}

#[test]
fn gradients_are_the_slopes_of_the_values() {
    for landscape in Landscape::ALL {
        for point in points(landscape) {
            for axis in [0, 1] {
                let [expected] = difference(|point| [landscape.value(point)], point, axis);
                let found = landscape.gradient(point)[axis];
                assert!((found - expected).abs() < TOLERANCE, "{landscape:?} at {point:?}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn hessians_are_the_slopes_of_the_gradients() {
    for landscape in Landscape::ALL {
        for point in points(landscape) {
            let hessian = landscape.hessian(point);
            let rows = [[hessian.xx, hessian.xy], [hessian.xy, hessian.yy]];
            for (axis, found) in rows.into_iter().enumerate() {
                let expected = difference(|point| landscape.gradient(point), point, axis);
                let error = (0..2).map(|n| (found[n] - expected[n]).abs()).fold(0.0, f64::max);
                assert!(error < TOLERANCE, "{landscape:?} at {point:?}: {found:?}, not {expected:?}");
            }
        }
    }
}

#[test]
fn eigenvalues_are_those_of_the_matrix() {
    for point in points(Landscape::Waves) {
        let hessian = Landscape::Waves.hessian(point);
        let [low, high] = hessian.eigenvalues();
        assert!(low <= high);
        // Sum and product, to the rounding of numbers up to 1e5.
        assert!((low + high - hessian.xx - hessian.yy).abs() < 1e-10);
        assert!((low * high - hessian.determinant()).abs() < 1e-9 * (1.0 + low.abs() * high.abs()).max(high * high));
        let direction = hessian.lowest_direction();
        assert!((hessian.along(direction) - low).abs() < 1e-9);
        assert!((direction[0].hypot(direction[1]) - 1.0).abs() < 1e-12);
    }
}

fn near(found: Option<Point>, expected: Point) -> bool {
    // The digits that the docs give.
    found.is_some_and(|found| (0..2).all(|axis| (found[axis] - expected[axis]).abs() < 0.01))
}

#[test]
fn waves_have_one_flat_minimum_between_two_sharp_ones() {
    let waves = Landscape::Waves;
    let [sharp, saddle, flat] = way_out();
    for critical in [sharp, saddle, flat] {
        let [gx, gy] = waves.gradient(critical);
        assert!(gx.hypot(gy) < 1e-12, "{critical:?} is critical");
    }
    let [low, high] = waves.hessian(saddle).eigenvalues();
    assert!(low < 0.0 && high > 0.0);
    assert!(near(minimum_below(waves, [-1.0, 0.3]), [-1.11, 0.0]));
    assert!(near(minimum_below(waves, [0.4, 1.8]), [0.5, 2.0]));
    assert!(near(minimum_below(waves, [0.4, -1.8]), [0.5, -2.0]));
    assert!(waves.hessian(flat).sharpness() < waves.flat_below() / 2.0);
    assert!(waves.hessian(sharp).sharpness() > waves.flat_below() * 2.0);
    // Either side of the saddle belongs to one of its two minima.
    let escape = waves.hessian(saddle).lowest_direction();
    let ends = [0.05, -0.05].map(|way| minimum_below(waves, [0, 1].map(|axis| saddle[axis] + way * escape[axis])));
    assert!(ends.iter().any(|end| near(*end, flat)) && ends.iter().any(|end| near(*end, sharp)), "{ends:?}");
}

#[test]
fn wells_are_flat_and_sharp_by_turns() {
    let wells = Landscape::Wells;
    for i in -2..=2 {
        for j in -2..=2 {
            let centre = [f64::from(2 * i), f64::from(2 * j)];
            let minimum = minimum_below(wells, centre).unwrap();
            // The bowl and the neighbours move a minimum by less than its width.
            assert!((0..2).all(|axis| (minimum[axis] - centre[axis]).abs() < 0.2), "{minimum:?} at {centre:?}");
            let sharpness = wells.hessian(minimum).sharpness();
            let is_flat = (i + j) % 2 == 0;
            assert_eq!(sharpness < wells.flat_below() / 2.0, is_flat, "{centre:?}: {sharpness}");
            assert_eq!(sharpness < wells.flat_below() * 2.0, is_flat, "{centre:?}: {sharpness}");
            let bowl = BOWL / 2.0 * (minimum[0].powi(2) + minimum[1].powi(2));
            // The tails of the four nearest wide wells add up to less than this.
            assert!((wells.value(minimum) - bowl + 1.0).abs() < 0.05, "all are about equally deep below the bowl");
        }
    }
}

#[test]
fn a_saddle_is_no_minimum() {
    let [_, saddle, _] = way_out();
    assert_eq!(minimum_below(Landscape::Waves, saddle), None);
}
