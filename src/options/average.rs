use serde::{Deserialize, Serialize};

use super::check::check;
use crate::error::Error;

/// An average of the weights, kept beside them and updated in the same pass as the step. A model is often better with the
/// averages of its weights than with the weights themselves.
///
/// With k the averagings of a parameter so far, and θ the parameter after the step:
///
/// ```text
/// k = 0:  average ← θ                               the first averaging copies
/// k > 0:  average ← average + rate · (θ - average)
/// ```
///
/// A step that is skipped does not average. The average is in `f32`, whatever the parameter's type, and costs 4 bytes a
/// parameter. θ is the master copy, where there is one. Where a bf16 parameter is
/// [rounded at random](crate::HalfParams::Stochastic), θ is the rounded value that is stored.
///
/// [`swap_averages`](crate::MiAdam::swap_averages) puts the averages in the parameters' place and back. A
/// [`State`](crate::State) and a [`Checkpoint`](crate::Checkpoint) have them as [`Plane::Average`](crate::Plane::Average).
///
/// ```
/// use miadam::{Average, Hyperparams, Param, ParamGroup, Plane, cpu};
///
/// let average = Average::Ema { decay: 0.75, warmup: false };
/// let hyperparams = Hyperparams { order: 0, lr: 1.0, average, ..Hyperparams::default() };
/// let mut optimizer = cpu::MiAdam::new([ParamGroup::new(hyperparams, [Param::new("w", 1)])])?;
/// let (mut w, mut gradient) = ([8.0], [1.0]);
/// for expected in [7.0, 6.75] {
///     // Each step moves w by 1: to 7, then to 6.
///     optimizer.step([cpu::Binding::new("w", &mut w, &mut gradient)])?;
///     let state = optimizer.read_state();
///     assert!((state.params[0].plane(Plane::Average).unwrap()[0] - expected).abs() < 1e-5);
/// }
/// # Ok::<(), miadam::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Average {
    /// No average.
    #[default]
    None,
    /// An exponential moving average (EMA), at every step: rate = 1 - decay. It is PyTorch's
    /// `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn(decay)`.
    Ema {
        /// In [0, 1]. 0.999 and 0.9999 are usual: the average then reaches back over about 1/(1 - decay) steps.
        decay: f64,
        /// Whether the decay is min(decay, (1 + k)/(10 + k)), so that the first weights do not weigh for long. This is the
        /// rule of TensorFlow's `tf.train.ExponentialMovingAverage`, whose `num_updates` is k here.
        warmup: bool,
    },
    /// All averaged weights count alike, as in stochastic weight averaging (SWA): rate = 1/(k + 1). It is
    /// `torch.optim.swa_utils.AveragedModel` as it is by default, with `update_parameters` called after the steps
    /// `from`, `from + every`, `from + 2·every` and so on.
    ///
    /// > Izmailov, Podoprikhin, Garipov, Vetrov, Wilson: *Averaging Weights Leads to Wider Optima and Better
    /// > Generalization*, UAI 2018, [arXiv 1803.05407](https://arxiv.org/abs/1803.05407).
    Equal {
        /// The first step that is averaged, at least 1. Steps are those that the parameter has taken.
        from: u32,
        /// Steps from an averaging to the next, at least 1: often those of an epoch.
        every: u32,
    },
}

impl Average {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The first step that is averaged, and the steps from an averaging to the next, or 0 for none.
    pub(crate) fn steps(self) -> (u32, u32) {
        match self {
            Self::None => (1, 0),
            Self::Ema { .. } => (1, 1),
            Self::Equal { from, every } => (from, every),
        }
    }

    pub(super) fn validate(&self, group: usize) -> Result<(), Error> {
        match *self {
            Self::None => Ok(()),
            Self::Ema { decay, .. } => check(group, "average.decay", decay, (0.0..=1.0).contains(&decay), "in [0, 1]"),
            Self::Equal { from, every } => {
                check(group, "average.from", from.into(), from > 0, "at least 1, the first step")?;
                check(group, "average.every", every.into(), every > 0, "at least 1")
            }
        }
    }
}
