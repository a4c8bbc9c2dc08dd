//! Hyperparameters under a name: the paper's, its authors', and what our own studies found to work.

use super::hyperparams::{Hyperparams, StepScale, WeightDecay};
use super::schedule::Schedule;

/// Named settings. `docs/PAPER.md` has what each of them did in our studies.
impl Hyperparams {
    /// Algorithm 1 of the paper: α_t = αⁿ before `switch_step`, with one integral.
    ///
    /// The paper gives no κ. This is 0.5, with which one integral doubles the step: the κ of the authors' code, 0.98, is
    /// fifty times the step under this rule, and does not train.
    ///
    /// ```
    /// use miadam::Hyperparams;
    ///
    /// let hyperparams = Hyperparams { switch_step: 9_381, ..Hyperparams::paper() };
    /// assert_eq!(hyperparams.effective_lr(), 2.0 * hyperparams.lr);
    /// ```
    #[must_use]
    pub fn paper() -> Self {
        Self { order: 1, kappa: 0.5, step_scale: StepScale::Paper, ..Self::default() }
    }

    /// The recipe of the authors' released code for a run of `steps` steps in all, with `order` integrals: α_t = αⁿ⁺¹ with κ
    /// 0.98 for 19 of 150 parts of the run, then Adam; L2 of 5e-5, and a tenth of the learning rate at a third and at half of
    /// the run.
    ///
    /// Before the switch a step is that of Adam at αⁿ⁺¹/(1-κ)ⁿ, which is `lr`·(50·`lr`)ⁿ. At the recipe's `lr` of 1e-3 that is `lr`/20ⁿ. In
    /// our studies Adam with that smaller rate did the same.
    ///
    /// ```
    /// use miadam::Hyperparams;
    ///
    /// // CIFAR-10 at batch 128 has 391 steps in an epoch; this is the first step of epoch 20, counted from 1.
    /// let hyperparams = Hyperparams::authors(1, 150 * 391);
    /// assert_eq!(hyperparams.switch_step, 19 * 391 + 1);
    /// assert!((hyperparams.effective_lr() - 1e-3 / 20.0).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn authors(order: u32, steps: u32) -> Self {
        let steps_of = |part: u64, of: u64| (u64::from(steps) * part / of) as u32;
        Self {
            order,
            kappa: 0.98,
            step_scale: StepScale::Reference,
            // The code counts epochs from 1 and asks whether one is below 20.
            switch_step: steps_of(19, 150).saturating_add(1),
            weight_decay: WeightDecay::Coupled(5e-5),
            schedule: Schedule::MultiStep { at: vec![steps_of(1, 3), steps_of(1, 2)], gamma: 0.1 },
            ..Self::default()
        }
    }

    /// What we would begin with in a run of `steps` steps in all: one integral at κ 0.9 under [`StepScale::UnitGain`], so that a
    /// step is as large as Adam's, and plain Adam for the last fifth.
    ///
    /// Under noisy labels it was a little more accurate than Adam at the same rate in our studies. An average of the weights or a
    /// cosine schedule did more for Adam than the integral did.
    ///
    /// ```
    /// use miadam::Hyperparams;
    ///
    /// let hyperparams = Hyperparams::recommended(10_000);
    /// assert_eq!((hyperparams.switch_step, hyperparams.effective_lr()), (8_001, hyperparams.lr));
    /// ```
    #[must_use]
    pub fn recommended(steps: u32) -> Self {
        let switch_step = ((u64::from(steps) * 4 / 5) as u32).saturating_add(1);
        Self { order: 1, kappa: 0.9, step_scale: StepScale::UnitGain, switch_step, ..Self::default() }
    }
}
