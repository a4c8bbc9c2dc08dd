//! Why the integrals keep an optimizer moving, and how far: a linear model of a minimum.
//!
//! Near a minimum of curvature h the gradient is h·θ. With the step a = α_t/√v̂ the optimizer is then a linear recurrence.
//! θ ∝ zᵗ solves it where
//!
//! ```text
//! (z - 1)·(z - β1)·(z - κ)ⁿ + k·(1-β1)·(1-κ)ⁿ·z^(n+1) = 0,      k = effective_lr·h/√v̂
//! ```
//!
//! It is stable while all |z| < 1, that is while k is below a bound k*. Adam (n = 0) has k* = 2·(1+β1)/(1-β1) = 38. Every
//! average more in the loop is a lag more, and k* falls: to 0.23 for one integral with κ 0.9. A longer β1 alone has the opposite
//! effect.
//!
//! As θ nears the minimum, so does √v̂ go to 0, and k grows until it is k*. There the optimizer hovers. θ swings with
//! an amplitude A, its gradient with h·A, and √v̂ is h·A/√2, the root of the mean square. Then k = √2·effective_lr/A, whatever h is:
//!
//! ```text
//! A = √2·effective_lr/k*
//! ```
//!
//! Under gradient noise of deviation σ, √v̂ does not fall below σ. Then a minimum of curvature h is stable only while
//! h < k*·σ/effective_lr: the integrals lower the sharpness that an optimizer bears by the factor 38/k*.
//!
//! Without noise, the amplitude does not depend on the curvature. A basin holds the optimizer if it is
//! clearly wider than A.

use std::f64::consts::{PI, SQRT_2};

use miadam::Hyperparams;

/// Places on the unit circle among which the first crossing is looked for.
const PLACES: usize = 20_000;

/// k*: the largest k at which a minimum is stable before the switch.
pub fn largest_stable(hyperparams: &Hyperparams) -> f64 {
    let Hyperparams { beta1, kappa, order, .. } = *hyperparams;
    let n = f64::from(order);
    // At the bound one z lies on the unit circle, at an angle ω, and k is real and positive there: the angles of the factors
    // minus that of z^(n+1) are π. For Adam that is so at ω = π alone.
    let angle = |omega: f64, from: f64| omega.sin().atan2(omega.cos() - from);
    let sum = |omega: f64| angle(omega, 1.0) + angle(omega, beta1) + n * angle(omega, kappa) - (n + 1.0) * omega;
    let places = (1..PLACES).map(|place| PI * place as f64 / PLACES as f64);
    let above = places.into_iter().find(|&omega| sum(omega) >= PI + 1e-12).unwrap_or(PI);
    let below = above - PI / PLACES as f64;
    let omega = if above < PI { bisect(|omega| sum(omega) < PI, below, above) } else { PI };
    let distance = |from: f64| omega.sin().hypot(omega.cos() - from);
    distance(1.0) * distance(beta1) * distance(kappa).powf(n) / ((1.0 - beta1) * (1.0 - kappa).powf(n))
}

/// Where `is_below` ends, between two places.
fn bisect(is_below: impl Fn(f64) -> bool, mut low: f64, mut high: f64) -> f64 {
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// A: how far to either side of a minimum, in each coordinate, the optimizer swings before the switch.
pub fn hover(hyperparams: &Hyperparams) -> f64 {
    SQRT_2 * hyperparams.effective_lr() / largest_stable(hyperparams)
}
