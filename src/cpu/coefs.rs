//! The coefficients of a single step, for updates that are written in the tensor operations of an engine.

use crate::abi::{Coefs, GradSettings, Group, Scaler, Tick};
use crate::clock::Clock;
use crate::error::Error;
use crate::math::advance::advance_clock;
use crate::math::verdict::judge;
use crate::options::{GradOptions, Hyperparams};
use crate::state::gains_after;

/// The coefficients with which one step updates every element of a parameter, for code that does the update itself.
///
/// With them, the step of an element θ with gradient g is:
///
/// ```text
/// g ← grad_sign·g + coupled_decay·θ
/// m ← m + one_minus_beta1·(g - m)
/// v ← v + one_minus_beta2·(g² - v)                 under amsgrad v is the largest so far from here on
/// s⁽⁰⁾ = m;  s⁽ʲ⁾ ← s⁽ʲ⁻¹⁾ + (s⁽ʲ⁾ - one_minus_kappa·s⁽ʲ⁾), j = 1..order;  num = s⁽ᵒʳᵈᵉʳ⁾
/// θ ← θ - (step_size·(num / (√v·root_scale + eps)) + decay·θ)
/// ```
///
/// They are those of [`MiAdam`](super::MiAdam): exact, then rounded to `f32` once.
///
/// ```
/// use miadam::{Hyperparams, cpu::StepCoefs};
///
/// let hyperparams = Hyperparams { order: 2, switch_step: 11, ..Hyperparams::default() };
/// assert_eq!(StepCoefs::at(&hyperparams, 10, 1e-3)?.order, 2);
/// assert_eq!(StepCoefs::at(&hyperparams, 11, 1e-3)?.order, 0);
/// # Ok::<(), miadam::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepCoefs {
    /// -1 to maximize, else 1.
    pub grad_sign: f32,
    /// λ of coupled weight decay, else 0.
    pub coupled_decay: f32,
    /// 1 - β1.
    pub one_minus_beta1: f32,
    /// 1 - β2.
    pub one_minus_beta2: f32,
    /// 1 - κ.
    pub one_minus_kappa: f32,
    /// The integrals that this step uses: n before ζ, then 0.
    pub order: u32,
    /// α_t / (1-β1ᵗ) · unit.
    pub step_size: f32,
    /// 1 / √(1-β2ᵗ) · unit.
    pub root_scale: f32,
    /// ε · unit. The unit is a power of two that brings a step size above 1 below it, else 1.
    pub eps: f32,
    /// α·λ under decoupled weight decay, else 0.
    pub decay: f32,
    /// Whether elements decay only where θ ≥ 0 and num ≥ 0 are both true or both false.
    pub cautious: bool,
}

impl StepCoefs {
    /// The coefficients of step `t`, counted from 1, at learning rate `lr`. It stands for [`Hyperparams::lr`] times the
    /// schedule's factor.
    ///
    /// Under [`StepScale::ExactGain`](crate::StepScale::ExactGain) they are those of a parameter that has taken all its steps
    /// with the same κ and β1.
    ///
    /// # Errors
    /// For hyperparameters out of range, the learning rate included.
    pub fn at(hyperparams: &Hyperparams, t: u32, lr: f64) -> Result<Self, Error> {
        hyperparams.with_lr(0, lr)?;
        let before = t.saturating_sub(1);
        let mut clock = Clock { step: before, averaged: 0, gains: gains_after(before, hyperparams) };
        let verdict = judge(&GradSettings::new(&GradOptions::default()), &Scaler::starting_at(1.0), None);
        let (group, tick) = (Group::new(hyperparams), Tick::new(0, hyperparams, lr));
        let coefs = advance_clock(&mut clock, &group, tick, &GradSettings::new(&GradOptions::default()), &verdict);
        Ok(Self::new(&coefs))
    }

    fn new(coefs: &Coefs) -> Self {
        Self {
            grad_sign: coefs.grad_factor,
            coupled_decay: coefs.coupled_decay,
            one_minus_beta1: coefs.one_minus_beta1,
            one_minus_beta2: coefs.one_minus_beta2,
            one_minus_kappa: coefs.one_minus_kappa,
            order: coefs.order,
            step_size: coefs.step_size,
            root_scale: coefs.root_scale,
            eps: coefs.eps,
            decay: coefs.decay,
            cautious: coefs.cautious == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{StepScale, WeightDecay};

    #[test]
    fn are_those_of_a_run_from_the_start() {
        let settings = GradSettings::new(&GradOptions::default());
        let verdict = judge(&settings, &Scaler::starting_at(1.0), None);
        for step_scale in [StepScale::Paper, StepScale::Reference, StepScale::UnitGain, StepScale::ExactGain] {
            let hyperparams = Hyperparams {
                order: 2,
                kappa: 0.9,
                switch_step: 300,
                step_scale,
                maximize: true,
                weight_decay: WeightDecay::Cautious(0.01),
                ..Hyperparams::default()
            };
            let (group, tick) = (Group::new(&hyperparams), Tick::new(0, &hyperparams, 0.01));
            let mut clock = Clock::new(2);
            for t in 1..=400 {
                let wanted = StepCoefs::new(&advance_clock(&mut clock, &group, tick, &settings, &verdict));
                let found = StepCoefs::at(&hyperparams, t, 0.01).unwrap();
                // The gains are good to 1e-12 here, so that a quotient by them may round to the neighbour.
                let ulps = found.step_size.to_bits().abs_diff(wanted.step_size.to_bits());
                assert!(ulps <= u32::from(step_scale == StepScale::ExactGain), "{step_scale:?} at {t}: {ulps} ulps");
                assert_eq!(StepCoefs { step_size: wanted.step_size, ..found }, wanted, "{step_scale:?} at {t}");
            }
        }
    }

    #[test]
    fn a_learning_rate_out_of_range_is_an_error() {
        for lr in [-1.0, f64::NAN, f64::INFINITY] {
            let error = StepCoefs::at(&Hyperparams::default(), 1, lr).unwrap_err();
            assert!(error.to_string().contains("`lr`"), "{error}");
        }
    }
}
