//! What an end point counts as.

use miadam_paper::flat_minima::ends::{End, Summary, judge, judge_all};
use miadam_paper::flat_minima::landscapes::{Landscape, way_out};

#[test]
fn an_end_is_in_a_minimum_if_its_loss_is_near_the_loss_there() {
    let waves = Landscape::Waves;
    let [sharp, saddle, flat] = way_out();
    // The loss rises by half the curvature, 6.4, times the distance squared.
    let [near, far] = [0.05, 0.06].map(|distance| [flat[0], flat[1] + distance]);
    assert!(waves.value(near) - waves.value(flat) < 0.01 && waves.value(far) - waves.value(flat) > 0.01);
    let ends = [flat, near, far, sharp, [0.5, -sharp[1]], saddle].map(|point| judge(waves, point).end);
    assert_eq!(ends, [End::Flat, End::Flat, End::Nowhere, End::Sharp, End::Sharp, End::Nowhere]);
    assert!(judge(waves, far).is_above_flat);
}

#[test]
fn what_has_left_is_nowhere_and_has_no_sharpness() {
    for landscape in Landscape::ALL {
        for point in [[1e6, 0.0], [0.0, -2.1 * landscape.half_width()], [f64::NAN, 0.0], [f64::INFINITY, 1.0]] {
            let end = judge(landscape, point);
            assert_eq!((end.end, end.sharpness), (End::Nowhere, None), "{point:?}");
        }
    }
}

#[test]
fn a_summary_counts_every_end_once() {
    let wells = Landscape::Wells;
    let ends = judge_all(wells, &[[0.0, 0.0], [2.0, 0.0], [1.0, 1.0], [99.0, 0.0]]);
    let summary = Summary::new(&ends);
    let shares = [summary.flat, summary.sharp, summary.nowhere, summary.outside].map(|share| share.value);
    assert_eq!(shares, [0.25, 0.25, 0.5, 0.25]);
    assert!(summary.sharpness.low < summary.sharpness.value);
}
