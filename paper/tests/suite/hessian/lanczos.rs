//! Top eigenvalue, trace and density.

use miadam_paper::hessian::{Error, Lanczos, MeanLoss, density, top_eigenvalue, trace};

use super::reference::{Diagonal, assert_near, dense_hessian, digits, eigenvalues, moment, vector, weights};

/// 1/1, 1/2, … and -1, -1/2, …
fn spread(size: usize) -> Diagonal {
    Diagonal((0..size).map(|i| if i % 2 == 0 { 3.0 } else { -1.0 } / (1 + i / 2) as f64).collect())
}

#[test]
fn all_steps_find_all_eigenvalues() {
    let operator = spread(60);
    let mut lanczos = Lanczos::new(&operator, vector(60, 0));
    while lanczos.goes_on() {
        lanczos.step().unwrap();
    }
    let found = lanczos.ritz().unwrap();
    assert_eq!((lanczos.steps(), found.len()), (60, 60));
    let mut expected = operator.0.clone();
    expected.sort_by(f64::total_cmp);
    for (found, expected) in found.into_iter().zip(expected) {
        // Rounding of 60 steps. Without reorthogonalization, copies of the outermost would be in place of the inner ones.
        assert_near(found.value, expected, 1e-13, "eigenvalue");
    }
}

#[test]
fn the_top_eigenvalue_is_that_of_a_dense_solver() {
    let samples = digits();
    let chosen: Vec<u32> = (0..32).collect();
    let expected = eigenvalues(&dense_hessian(&weights(2, 3), 2, &samples, &chosen));
    let loss = MeanLoss::new(weights(2, 3), 2, &samples, &chosen);
    let expected = *expected.last().unwrap();
    let top = top_eigenvalue(&loss, 1e-7, 200, 0).unwrap();
    assert!(top.residual <= 1e-7 * top.value && top.steps < 100, "{top:?}");
    // The residual squared over the gap is 1e-13 or less of it; the rest is rounding.
    assert_near(top.value, expected, 1e-12 * expected, "top");
    // A coarser tolerance still bounds the error.
    let coarse = top_eigenvalue(&loss, 1e-2, 200, 0).unwrap();
    assert!(coarse.steps < top.steps);
    assert_near(coarse.value, expected, 1e-2 * expected, "top");
}

#[test]
fn top_is_largest_not_largest_in_size() {
    // A small gap, so that many steps are due; rounding.
    let operator = Diagonal((0..50).map(|i| -5.0 + 0.11 * f64::from(i)).collect());
    assert_near(top_eigenvalue(&operator, 1e-9, 50, 0).unwrap().value, 0.39, 1e-12, "top");
}

#[test]
fn few_eigenvalues_need_few_steps() {
    for (values, steps) in [(vec![2.0; 30], 1), (vec![0.0; 30], 1), ([[1.0, 4.0]; 15].concat(), 2)] {
        let expected = values.iter().copied().fold(f64::MIN, f64::max);
        let top = top_eigenvalue(&Diagonal(values), 1e-9, 50, 0).unwrap();
        assert_eq!(top.steps, steps);
        assert_near(top.value, expected, 1e-14, "top");
    }
}

#[test]
fn what_does_not_converge_is_said() {
    let error = top_eigenvalue(&spread(60), 1e-12, 3, 0).unwrap_err();
    assert!(matches!(error, Error::NotConverged { steps: 3, .. }), "{error}");
    let broken = Diagonal(vec![1.0, f64::NAN, 2.0]);
    assert_eq!(top_eigenvalue(&broken, 1e-6, 3, 0), Err(Error::NotFinite));
    assert_eq!(trace(&broken, 3, 0), Err(Error::NotFinite));
    assert_eq!(density(&broken, 3, 3, 0), Err(Error::NotFinite));
}

#[test]
fn on_a_diagonal_each_probe_is_exact() {
    // Each element of a probe is 1 or -1, so all eigenvalues weigh the same.
    let operator = spread(60);
    let found = trace(&operator, 5, 0).unwrap();
    // Rounding of 60 terms.
    assert_near(found.mean, 60.0 * moment(&operator.0, 1), 1e-13, "trace");
    assert_near(found.standard_error, 0.0, 1e-13, "error of the trace");
    let found = density(&operator, 5, 4, 0).unwrap();
    for k in 0..8 {
        // Gauss quadrature of four points, and rounding: the largest moment is 3⁷/30.
        assert_near(found.moment(k).mean, moment(&operator.0, k), 1e-12, &format!("moment {k}"));
    }
    // The ninth is out of its reach, which shows that the eight before were no accident.
    assert!((found.moment(8).mean - moment(&operator.0, 8)).abs() > 1e-6);
}

#[test]
fn trace_and_density_are_those_of_a_dense_solver() {
    const PROBES: usize = 200;
    let samples = digits();
    let chosen: Vec<u32> = (0..32).collect();
    let expected = eigenvalues(&dense_hessian(&weights(2, 3), 2, &samples, &chosen));
    let size = expected.len() as f64;
    let loss = MeanLoss::new(weights(2, 3), 2, &samples, &chosen);

    // The errors of estimates lie within four of their standard errors but for one in 16,000. The trace's own standard error is
    // also known: 2·(‖H‖² - ‖diag H‖²) is the variance of a probe, and 200 probes show it within a quarter.
    let found = trace(&loss, PROBES, 0).unwrap();
    assert_near(found.mean, size * moment(&expected, 1), 4.0 * found.standard_error, "trace");
    let diagonal = dense_hessian(&weights(2, 3), 2, &samples, &chosen);
    let diagonal: f64 = (0..expected.len()).map(|i| diagonal[(i, i)].powi(2)).sum();
    let known = (2.0 * (size * moment(&expected, 2) - diagonal) / PROBES as f64).sqrt();
    assert_near(found.standard_error, known, 0.25 * known, "error of the trace");

    let found = density(&loss, PROBES, 40, 0).unwrap();
    assert_near(found.moment(0).mean, 1.0, 1e-13, "sum of the weights: rounding");
    for k in 1..=4 {
        let found = found.moment(k);
        assert_near(found.mean, moment(&expected, k), 4.0 * found.standard_error, &format!("moment {k}"));
    }
    let (low, high) = found.range();
    // 40 steps find both ends to rounding.
    assert_near(low, expected[0], 1e-9, "lowest");
    assert_near(high, expected[expected.len() - 1], 1e-9, "highest");

    let sigma = (high - low) / 50.0;
    let smooth = |t: f64| {
        let bells = expected.iter().map(|value| (-((t - value) / sigma).powi(2) / 2.0).exp());
        bells.sum::<f64>() / size / (sigma * std::f64::consts::TAU.sqrt())
    };
    for index in 0..=50 {
        let t = low + (high - low) * f64::from(index) / 50.0;
        // A density of a single eigenvalue's bell, 1/size of all, is known within a tenth from 200 probes; so is the bulk.
        let tolerance = 0.1 * smooth(t) + 0.2 / size / sigma;
        assert_near(found.at(t, sigma), smooth(t), tolerance, &format!("density at {t}"));
    }
}
