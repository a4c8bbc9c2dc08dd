use serde::{Deserialize, Serialize};

use super::average::Average;
use super::check::check;
use super::schedule::Schedule;
use crate::error::Error;

/// How the learning rate α becomes the step α_t while the integrals are in use (t < ζ).
///
/// The sources disagree, so the rule is explicit. From ζ on, and for order 0, every rule gives α.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StepScale {
    /// α_t = αⁿ: Algorithm 1, line 11, of the paper.
    #[default]
    Paper,
    /// α_t = αⁿ⁺¹: the PyTorch code released by the paper's authors.
    Reference,
    /// α_t = α·(1-κ)ⁿ: undoes the integrals' DC gain 1/(1-κ)ⁿ, so that a steady gradient moves a
    /// parameter as far as under Adam, whatever n and κ < 1.
    ///
    /// The gain is the one after infinitely many steps. In the first n/(1-κ) steps or so the integrals have less, so that a
    /// large κ starts with a warm-up.
    UnitGain,
    /// α_t = α·(1-β1ᵗ)/S_n(t): undoes the gain that the integrals have at step t itself, so that a constant gradient moves a
    /// parameter by α from the first step on, for every n and every κ in [0, 1].
    ///
    /// S_n(t) is what the integrals make of a constant gradient of 1:
    ///
    /// ```text
    /// S_0(t) = 1 - β1ᵗ                      what m is then
    /// S_j(t) = κ·S_j(t-1) + S_{j-1}(t)      the recurrence of s⁽ʲ⁾; S_j(0) = 0
    /// ```
    ///
    /// So the update has num/S_n(t). Since num is a weighted sum of all gradients so far, and S_n(t) the sum of the
    /// weights, this is their weighted mean. It is the bias correction of Adam, m/(1-β1ᵗ), for averages within
    /// averages: with n = 0 it is just that. As t grows, α_t becomes that of `UnitGain`.
    ///
    /// With κ = 1 nothing is ever forgotten. The integrals then grow as tⁿ/n! times the gradient, and are `f32`: one integral
    /// takes in less and less of a step after 2²⁴ of them, and eight overflow after some 300 000. S_n(t) itself has no such
    /// end, and is exact to the rounding of `f32` at every t.
    ExactGain,
}

/// Weight decay, by its coefficient λ, which is at least 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum WeightDecay {
    /// No decay.
    #[default]
    None,
    /// L2 regularisation, g ← g + λ·θ, as in Adam and in the authors' code.
    Coupled(f64),
    /// θ ← θ·(1 - α·λ) before the update, as in AdamW (Loshchilov and Hutter, 2017). α is the learning
    /// rate itself, before and after ζ: the decay does not depend on the order.
    Decoupled(f64),
    /// Decoupled decay that never works against the update: θ ← θ·(1 - α·λ) where θ ≥ 0 and num ≥ 0 are both true or both
    /// false, else θ stays. num is m under plain Adam, else s⁽ⁿ⁾: the update has the opposite sign. It is what burn's
    /// `AdamWConfig::with_cautious_weight_decay` does.
    ///
    /// > Chen, Li, Liang, Su, Xie, Wang Pierse, Liang, Lao, Liu: *Cautious Weight Decay*, 2025,
    /// > [arXiv 2510.12402](https://arxiv.org/abs/2510.12402).
    Cautious(f64),
}

/// How a parameter in [half precision](crate::Dtype) is updated. Its last bit is larger than most updates, so that plain
/// rounding would lose them. An `f32` parameter does not need this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HalfParams {
    /// The optimizer keeps a master copy in `f32` and updates that. The parameter becomes the copy's value, rounded to
    /// nearest even. The first step makes the copy from the parameter, even if that step is skipped. It costs 4 bytes a
    /// parameter. After others have written the parameter, call
    /// [`params_written`](crate::Optimizer::params_written), so that the next step starts from what they wrote.
    #[default]
    Master,
    /// There is no copy; this is for bf16 alone. Each new value becomes one of its two neighbours at random, so that its
    /// mean is the value itself. It has no bias, some noise, and needs no memory.
    Stochastic {
        /// The seed of the random numbers. They are a function of the seed, the parameter's name, the element and the step,
        /// so that a run can be repeated on any device, wherever the parameter lies.
        seed: u64,
    },
}

