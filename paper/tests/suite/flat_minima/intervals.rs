//! Estimates against numbers worked out by hand or known from tables.

use miadam_paper::flat_minima::intervals::{line, mean, share, waiting_time};

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "{found}, not {expected}");
}

#[test]
fn a_mean_has_its_normal_interval() {
    let estimate = mean(&[1.0, 2.0, 3.0, 4.0]);
    near(estimate.value, 2.5);
    // The deviation is √(5/3), and √(5/3)/√4 that of the mean.
    near(estimate.high - 2.5, 1.95996 * 0.645_497);
    near(estimate.high - 2.5, 2.5 - estimate.low);
}

#[test]
fn a_share_has_wilsons_interval() {
    // Newcombe, 1998, table I: 15 of 148 by Wilson's score.
    let estimate = share(15, 148);
    near(estimate.low, 0.0624);
    near(estimate.high, 0.1605);
    // 0 of 20, the same table.
    let none = share(0, 20);
    assert_eq!((none.value, none.low), (0.0, 0.0));
    near(none.high, 0.1611);
    assert_eq!(share(20, 20).high, 1.0);
}

#[test]
fn waiting_in_vain_counts() {
    // Two came after 10 and 20 steps, one had not after 30.
    let estimate = waiting_time(60.0, 2);
    near(estimate.value, 30.0);
    near(estimate.high / estimate.value, (1.959_964_f64 / 2.0_f64.sqrt()).exp());
    let none = waiting_time(100.0, 0);
    assert!(none.value.is_infinite() && none.high.is_infinite() && none.low > 0.0);
}

#[test]
fn a_line_is_found_and_scatter_widens_it() {
    let exact = line(&[[0.0, 1.0, 1.0], [1.0, 3.0, 5.0], [2.0, 5.0, 2.0]]).unwrap();
    near(exact.slope.value, 2.0);
    near(exact.intercept, 1.0);
    near(exact.slope.high, 2.0);
    let scattered = line(&[[0.0, 0.0, 1.0], [1.0, 1.5, 1.0], [2.0, 2.0, 1.0]]).unwrap();
    near(scattered.slope.value, 1.0);
    // The squares about the line sum to 1/6 with one degree of freedom, and x spreads by 2.
    near(scattered.slope.high - 1.0, 1.959_964 * (1.0_f64 / 12.0).sqrt());
    assert_eq!(line(&[[0.0, 1.0, 1.0], [1.0, 2.0, 1.0]]), None);
}
