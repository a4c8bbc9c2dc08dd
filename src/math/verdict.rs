//! The twin of `shaders/shared/verdict.wgsl`: it decides what happens to the gradients of a step.
//!
//! The functions stand in the same order, but for the shader's `find`, which puts the workgroups' finds together; here
//! `math/measure.rs` does, and `told`: a follower is given its verdict here. The norm is an `f64` here.

use super::wide::{Wide, factors, narrow, product, quotient, widen, widen_double};
use crate::abi::{GradSettings, Scaler};
use crate::options::LARGEST_SCALE;

/// The bits of infinity. A number whose absolute value has these bits or larger ones is not finite.
pub(crate) const INFINITE: u32 = 0x7f80_0000;

/// The finds in all gradients of a step, before any factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    /// √(Σ g²).
    pub norm: f64,
    /// The largest absolute value, as bits: past [`INFINITE`] if one is NaN.
    pub largest: u32,
}

/// The decision on a step's gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// Whether the step is skipped.
    pub skip: bool,
    /// Every gradient is multiplied by the first, then by the second.
    pub factors: [f32; 2],
    /// The norm with the caller's factor and without the loss scale.
    pub norm: f32,
}

/// The verdict on a step. `found` is `None` where the step does not measure its gradients.
pub(crate) fn judge(settings: &GradSettings, scaler: &Scaler, found: Option<Found>) -> Verdict {
    let mut factor = widen(settings.factor, 0);
    if settings.growth_interval > 0 {
        factor = product(factor, reciprocal(widen(scaler.scale, 0)));
    }
    let mut both = factors(factor);
    let Some(Found { norm, largest }) = found else { return Verdict { skip: false, factors: both, norm: 0.0 } };
    let finite = largest < INFINITE;
    let norm = norm * f64::from(both[0]) * f64::from(both[1]);
    if settings.clips == 1 {
        // NaN of NaN, and 0 of infinity.
        let poison = if largest > INFINITE { f32::from_bits(largest) } else { 0.0 };
        both = if finite { factors(clip(settings.max_norm, widen_double(norm), factor)) } else { [poison, 1.0] };
    }
    let skip = settings.skips == 1 && !finite;
    Verdict { skip, factors: both, norm: if finite { norm as f32 } else { f32::from_bits(largest) } }
}

/// Tells the verdict to those that come after the step.
pub(crate) fn tell(scaler: &mut Scaler, verdict: &Verdict) {
    scaler.skip = u32::from(verdict.skip);
    [scaler.factor, scaler.unit] = verdict.factors;
    scaler.norm = verdict.norm.to_bits();
}

/// factor · min(1, max_norm / (norm + 1e-6))
fn clip(max_norm: f32, norm: Wide, factor: Wide) -> Wide {
    // Beside a larger one, 1e-6 does not show.
    let divisor = if norm.exponent < 64 { widen(narrow(norm) + 1e-6, 0) } else { norm };
    let ratio = quotient(widen(max_norm, 0), divisor);
    if ratio.exponent >= 0 { factor } else { product(factor, ratio) }
}

/// 1/x, exact for a power of two also where division is not.
fn reciprocal(x: Wide) -> Wide {
    widen(if x.mantissa == 1.0 { 1.0 } else { 1.0 / x.mantissa }, -x.exponent)
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
