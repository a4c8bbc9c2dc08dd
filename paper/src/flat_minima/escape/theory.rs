//! What Theorem 1 predicts.

use std::f64::consts::PI;

use crate::flat_minima::landscapes::{Landscape, way_out};

/// Adam's β1.
const BETA1: f64 = 0.9;

/// What Eq. 14 and 15 need to know of the way from a sharp minimum a over a saddle u.
#[derive(Debug, Clone, Copy)]
pub struct Exit {
    /// ΔL = L(u) - L(a).
    pub barrier: f64,
    /// H_ae: the second derivative at the minimum, along the saddle's direction of escape e.
    pub at_minimum: f64,
    /// |H_ue|: the saddle's negative eigenvalue, without its sign.
    pub at_saddle: f64,
    /// |det(H_a⁻¹·H_u)|.
    pub determinants: f64,
}

impl Exit {
    /// The way out of the sharp minimum of [`Landscape::Waves`].
    pub fn of_waves() -> Self {
        let waves = Landscape::Waves;
        let [minimum, saddle, _] = way_out();
        let [at_a, at_u] = [minimum, saddle].map(|point| waves.hessian(point));
        Self {
            barrier: waves.value(saddle) - waves.value(minimum),
            at_minimum: at_a.along(at_u.lowest_direction()),
            at_saddle: at_u.eigenvalues()[0].abs(),
            determinants: (at_u.determinant() / at_a.determinant()).abs(),
        }
    }

    /// The mean escape time in steps, by Eq. 14 with the factor `t_tilde`; with 1 it is Eq. 15, Adam's.
    ///
    /// ```text
    /// φ = π·(√(1 + 4α√δ·|H_ue| / (t̃·(1-β1))) + 1) · |det(H_a⁻¹·H_u)|^¼ / |H_ue|
    ///       · exp(2√δ·ΔL/(t̃·α) · (ϱ/√H_ae + (1-ϱ)/√|H_ue|))
    /// ```
    ///
    /// The theory's noise has the variance H/δ at each place, for batches of δ samples. Ours has the variance σ² everywhere, so
    /// that √δ/√H is 1/σ all along the way. That is δ = H_ae/σ² with ϱ = 1. The theory's time goes on by α with each step, so
    /// that φ/α is the number of steps.
    pub fn steps(&self, lr: f64, noise: f64, t_tilde: f64) -> f64 {
        let batch_root = self.at_minimum.sqrt() / noise;
        let root = (1.0 + 4.0 * lr * batch_root * self.at_saddle / (t_tilde * (1.0 - BETA1))).sqrt();
        let factor = PI * (root + 1.0) * self.determinants.powf(0.25) / self.at_saddle;
        factor * (self.exponent(lr, noise) / t_tilde).exp() / lr
    }

    /// The mean escape time in steps by Kramers' formula, for comparison: a particle without inertia that moves as Adam does
    /// where noise rules. √v̂ is σ then, so that the mobility is α/σ a step, and each step adds noise of the size α, which
    /// makes the temperature α·σ/2.
    ///
    /// ```text
    /// 2π·√|det(H_a⁻¹·H_u)| / |H_ue| · σ/α · exp(2ΔL/(α·σ))
    /// ```
    pub fn kramers(&self, lr: f64, noise: f64) -> f64 {
        2.0 * PI * self.determinants.sqrt() / self.at_saddle * noise / lr * self.exponent(lr, noise).exp()
    }

    /// Adam's exponent, 2ΔL/(α·σ): the barrier over the temperature α·σ/2.
    pub fn exponent(&self, lr: f64, noise: f64) -> f64 {
        2.0 * self.barrier / (lr * noise)
    }

    /// The noise σ at which Adam's exponent has this value.
    pub fn noise(&self, lr: f64, exponent: f64) -> f64 {
        2.0 * self.barrier / (lr * exponent)
    }
}
