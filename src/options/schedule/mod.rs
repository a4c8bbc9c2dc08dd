//! Learning-rate schedules: PyTorch's, each as a function of the step.

mod factor;
mod validate;

use serde::{Deserialize, Serialize};

/// How a group's learning rate changes from step to step: a factor f(k) on [`lr`](crate::Hyperparams::lr), where k
/// counts the steps that the optimizer recorded before, 0 for the first.
///
/// The learning rate of step k is that of PyTorch's scheduler of the given name after k calls of its `step()`, made once
/// after each `optimizer.step()`. k counts steps, not epochs: multiply epochs by the batches in one. Each f is computed
/// anew from k in `f64`, and after its end a schedule keeps its last value, for good.
///
/// ```
/// use miadam::{Hyperparams, Schedule};
///
/// // The paper's setting: a tenth of the learning rate from epoch 50 on, a hundredth from epoch 75 on. CIFAR-10 has
/// // 391 batches of 128 in an epoch.
/// let schedule = Schedule::MultiStep { at: vec![50 * 391, 75 * 391], gamma: 0.1 };
/// let hyperparams = Hyperparams { lr: 1e-3, schedule, ..Hyperparams::default() };
/// let epochs = [0, 49, 50, 74, 75, 99].map(|epoch| hyperparams.lr_at(epoch * 391) as f32);
/// assert_eq!(epochs, [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]);
///
/// // Warm-up over 500 steps, then half a cosine down to 0 at step 10 000.
/// let schedule = Schedule::warmup_cosine(500, 10_000, 0.0);
/// assert_eq!([500, 10_000, 1_000_000].map(|step| schedule.factor(step)), [1.0, 0.0, 0.0]);
///
/// // The same cosine over 1 000 steps three times, from half the height each time.
/// let cosine = Schedule::Cosine { steps: 1_000, end_factor: 0.0 };
/// let halved = cosine.clone().scaled(0.5);
/// let quartered = cosine.clone().scaled(0.25);
/// let schedule = Schedule::Sequence(vec![(0, cosine), (1_000, halved), (2_000, quartered)]);
/// assert_eq!([0, 1_000, 2_000, 3_000].map(|step| schedule.factor(step)), [1.0, 0.5, 0.25, 0.0]);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Schedule {
    /// f = 1: the learning rate is [`lr`](crate::Hyperparams::lr), or the caller's own number for each step through
    /// `set_lr`.
    #[default]
    Constant,

    /// `f(k) = s + (1-s)·min(k, K)/K`, with s = `start_factor` and K = `steps`: PyTorch's `LinearLR` with
    /// `end_factor=1`, `total_iters=K`. It is [`Linear`](Self::Linear) up to 1.
    LinearWarmup {
        /// f at the first step, in [0, 1]. PyTorch refuses 0.
        start_factor: f64,
        /// Steps until the full learning rate, at least 1.
        steps: u32,
    },

    /// `f(k) = s + (e-s)·min(k, K)/K`, with s = `start_factor`, e = `end_factor` and K = `steps`, up or down: PyTorch's
    /// `LinearLR` with `total_iters=K`, which stays at e after K as this does.
    Linear {
        /// f at the first step, at least 0. PyTorch refuses 0 and what is above 1.
        start_factor: f64,
        /// f from step K on, at least 0. PyTorch refuses what is above 1.
        end_factor: f64,
        /// Steps until the end, at least 1.
        steps: u32,
    },

    /// `f(k) = e + (1-e)·(1 - min(k, K)/K)ᵖ`, with e = `end_factor`, K = `steps` and p = `power`. For e = 0 it is
    /// PyTorch's `PolynomialLR` with `total_iters=K`, `power=p`, which stays at 0 after K as this does.
    Polynomial {
        /// Steps until the end, at least 1.
        steps: u32,
        /// p, above 0. PyTorch's default is 1, which is a straight line.
        power: f64,
        /// f from step K on, at least 0.
        end_factor: f64,
    },

    /// `f(k) = e + (1-e)·(1 + cos(π·k/K))/2` up to k = K, with e = `end_factor` and K = `steps`: PyTorch's
    /// `CosineAnnealingLR` with `T_max=K`, `eta_min=e·lr`, which after K rises again where this stays at e
    /// (Loshchilov and Hutter, 2017).
    Cosine {
        /// Steps until the end, at least 1.
        steps: u32,
        /// f from there on, at least 0.
        end_factor: f64,
    },

    /// Cosines one after another, each from 1 again and `growth` times as long as the one before (SGDR: Loshchilov and
    /// Hutter, 2017):
    ///
    /// ```text
    /// Tᵢ = steps·growthⁱ, i = 0, 1, …              the steps of cycle i
    /// c = k - (T₀ + … + Tᵢ₋₁)                      the steps of the present cycle i before k, 0 ≤ c < Tᵢ
    /// f(k) = e + (1-e)·(1 + cos(π·c/Tᵢ))/2         e = end_factor
    /// ```
    ///
    /// PyTorch's `CosineAnnealingWarmRestarts` with `T_0=steps`, `T_mult=growth`, `eta_min=e·lr`. It has no end, here
    /// as there. In a [`Sequence`](Self::Sequence) it ends where the next piece begins.
    CosineRestarts {
        /// Steps of the first cosine, at least 1.
        steps: u32,
        /// How many times as long as the one before each cosine is, at least 1. PyTorch's default is 1.
        growth: u32,
        /// What each cosine goes down to, at least 0. The step that would reach it is the first of the next cosine.
        end_factor: f64,
    },

    /// `f(k) = γ^⌊k/every⌋`: PyTorch's `StepLR`.
    Step {
        /// Steps from one change to the next, at least 1.
        every: u32,
        /// γ, at least 0. Above 1 only as a piece of a [`Sequence`](Self::Sequence) that ends it in time.
        gamma: f64,
    },

    /// `f(k) = γ^(number of milestones ≤ k)`: PyTorch's `MultiStepLR`, and what the paper's experiments use.
    MultiStep {
        /// The milestones, in ascending order; one given twice counts twice.
        at: Vec<u32>,
        /// γ, at least 0.
        gamma: f64,
    },

    /// `f(k) = γᵏ`: PyTorch's `ExponentialLR`.
    Exponential {
        /// γ, at least 0. Above 1 only as a piece of a [`Sequence`](Self::Sequence) that ends it in time.
        gamma: f64,
    },

    /// The factor goes from 1/d up to 1, then down to 1/(d·e), each along half a cosine (Smith and Topin, 2018):
    ///
    /// ```text
    /// P = warmup·K - 1                                         the peak, which may lie between two steps
    /// k ≤ P:      f(k) = anneal(1/d, 1, k/P)
    /// P < k < K:  f(k) = anneal(1, 1/(d·e), (k-P)/(K-1-P))
    /// anneal(a, b, x) = b + (a-b)·(1 + cos(π·x))/2
    /// ```
    ///
    /// PyTorch's `OneCycleLR` with `max_lr=lr`, `total_steps=K`, `pct_start=warmup`, its default `anneal_strategy` and
    /// `cycle_momentum=False`. It fails past step K - 1, where this stays, and divides by 0 for P = 0, where the first
    /// step here is the peak.
    OneCycle {
        /// K, at least 1.
        steps: u32,
        /// The fraction of the steps that goes up, in [0, 1]. PyTorch's default is 0.3.
        warmup: f64,
        /// d, above 0. PyTorch's default is 25.
        div_factor: f64,
        /// e, above 0. PyTorch's default is 1e4.
        final_div_factor: f64,
    },

    /// Pieces, each from the step beside it on and counting from 0 there: PyTorch's `SequentialLR`, whose `milestones`
    /// are the first steps of all pieces but the first.
    ///
    /// Every piece multiplies the group's `lr`, not what the piece before left. Two things differ from PyTorch, where a
    /// `SequentialLR` within another runs a step early or fails, and a `OneCycleLR` moves the base of the schedulers
    /// beside it: here a piece is what it is alone. [`scaled`](Self::scaled) gives a piece a factor of its own.
    Sequence(
        /// Each piece after its first step: 0 for the first piece, and ascending.
        Vec<(u32, Schedule)>,
    ),

    /// `f(k) = c·g(k)`, with c = `factor` and g of another schedule: what PyTorch's scheduler gives with c times the
    /// learning rate for its base. [`scaled`](Self::scaled) makes it.
    Scaled {
        /// c, at least 0. For 0, f is 0 whatever g is.
        factor: f64,
        /// The schedule of g.
        schedule: Box<Schedule>,
    },
}

