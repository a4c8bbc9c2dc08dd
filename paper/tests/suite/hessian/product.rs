//! Loss, gradient and products.

use miadam_paper::hessian::{MeanLoss, Operator, density, dimension, flatten, top_eigenvalue, trace};
use miadam_support::mnist::network::Weights;
use miadam_support::mnist::on_cpu::Network;
use miadam_support::mnist::random::Random;

use super::reference::{assert_near, dense, dense_hessian, digits, vector, weights};

#[test]
fn loss_and_gradient_are_those_of_the_network_that_trains() {
    let samples = digits();
    let chosen: Vec<u32> = (0..300).collect();
    let weights = Weights::random(16, &mut Random::new(0, 2));
    let ours = MeanLoss::new(flatten(&weights), 16, &samples, &chosen);
    let mut network = Network::new(weights);
    let score = network.forward(&samples, &chosen);
    network.backward();

    // Sums of 784 products in f32, each off by 6e-8, and their differences.
    assert_near(ours.loss(), score.loss / 300.0, 1e-6, "loss");
    for (index, (found, expected)) in ours.gradient().into_iter().zip(flatten(&network.grads)).enumerate() {
        assert_near(found, expected, 1e-6, &format!("gradient {index}"));
    }
}

#[test]
fn products_with_units_are_the_columns_of_the_dense_hessian() {
    let samples = digits();
    let chosen: Vec<u32> = (40..64).collect();
    let weights = weights(2, 1);
    let expected = dense_hessian(&weights, 2, &samples, &chosen);
    let found = dense(&MeanLoss::new(weights, 2, &samples, &chosen));
    let largest = expected.norm_max();
    // f64 rounding in sums of 784 products and of 24 samples.
    assert_near((&found - &expected).norm_max(), 0.0, 1e-13 * largest, "columns");
    // The same rounding, once more.
    assert_near((&found - found.transpose()).norm_max(), 0.0, 1e-13 * largest, "symmetry");
    assert!(largest > 0.1, "{largest}");
}

#[test]
fn products_are_slopes_of_the_gradient() {
    const HIDDEN: usize = 12;
    const STEP: f64 = 1e-5;
    let samples = digits();
    let chosen: Vec<u32> = (100..300).collect();
    for seed in 0..3 {
        let (weights, direction) = (weights(HIDDEN, seed), vector(dimension(HIDDEN), seed));
        let gradient_at = |step: f64| {
            let moved = weights.iter().zip(&direction).map(|(weight, v)| weight + step * v).collect();
            MeanLoss::new(moved, HIDDEN, &samples, &chosen).gradient()
        };
        let (above, below) = (gradient_at(STEP), gradient_at(-STEP));
        let found = MeanLoss::new(weights.clone(), HIDDEN, &samples, &chosen).apply(&direction);
        let largest = found.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        for (index, ((above, below), found)) in above.iter().zip(below).zip(found).enumerate() {
            // The fourth derivative times the step squared, 1e-10, and rounding of the gradient over the step, 1e-11. A unit of
            // a sample that is switched on or off between the two points would show as 1e-3: these seeds have none.
            assert_near(found, (above - below) / (2.0 * STEP), 1e-8 * largest, &format!("seed {seed}, {index}"));
        }
    }
}

#[test]
fn a_mean_over_many_blocks_is_the_mean_of_the_parts() {
    const HIDDEN: usize = 3;
    let samples = digits();
    // 16 shares of more than 128, so that a share has several blocks, and the last block and the last share are shorter.
    let chosen: Vec<u32> = (0..2_999).rev().collect();
    let direction = vector(dimension(HIDDEN), 0);
    let products = |chosen: &[u32]| MeanLoss::new(weights(HIDDEN, 0), HIDDEN, &samples, chosen).apply(&direction);
    let (first, second) = chosen.split_at(1_000);
    let (whole, first, second) = (products(&chosen), products(first), products(second));
    for (index, ((whole, first), second)) in whole.into_iter().zip(first).zip(second).enumerate() {
        // Rounding of sums of 2,999, whose terms are near 1.
        assert_near(whole, (1_000.0 * first + 1_999.0 * second) / 2_999.0, 1e-13, &format!("{index}"));
    }
}

#[test]
fn numbers_do_not_depend_on_the_threads() {
    const HIDDEN: usize = 5;
    let samples = digits();
    let chosen: Vec<u32> = (0..700).collect();
    let measured = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let loss = MeanLoss::new(weights(HIDDEN, 0), HIDDEN, &samples, &chosen);
            let product = loss.apply(&vector(dimension(HIDDEN), 0));
            let bits: Vec<_> = product.into_iter().map(f64::to_bits).collect();
            let top = top_eigenvalue(&loss, 1e-6, 100, 0).unwrap();
            (bits, top, trace(&loss, 3, 0).unwrap(), density(&loss, 2, 10, 0).unwrap())
        })
    };
    let expected = measured(1);
    for threads in [2, 3, 7] {
        assert!(measured(threads) == expected, "{threads} threads give other bits than one");
    }
}
