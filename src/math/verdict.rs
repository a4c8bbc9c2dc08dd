//! The twin of `shaders/shared/verdict.wgsl`: it decides what happens to the gradients of a step.
//!
//! The functions stand in the same order, but for the shader's `find`, which puts the workgroups' finds together; here
//! `math/measure.rs` does. The norm is one `f64` here and a product of two `f32` there.

use crate::abi::{GradSettings, Scaler};
use crate::options::LARGEST_SCALE;

/// The bits of infinity. A number whose absolute value has these bits or larger ones is not finite.
pub(crate) const INFINITE: u32 = 0x7f80_0000;

/// The finds in all gradients of a step, before any factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    /// √(Σ g²), which may be past the range of `f32` as long as the loss scale is in it.
    pub norm: f64,
    /// The largest absolute value, as bits: past [`INFINITE`] if one is NaN.
    pub largest: u32,
}

/// The decision on a step's gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// Whether the step is skipped.
    pub skip: bool,
    /// The factor on every gradient.
    pub factor: f32,
    /// The norm with the caller's factor and without the loss scale.
    pub norm: f32,
}

/// The verdict on a step. `found` is `None` where the step does not measure its gradients.
pub(crate) fn judge(settings: &GradSettings, scaler: &Scaler, found: Option<Found>) -> Verdict {
    let mut factor = settings.factor;
    if settings.growth_interval > 0 {
        factor *= reciprocal(scaler.scale);
    }
    let Some(Found { norm, largest }) = found else { return Verdict { skip: false, factor, norm: 0.0 } };
    let skip = settings.skips == 1 && largest >= INFINITE;
    let finite = (norm * f64::from(factor.abs())) as f32;
    let norm = if largest < INFINITE { finite } else { f32::from_bits(largest) };
    if settings.clips == 1 {
        factor *= clip(settings.max_norm, norm);
    }
    Verdict { skip, factor, norm }
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

/// Lets the loss scale grow or back off after a step.
pub(crate) fn update_scaler(scaler: &mut Scaler, settings: &GradSettings, found: Found) {
    let mut next = scaler.scale;
    if found.largest >= INFINITE {
        next *= settings.backoff_factor;
        scaler.good_steps = 0;
    } else if scaler.good_steps >= settings.growth_interval - 1 {
        next *= settings.growth_factor;
        scaler.good_steps = 0;
    } else {
        scaler.good_steps += 1;
    }
    // Past either end of the normal range it stays where it is.
    if (f32::MIN_POSITIVE..=LARGEST_SCALE).contains(&next) {
        scaler.scale = next;
    }
}