impl Schedule {
    /// A linear warm-up over `warmup_steps` steps, then half a cosine from 1 down to `end_factor` at step
    /// `total_steps`, where it stays:
    ///
    /// ```text
    /// k ≤ W:      f(k) = (k+1)/(W+1)                                   W = warmup_steps
    /// W ≤ k ≤ K:  f(k) = e + (1-e)·(1 + cos(π·(k-W)/(K-W)))/2          K = total_steps, e = end_factor
    /// ```
    ///
    /// It is a [`Sequence`](Self::Sequence) of a [`LinearWarmup`](Self::LinearWarmup) and a [`Cosine`](Self::Cosine).
    /// The factor rises by equal amounts. It begins one such amount above 0, where a step would do nothing. Without a
    /// warm-up it is the cosine alone.
    ///
    /// `warmup_steps` must be below `total_steps`: nothing is left for the cosine else, and the optimizer refuses its 0
    /// `steps`, as it refuses every value out of range.
    ///
    /// ```
    /// use miadam::{Hyperparams, Schedule};
    ///
    /// let schedule = Schedule::warmup_cosine(3, 1_003, 0.1);
    /// assert_eq!([0, 1, 2, 3, 503, 1_003].map(|step| schedule.factor(step) as f32), [0.25, 0.5, 0.75, 1.0, 0.55, 0.1]);
    ///
    /// let nothing_left = Hyperparams { schedule: Schedule::warmup_cosine(3, 3, 0.1), ..Hyperparams::default() };
    /// let message = nothing_left.validate(0).unwrap_err().to_string();
    /// assert_eq!(message, "group 0: `schedule.steps` is 0; it must be at least 1");
    /// ```
    #[must_use]
    pub fn warmup_cosine(warmup_steps: u32, total_steps: u32, end_factor: f64) -> Self {
        let cosine = Self::Cosine { steps: total_steps.saturating_sub(warmup_steps), end_factor };
        if warmup_steps == 0 {
            return cosine;
        }
        let start_factor = 1.0 / (f64::from(warmup_steps) + 1.0);
        Self::Sequence(vec![(0, Self::LinearWarmup { start_factor, steps: warmup_steps }), (warmup_steps, cosine)])
    }

    /// The same schedule with every factor multiplied by `factor`: [`Scaled`](Self::Scaled).
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self::Scaled { factor, schedule: Box::new(self) }
    }
}
