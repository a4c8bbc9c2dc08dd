//! The host's structs, made of the caller's settings.

use bytemuck::Zeroable;

use super::structs::{GradSettings, Group, Powers, Scaler, Tick};
use crate::options::{Average, GradOptions, Hyperparams, StepScale, WeightDecay};

/// κ = 1, for which 0.64 fixed point has no room. The number that has these bits is above every other κ.
pub const ONE: u64 = u64::MAX;

/// κ as a 0.64 fixed-point number: exact from 2⁻¹¹ on, and rounded down below. 1 is [`ONE`].
#[must_use]
pub fn fixed_kappa(kappa: f64) -> u64 {
    // 1 is past the range, where `as` gives the largest number.
    (kappa * 2f64.powi(64)) as u64
}

impl Group {
    /// The constants of a group with these hyperparameters.
    #[must_use]
    pub fn new(hyperparams: &Hyperparams) -> Self {
        let &Hyperparams { beta1, beta2, kappa, eps, order, switch_step, amsgrad, maximize, step_scale, .. } =
            hyperparams;
        let (average_least, [average_over, average_under]) = match hyperparams.average {
            Average::None => (0.0, [0.0, 1.0]),
            // 1 - (1 + k)/(10 + k) is 9/(10 + k).
            Average::Ema { decay, warmup } => (1.0 - decay, if warmup { [9.0, 10.0] } else { [0.0, 1.0] }),
            Average::Equal { .. } => (0.0, [1.0, 1.0]),
        };
        let (average_from, average_every) = hyperparams.average.steps();
        Self {
            beta1_powers: powers(beta1),
            beta2_powers: powers(beta2),
            one_minus_beta1: (1.0 - beta1) as f32,
            one_minus_beta2: (1.0 - beta2) as f32,
            one_minus_kappa: (1.0 - kappa) as f32,
            eps: eps as f32,
            coupled_decay: if let WeightDecay::Coupled(decay) = hyperparams.weight_decay { decay as f32 } else { 0.0 },
            cautious: u32::from(matches!(hyperparams.weight_decay, WeightDecay::Cautious(_))),
            grad_sign: if maximize { -1.0 } else { 1.0 },
            order,
            switch_step,
            amsgrad: u32::from(amsgrad),
            average_least: average_least as f32,
            average_over,
            average_under,
            average_from,
            average_every,
            exact_gain: u32::from(step_scale == StepScale::ExactGain),
            kappa: words(fixed_kappa(kappa)),
        }
    }
}

/// β^(2^k) for k = 0..32.
pub(crate) fn powers(beta: f64) -> Powers {
    let mut power = (beta * 2f64.powi(64)) as u64;
    std::array::from_fn(|_| {
        let words = words(power);
        power = multiply_fixed(power, power);
        words
    })
}

/// (high, low).
fn words(fixed: u64) -> [u32; 2] {
    [(fixed >> 32) as u32, fixed as u32]
}

/// The product of two 0.64 fixed-point numbers, rounded down.
pub(crate) fn multiply_fixed(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

impl Tick {
    /// The group of a clock whose parameters are left out of the step.
    pub const RESTING: u32 = u32::MAX;

    /// The tick of a clock of a group at learning rate `lr`.
    #[must_use]
    pub fn new(group: usize, hyperparams: &Hyperparams, lr: f64) -> Self {
        let decay = match hyperparams.weight_decay {
            WeightDecay::Decoupled(decay) | WeightDecay::Cautious(decay) => decay,
            WeightDecay::None | WeightDecay::Coupled(_) => 0.0,
        };
        Self {
            integrating: hyperparams.integrating_lr(lr) as f32,
            adam: lr as f32,
            decay: (lr * decay) as f32,
            group: group as u32,
        }
    }

    /// The tick of a clock that stands still.
    #[must_use]
    pub fn resting() -> Self {
        Self { group: Self::RESTING, ..Self::zeroed() }
    }
}

impl GradSettings {
    /// The options as the device is told of them with each recorded step.
    #[must_use]
    pub fn new(options: &GradOptions) -> Self {
        // A bound past the range is the largest number in it, which an infinite gradient is still past. Infinity is no bound.
        let single =
            |bound: f64| if bound.is_infinite() { f32::INFINITY } else { bound.min(f64::from(f32::MAX)) as f32 };
        let scaler = options.scaler.unwrap_or_default();
        Self {
            factor: options.factor as f32,
            clips: u32::from(options.clips_norm()),
            max_norm: options.clip_norm.map_or(f32::INFINITY, single),
            max_value: options.clip_value.map_or(f32::INFINITY, single),
            skips: u32::from(options.skips()),
            growth_interval: if options.scaler.is_some() { scaler.growth_interval } else { 0 },
            growth_factor: scaler.growth_factor as f32,
            backoff_factor: scaler.backoff_factor as f32,
        }
    }
}

impl Scaler {
    /// Loss scaling that starts at `scale`.
    #[must_use]
    pub fn starting_at(scale: f32) -> Self {
        Self { scale, factor: 1.0, unit: 1.0, ..Self::zeroed() }
    }
}
