use std::f64::consts::FRAC_PI_2;

use serde::{Deserialize, Serialize};

use super::check::check;
use crate::error::Error;

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
/// // Warm-up over 500 steps, then half a cosine over 9 500 down to 0.
/// let warmup = Schedule::LinearWarmup { start_factor: 0.01, steps: 500 };
/// let cosine = Schedule::Cosine { steps: 9_500, end_factor: 0.0 };
/// let schedule = Schedule::Sequence(vec![(0, warmup), (500, cosine)]);
/// assert_eq!([0, 500, 10_000, 1_000_000].map(|step| schedule.factor(step)), [0.01, 1.0, 0.0, 0.0]);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Schedule {
    /// f = 1: the learning rate is [`lr`](crate::Hyperparams::lr), or the caller's own number for each step through
    /// `set_lr`.
    #[default]
    Constant,

    /// `f(k) = s + (1-s)·min(k, K)/K`, with s = `start_factor` and K = `steps`: PyTorch's `LinearLR` with
    /// `end_factor=1`, `total_iters=K`.
    LinearWarmup {
        /// f at the first step, in [0, 1]. PyTorch refuses 0.
        start_factor: f64,
        /// Steps until the full learning rate, at least 1.
        steps: u32,
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
    /// beside it: here a piece is what it is alone.
    Sequence(
        /// Each piece after its first step: 0 for the first piece, and ascending.
        Vec<(u32, Schedule)>,
    ),
}

impl Schedule {
    /// f(`step`), the factor on the learning rate of the step that comes after `step` others.
    #[must_use]
    pub fn factor(&self, step: u32) -> f64 {
        let k = f64::from(step);
        match *self {
            Self::Constant => 1.0,
            Self::LinearWarmup { steps, .. } if step >= steps => 1.0,
            Self::LinearWarmup { start_factor, steps } => start_factor + (1.0 - start_factor) * k / f64::from(steps),
            Self::Cosine { steps, end_factor } if step >= steps => end_factor,
            Self::Cosine { steps, end_factor } => anneal(1.0, end_factor, k, f64::from(steps)),
            Self::Step { every, gamma } => gamma.powf(f64::from(step.checked_div(every).unwrap_or(0))),
            Self::MultiStep { ref at, gamma } => gamma.powf(at.partition_point(|&milestone| milestone <= step) as f64),
            Self::Exponential { gamma } => gamma.powf(k),
            Self::OneCycle { steps, warmup, div_factor, final_div_factor } => {
                let start = 1.0 / div_factor;
                let end = start / final_div_factor;
                let last = f64::from(steps) - 1.0;
                let peak = warmup * f64::from(steps) - 1.0;
                if k > last {
                    // A warm-up to the very end has nothing but the peak to keep.
                    if peak < last { end } else { 1.0 }
                } else if k < peak {
                    anneal(start, 1.0, k, peak)
                } else if k == peak {
                    1.0
                } else {
                    anneal(1.0, end, k - peak, last - peak)
                }
            }
            Self::Sequence(ref pieces) => {
                let next = pieces.partition_point(|&(first, _)| first <= step);
                let piece = next.checked_sub(1).and_then(|piece| pieces.get(piece));
                piece.map_or(1.0, |(first, schedule)| schedule.factor(step.saturating_sub(*first)))
            }
        }
    }

    /// The largest factor up to `last`, or a little above it.
    pub(crate) fn largest_factor(&self, last: u32) -> f64 {
        match self {
            Self::Sequence(pieces) => {
                let ends = pieces.iter().skip(1).map(|&(first, _)| first.saturating_sub(1)).chain([last]);
                pieces
                    .iter()
                    .zip(ends)
                    .take_while(|((first, _), _)| *first <= last)
                    .map(|((first, schedule), end)| schedule.largest_factor(end.min(last).saturating_sub(*first)))
                    .fold(0.0, f64::max)
            }
            // It goes up and down, or down and up: the largest factor is at an end or at the peak.
            Self::OneCycle { .. } => self.factor(0).max(self.factor(last)).max(1.0),
            // All others go one way, so that the largest factor is at an end.
            _ => self.factor(0).max(self.factor(last)),
        }
    }

