//! Sums whose order is fixed, and probes.

use miadam_support::mnist::random::Random;
use rayon::prelude::*;

/// Streams of the generator from this number on are those of probes. Those of training have small numbers.
const PROBES: u64 = 1 << 32;

/// a·b, as eight sums, which a processor computes side by side.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.0.iter().zip(b.0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f64 = a.1.iter().zip(b.1).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// √(a·a).
pub(super) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

pub(super) fn scaled(mut a: Vec<f64>, factor: f64) -> Vec<f64> {
    for a in &mut a {
        *a *= factor;
    }
    a
}

/// Takes from a vector all that it has in common with an orthonormal basis.
pub(super) fn orthogonalize(vector: &mut [f64], basis: &[Vec<f64>]) {
    const SLICE: usize = 4096;
    // The second pass takes what rounding left of the first; more would find nothing (Kahan and Parlett, "twice is enough").
    for _ in 0..2 {
        let common: Vec<_> = basis.par_iter().map(|direction| dot(vector, direction)).collect();
        vector.par_chunks_mut(SLICE).enumerate().for_each(|(index, slice)| {
            for (direction, common) in basis.iter().zip(&common) {
                for (value, direction) in slice.iter_mut().zip(&direction[index * SLICE..]) {
                    *value -= common * direction;
                }
            }
        });
    }
}

/// Elements that are 1 or -1, each with probability ½ (Rademacher). Each index is a vector of its own.
pub(super) fn probe(dimension: usize, seed: u64, index: usize) -> Vec<f64> {
    let mut random = Random::new(seed, PROBES + index as u64);
    (0..dimension).map(|_| if random.below(2) == 0 { -1.0 } else { 1.0 }).collect()
}
