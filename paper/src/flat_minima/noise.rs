//! Seeded normal numbers.

use std::f64::consts::TAU;

use miadam_support::random::Random;

/// Pairs of independent normal numbers, by Box and Muller's method.
pub struct Noise(Random);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(Random(seed))
    }

    /// Two numbers of mean 0 and variance 1.
    pub fn pair(&mut self) -> [f64; 2] {
        // In (0, 1], so that the logarithm is finite.
        let [radius, angle] = [0; 2].map(|_| ((self.0.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64);
        let (sin, cos) = (TAU * angle).sin_cos();
        let radius = (-2.0 * radius.ln()).sqrt();
        [radius * cos, radius * sin]
    }
}