/// How the moments and integrals of a group are kept between steps. A step computes in `f32`, whatever this is, and rounds what it
/// keeps up or down at random, so that the mean is the value itself: a sum that takes in less than half of its last bit still
/// moves. The random numbers are a function of the parameter's name, the element and the step, so that a run can be repeated on any
/// device, wherever the parameter lies.
///
/// The noise of rounding is in every update. Over 10,000 steps, among elements whose sizes are at most 1 : 10 apart, it came to 3 % of
/// the way in `Bf16` and to 13 to 17 % in `Q8`, at orders 0 to 3 and κ up to 0.98. Rounding is not biased, but noise makes the updates of
/// `Q8` 2 to 3 % longer. The accuracy on digits stayed the same. At κ = 1, where integrals forget nothing, the noise came to 8 and 42 %
/// or more, so that a warning is logged for `Q8` above κ = [0.98](Self::Q8_KAPPA). `paper/results/precision` has all figures.
///
/// A parameter of fewer than [`SMALLEST`](Self::SMALLEST) elements is kept in `f32`: it has little to save. So are
/// [master copies](HalfParams::Master) and [averages](Average), which are there to be exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum StatePrecision {
    /// 4 bytes an element.
    #[default]
    F32,
    /// bf16: 2 bytes an element, with 8 significant bits.
    Bf16,
    /// 1 byte an element. Eight elements, each 16 after the one before, share a scale. Beside it a first moment or an integral has
    /// a sign and 6 bits, in equal steps; a second moment is a small float with 4 bits of exponent and 3 of mantissa. So the largest
    /// of the eight has 31.5 steps at least, and one that is much smaller has few: where sizes lie as far apart as 1 : 100 take
    /// [`Bf16`](Self::Bf16). What is not finite becomes infinity.
    Q8,
}

impl StatePrecision {
    /// Elements of the smallest parameter that is kept in anything but `f32`.
    pub const SMALLEST: usize = 4096;

    /// The largest κ for which [`Q8`](Self::Q8) has been measured to be good enough. A group above it is warned about.
    pub const Q8_KAPPA: f64 = 0.98;

    fn is_single(&self) -> bool {
        *self == Self::F32
    }
}

/// The hyperparameters of one parameter group.
///
/// With t the step counted from 1, one step of each element θ with gradient g is (Algorithm 1):
///
/// ```text
/// m    = β1·m + (1-β1)·g                              first moment
/// v    = β2·v + (1-β2)·g²                             second moment
/// t < ζ:  s⁽⁰⁾ = m;  s⁽ʲ⁾ = κ·s⁽ʲ⁾ + s⁽ʲ⁻¹⁾, j = 1..n    integrals;  num = s⁽ⁿ⁾, α_t = scale(α, n)
/// t ≥ ζ:  num = m, α_t = α                            plain Adam
/// θ    = θ - α_t · (num / (1-β1ᵗ)) / (√(v / (1-β2ᵗ)) + ε)
/// ```
///
/// Values are `f64`; every coefficient that reaches a kernel is computed in at least that precision
/// and rounded to `f32` once.
///
/// ```
/// use miadam::{Hyperparams, WeightDecay};
///
/// // One integral for the first 9 380 steps (20 epochs of MNIST at batch 128), then Adam.
/// let hyperparams = Hyperparams { switch_step: 9_381, ..Hyperparams::default() };
/// assert_eq!(hyperparams.effective_lr(), 0.002);
///
/// // AdamW.
/// let adamw = Hyperparams { order: 0, weight_decay: WeightDecay::Decoupled(0.01), ..Hyperparams::default() };
/// assert_eq!(adamw.effective_lr(), adamw.lr);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hyperparams {
    /// Learning rate α, at least 0. Default 1e-3, the paper's and PyTorch's. `schedule` multiplies it.
    pub lr: f64,
    /// How α changes from step to step. Default [`Schedule::Constant`]. Wherever α stands, in αⁿ and in a decoupled
    /// decay, too, it is [`lr_at`](Self::lr_at) the step in question.
    pub schedule: Schedule,
    /// Decay rate β1 of the first moment, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay rate β2 of the second moment, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// ε, added outside the root: 0, or in the normal range of `f32`. Default 1e-8. With 0, an element whose gradient
    /// has been 0 throughout becomes NaN, as in PyTorch.
    pub eps: f64,
    /// Number n of integrals; 0 is Adam. Default 1, the paper's best in most of its tables. At most 1000, which is far past any
    /// use, so that a wrong number is an error and not a request for all the memory there is.
    pub order: u32,
    /// Discount κ of the integrals, in [0, 1], and below 1 under [`StepScale::UnitGain`]. Default 0.5: with one integral and `Paper`'s scale it doubles
    /// the step, which trains where the authors' 0.98 (fifty times the step under `Paper`) diverges.
    pub kappa: f64,
    /// ζ, the first step that is plain Adam, at least 1. Default [`Hyperparams::NEVER`], since only the
    /// caller knows how long the training is; the paper's runs switch within the first part of it.
    pub switch_step: u32,
    /// The rule for α_t before ζ. Default [`StepScale::Paper`].
    pub step_scale: StepScale,
    /// Weight decay. Default none.
    pub weight_decay: WeightDecay,
    /// Divide by the largest second moment so far (Reddi et al., 2018). Default false.
    pub amsgrad: bool,
    /// Ascend: use -g for g. Default false.
    pub maximize: bool,
    /// How parameters in half precision are updated. Default [`HalfParams::Master`].
    pub half_params: HalfParams,
    /// The average of the weights that is kept beside them. Default [`Average::None`].
    #[serde(default, skip_serializing_if = "Average::is_none")]
    pub average: Average,
    /// How moments and integrals are kept. Default [`StatePrecision::F32`]. It is fixed once an optimizer is made: a checkpoint takes state
    /// into another precision.
    #[serde(default, skip_serializing_if = "StatePrecision::is_single")]
    pub state_precision: StatePrecision,
}

