//! Numbers with the size of what they were made of.

use std::ops::{Add, Mul};

/// A number, and the same computation over absolute values. Rounding errors are relative to the second, which is the larger
/// one where terms cancel.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Number {
    pub value: f64,
    pub scale: f64,
}

impl Number {
    /// A number that is known exactly.
    pub fn exact(value: f64) -> Self {
        Self { value, scale: value.abs() }
    }

    /// An error of the number goes into its square once for each factor; the other factor is as it is.
    pub fn squared(self) -> Self {
        Self { value: self.value * self.value, scale: self.value.abs() * self.scale }
    }

    /// The quotient by √`self` · `root_scale` + `eps`, whose root halves the errors.
    pub fn divide(self, num: Self, root_scale: f64, eps: f64) -> Self {
        let denominator = self.value.sqrt() * root_scale + eps;
        let quotient = num.value / denominator;
        let of_root = if self.value > 0.0 { 0.5 * self.scale / self.value } else { 0.0 };
        Self { value: quotient, scale: num.scale / denominator + quotient.abs() * of_root }
    }
}

impl Add for Number {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, scale: self.scale + other.scale }
    }
}

impl Mul<f64> for Number {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self { value: self.value * factor, scale: self.scale * factor.abs() }
    }
}
