//! What becomes of the gradients of a step, from what is found in them. `shaders/verdict.wgsl` has the same functions in
//! the same order.

use crate::layout::{Gradients, Scaler};

/// Bits of the absolute value from which on a number is not finite.
pub(crate) const INFINITE: u32 = 0x7f80_0000;

/// What all gradients of a step are, before any factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    /// √(Σ g²), which may be past the range of `f32` as long as the loss scale is in it.
    pub norm: f64,
    /// The largest absolute value, as bits: past [`INFINITE`] if one is NaN.
    pub largest: u32,
}

/// What becomes of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// Whether the step is left out.
    pub skip: bool,
    /// The factor on every gradient.
    pub factor: f32,
    /// The norm with the caller's factor and without the loss scale.
    pub norm: f32,
}

impl Verdict {
    pub fn new(gradients: &Gradients, scaler: &Scaler, found: Option<Found>) -> Self {
        let mut factor = gradients.factor;
        if gradients.growth_interval > 0 {
            factor *= reciprocal(scaler.scale);
        }
        let Some(Found { norm, largest }) = found else { return Self { skip: false, factor, norm: 0.0 } };
        let skip = gradients.skips == 1 && largest >= INFINITE;
        let finite = (norm * f64::from(factor.abs())) as f32;
        let norm = if largest < INFINITE { finite } else { f32::from_bits(largest) };
        if gradients.clips == 1 {
            factor *= clip(gradients.max_norm, norm);
        }
        Self { skip, factor, norm }
    }
}

/// min(1, max_norm / (norm + 1e-6)); NaN of NaN, 0 of infinity, and 0 where it would be subnormal.
fn clip(max_norm: f32, norm: f32) -> f32 {
    let ratio = max_norm / (norm + 1e-6);
    if norm.is_nan() {
        norm
    } else if ratio < f32::MIN_POSITIVE {
        0.0
    } else {
        ratio.min(1.0)
    }
}

/// 1/x, exact for a power of two also where division is not.
fn reciprocal(x: f32) -> f32 {
    let bits = x.to_bits();
    if bits & 0x007f_ffff == 0 { f32::from_bits(0x7f00_0000 - bits) } else { 1.0 / x }
}

impl Scaler {
    /// Grows or backs off after a step.
    pub(crate) fn update(&mut self, gradients: &Gradients, found: Found) {
        let mut next = self.scale;
        if found.largest >= INFINITE {
            next = self.scale * gradients.backoff_factor;
            self.good_steps = 0;
        } else if self.good_steps >= gradients.growth_interval - 1 {
            next = self.scale * gradients.growth_factor;
            self.good_steps = 0;
        } else {
            self.good_steps += 1;
        }
        // Past either end of the normal range it stays where it is.
        if (f32::MIN_POSITIVE..=MAX_SCALE).contains(&next) {
            self.scale = next;
        }
    }
}

/// 2¹²⁶, the largest scale whose reciprocal is normal.
pub(crate) const MAX_SCALE: f32 = f32::from_bits(0x7e80_0000);