impl Default for Hyperparams {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            schedule: Schedule::Constant,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            order: 1,
            kappa: 0.5,
            switch_step: Self::NEVER,
            step_scale: StepScale::Paper,
            weight_decay: WeightDecay::None,
            amsgrad: false,
            maximize: false,
            half_params: HalfParams::Master,
            average: Average::None,
            state_precision: StatePrecision::F32,
        }
    }
}

impl Hyperparams {
    const HIGHEST_ORDER: u32 = 1000;

    /// A [`switch_step`](Self::switch_step) that no training reaches.
    pub const NEVER: u32 = u32::MAX;

    /// The step that a constant gradient settles to before ζ, relative to the unit step of Adam:
    /// `scale(α, n) / (1-κ)ⁿ`. It is `lr` for order 0, under `UnitGain` and under `ExactGain`. With the other step scales it is
    /// infinite for κ = 1. α is `lr` itself here, without its schedule.
    ///
    /// Compare it with `lr`: an optimizer warns once about a group whose value is above ten times that, or below a tenth.
    #[must_use]
    pub fn effective_lr(&self) -> f64 {
        match self.step_scale {
            StepScale::Paper | StepScale::Reference if self.integrates() => {
                self.integrating_lr(self.lr) / (1.0 - self.kappa).powf(f64::from(self.order))
            }
            _ => self.lr,
        }
    }

    /// How the state of a parameter of `len` elements is kept.
    pub(crate) fn precision_of(&self, len: usize) -> StatePrecision {
        if len < StatePrecision::SMALLEST { StatePrecision::F32 } else { self.state_precision }
    }

    /// α of the step that comes after `step` others: `lr` times the [`schedule`](Self::schedule)'s factor.
    #[must_use]
    pub fn lr_at(&self, step: u32) -> f64 {
        self.lr * self.schedule.factor(step)
    }

    /// Whether the integrals multiply the step of Adam by more than ten, or by less than a tenth.
    pub(crate) fn is_outsize(&self) -> bool {
        let effective = self.effective_lr();
        self.lr > 0.0 && (effective > 10.0 * self.lr || effective < 0.1 * self.lr)
    }

    /// Whether the integrals forget so slowly that what 8 bits round away adds up in them.
    pub(crate) fn is_too_coarse(&self) -> bool {
        self.state_precision == StatePrecision::Q8 && self.order > 0 && self.kappa > StatePrecision::Q8_KAPPA
    }

    /// Warns about a group's outsize step, and about integrals that its state is too coarse for.
    pub(crate) fn report(&self, group: usize) {
        if self.is_too_coarse() {
            let Self { order, kappa, .. } = self;
            log::warn!(
                "group {group}: state in Q8 at order {order} and kappa {kappa:?}: what is rounded away adds up in integrals that \
                 forget so slowly; take Bf16, or kappa up to {:?} (see StatePrecision)",
                StatePrecision::Q8_KAPPA,
            );
        }
        if self.is_outsize() {
            let Self { lr, order, kappa, step_scale, .. } = self;
            let effective = self.effective_lr();
            let (ratio, risk) = if effective > *lr {
                (format!("{:.0} times", effective / lr), "training may diverge")
            } else {
                (format!("1/{:.0} of", lr / effective), "training may stand still until the switch")
            };
            log::warn!(
                "group {group}: order {order}, kappa {kappa:?} and step_scale {step_scale:?} make the steady step \
                 {effective:.3e}, {ratio} lr; {risk} (see Hyperparams::effective_lr)",
            );
        }
    }

    /// α_t before ζ: scale(α, n). Under `ExactGain` it is α, as α_t is α but for what depends on t.
    pub(crate) fn integrating_lr(&self, lr: f64) -> f64 {
        let n = f64::from(self.order);
        match self.step_scale {
            _ if self.order == 0 => lr,
            StepScale::Paper => lr.powf(n),
            StepScale::Reference => lr.powf(n + 1.0),
            StepScale::UnitGain => lr * (1.0 - self.kappa).powf(n),
            StepScale::ExactGain => lr,
        }
    }