    /// Checks every value; `group` is what an error calls the group.
    pub(crate) fn validate(&self, group: usize) -> Result<(), Error> {
        let check = |field, value: f64, holds, expected| check(group, field, value, holds, expected);
        let from_zero = |field, value: f64| check(field, value, value >= 0.0, "at least 0 and finite");
        let above_zero = |field, value: f64| check(field, value, value > 0.0, "above 0 and finite");
        let fraction = |field, value: f64| check(field, value, (0.0..=1.0).contains(&value), "in [0, 1]");
        let count = |field, value: u32| check(field, f64::from(value), value > 0, "at least 1");
        match *self {
            Self::Constant => Ok(()),
            Self::LinearWarmup { start_factor, steps } => {
                fraction("schedule.start_factor", start_factor)?;
                count("schedule.steps", steps)
            }
            Self::Cosine { steps, end_factor } => {
                count("schedule.steps", steps)?;
                from_zero("schedule.end_factor", end_factor)
            }
            Self::Step { every, gamma } => {
                count("schedule.every", every)?;
                from_zero("schedule.gamma", gamma)
            }
            Self::MultiStep { ref at, gamma } => {
                for pair in at.windows(2) {
                    let expected = "no less than the milestone before it";
                    check("schedule.at", f64::from(pair[1]), pair[0] <= pair[1], expected)?;
                }
                from_zero("schedule.gamma", gamma)
            }
            Self::Exponential { gamma } => from_zero("schedule.gamma", gamma),
            Self::OneCycle { steps, warmup, div_factor, final_div_factor } => {
                count("schedule.steps", steps)?;
                fraction("schedule.warmup", warmup)?;
                above_zero("schedule.div_factor", div_factor)?;
                above_zero("schedule.final_div_factor", final_div_factor)
            }
            Self::Sequence(ref pieces) => {
                check("schedule.pieces", pieces.len() as f64, !pieces.is_empty(), "at least 1 in a sequence")?;
                let mut before = None;
                for &(first, ref schedule) in pieces {
                    let (holds, expected) = match before {
                        None => (first == 0, "0 for the first piece of a sequence"),
                        Some(before) => (first > before, "above that of the piece before it"),
                    };
                    check("schedule.first_step", f64::from(first), holds, expected)?;
                    schedule.validate(group)?;
                    before = Some(first);
                }
                Ok(())
            }
        }
    }
}

/// The value after `done` of `all` steps from `start` to `end` along half a cosine:
/// `end + (start-end)·(1 + cos(π·done/all))/2`. It is computed by the half-angle, so that nothing cancels near the end.
fn anneal(start: f64, end: f64, done: f64, all: f64) -> f64 {
    end + (start - end) * (FRAC_PI_2 * ((all - done) / all)).sin().powi(2)
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn no_factor_is_above_the_largest() {
        let one_cycle = |warmup, div_factor, final_div_factor| Schedule::OneCycle {
            steps: 40,
            warmup,
            div_factor,
            final_div_factor,
        };
        let mut schedules = vec![
            Schedule::Constant,
            Schedule::LinearWarmup { start_factor: 0.1, steps: 30 },
            Schedule::Cosine { steps: 30, end_factor: 0.0 },
            Schedule::Cosine { steps: 30, end_factor: 4.0 },
            Schedule::Step { every: 7, gamma: 0.5 },
            Schedule::Step { every: 7, gamma: 1.5 },
            Schedule::MultiStep { at: vec![0, 3, 3, 20], gamma: 0.1 },
            Schedule::MultiStep { at: vec![0, 3, 3, 20], gamma: 10.0 },
            Schedule::Exponential { gamma: 0.9 },
            Schedule::Exponential { gamma: 1.1 },
            one_cycle(0.5, 25.0, 1e4),
            one_cycle(0.0, 0.1, 0.1),
            one_cycle(1.0, 0.5, 10.0),
        ];
        let pieces = |second: u32| move |pair: &[Schedule]| vec![(0, pair[0].clone()), (second, pair[1].clone())];
        let sequences: Vec<_> = [1, 25]
            .iter()
            .flat_map(|&second| schedules.windows(2).map(pieces(second)))
            .map(Schedule::Sequence)
            .collect();
        schedules.extend(sequences);
        for schedule in schedules {
            for last in [0, 1, 6, 24, 25, 26, 100] {
                let largest = (0..=last).map(|step| schedule.factor(step)).fold(0.0, f64::max);
                let bound = schedule.largest_factor(last);
                assert!(largest <= bound, "{schedule:?} reaches {largest}, above {bound}");
                // One-cycle schedules that end before their peak, or whose peak lies between two steps.
                let is_exact = !format!("{schedule:?}").contains("OneCycle");
                assert!(!is_exact || largest == bound, "{schedule:?} reaches {largest}, not {bound}");
            }
        }
    }
}