    /// α_t of the first step, at this learning rate.
    fn scale(&self, lr: f64) -> f64 {
        if self.integrates() { self.integrating_lr(lr) } else { lr }
    }

    /// Whether any step uses the integrals.
    pub(crate) fn integrates(&self) -> bool {
        self.order > 0 && self.switch_step > 1
    }

    /// The last step that uses the integrals, or 0.
    pub(crate) fn last_integrating(&self) -> u32 {
        if self.order > 0 { self.switch_step - 1 } else { 0 }
    }

    /// Checks every value; `group` is what an error calls the group.
    ///
    /// # Errors
    /// For the first value that is out of range.
    pub fn validate(&self, group: usize) -> Result<(), Error> {
        self.validate_upwards(group)?;
        // A subnormal scale would lose its bits or be flushed to 0 by a GPU: an optimizer that stands still. A schedule
        // that goes to 0 asks for that, so it does not count.
        let lr = self.lr;
        let scale = self.scale(lr);
        if lr == 0.0 || scale.min(lr) >= f64::from(f32::MIN_POSITIVE) {
            Ok(())
        } else {
            Err(self.step_scale_range(group, lr, scale))
        }
    }

    /// All checks but that of a step scale that underflows.
    pub(crate) fn validate_upwards(&self, group: usize) -> Result<(), Error> {
        let check = |field, value, holds, expected| check(group, field, value, holds, expected);
        const FROM_ZERO: &str = "at least 0 and in the range of f32";
        let decay = match self.weight_decay {
            WeightDecay::None => 0.0,
            WeightDecay::Coupled(decay) | WeightDecay::Decoupled(decay) | WeightDecay::Cautious(decay) => decay,
        };
        let max = f64::from(f32::MAX);
        let single = 0.0..=max;
        let normal = f64::from(f32::MIN_POSITIVE)..=max;
        check("lr", self.lr, single.contains(&self.lr), FROM_ZERO)?;
        self.schedule.validate(group)?;
        let factor = self.schedule.largest_factor(u32::MAX);
        let lr = self.lr * factor;
        const BOUNDED: &str =
            "such that lr times it is in the range of f32 at every step; end what grows by a Sequence";
        check("schedule.factor", factor, single.contains(&lr), BOUNDED)?;
        check("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "in [0, 1)")?;
        check("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "in [0, 1)")?;
        let eps_holds = self.eps == 0.0 || normal.contains(&self.eps);
        check("eps", self.eps, eps_holds, "0 or in the normal range of f32, 1.2e-38 to 3.4e38")?;
        check("order", self.order.into(), self.order <= Self::HIGHEST_ORDER, "at most 1000")?;
        check("kappa", self.kappa, (0.0..=1.0).contains(&self.kappa), "in [0, 1]")?;
        check("weight_decay", decay, single.contains(&decay), FROM_ZERO)?;
        check("weight_decay", decay, lr * decay <= max, "such that lr times it is in the range of f32")?;
        self.average.validate(group)?;
        check("switch_step", f64::from(self.switch_step), self.switch_step > 0, "at least 1, the first step")?;
        if self.integrates() && self.step_scale == StepScale::UnitGain && self.kappa == 1.0 {
            return Err(Error::UnitGainKappa { group });
        }
        let scale = self.scale(lr);
        // The first step divides by 1-β1, which is the smallest 1-β1ᵗ, and the smallest gain.
        if scale.max(lr) / (1.0 - self.beta1) <= max { Ok(()) } else { Err(self.step_scale_range(group, lr, scale)) }
    }

    fn step_scale_range(&self, group: usize, lr: f64, scale: f64) -> Error {
        let remedy = match self.step_scale {
            StepScale::UnitGain => "bring `lr` nearer to 1, lower `order`, or lower `kappa`",
            _ if self.order == 0 || self.step_scale == StepScale::ExactGain => "bring `lr` nearer to 1",
            _ => "bring `lr` nearer to 1, lower `order`, or use `StepScale::UnitGain`",
        };
        Error::StepScaleRange { group, lr, order: self.order, scale, remedy }
    }

    /// These with another learning rate, which the caller may take as near to 0 as they like: the scale may then
    /// underflow.
    pub(crate) fn with_lr(&self, group: usize, lr: f64) -> Result<Self, Error> {
        let changed = Self { lr, ..self.clone() };
        changed.validate_upwards(group)?;
        if changed.is_outsize() && !self.is_outsize() {
            changed.report(group);
        }
        Ok(changed)
    }
}
