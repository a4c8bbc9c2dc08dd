//! The factor of each schedule at each step, and the largest of them.

use std::f64::consts::FRAC_PI_2;

use super::Schedule;

impl Schedule {
    /// f(`step`), the factor on the learning rate of the step that comes after `step` others.
    #[must_use]
    pub fn factor(&self, step: u32) -> f64 {
        let k = f64::from(step);
        match *self {
            Self::Constant => 1.0,
            Self::LinearWarmup { steps, .. } if step >= steps => 1.0,
            Self::LinearWarmup { start_factor, steps } => start_factor + (1.0 - start_factor) * k / f64::from(steps),
            Self::Linear { start_factor, end_factor, steps } => linear(start_factor, end_factor, step, steps),
            Self::Polynomial { steps, end_factor, .. } if step >= steps => end_factor,
            Self::Polynomial { steps, power, end_factor } => {
                let left = f64::from(steps - step) / f64::from(steps);
                end_factor + (1.0 - end_factor) * left.powf(power)
            }
            Self::Cosine { steps, end_factor } if step >= steps => end_factor,
            Self::Cosine { steps, end_factor } => anneal(1.0, end_factor, k, f64::from(steps)),
            Self::CosineRestarts { steps, growth, end_factor } => {
                let (done, all) = cycle(step, steps, growth);
                anneal(1.0, end_factor, f64::from(done), all as f64)
            }
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
            Self::Scaled { factor, ref schedule } => scale(factor, schedule.factor(step)),
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
            Self::Scaled { factor, schedule } => scale(*factor, schedule.largest_factor(last)),
            // What goes up is highest at the end of a cycle: of the present one, or of the longest that is over.
            Self::CosineRestarts { steps, growth, .. } => {
                let (done, _) = cycle(last, *steps, *growth);
                let over = last.saturating_sub(done).saturating_sub(1);
                self.factor(0).max(self.factor(over)).max(self.factor(last))
            }
            // It goes up and down, or down and up: the largest factor is at an end or at the peak.
            Self::OneCycle { .. } => self.factor(0).max(self.factor(last)).max(1.0),
            // All others go one way, so that the largest factor is at an end.
            _ => self.factor(0).max(self.factor(last)),
        }
    }
}

/// The value at `step` of `steps` on a straight line from `start` to `end`, where it stays.
fn linear(start: f64, end: f64, step: u32, steps: u32) -> f64 {
    let all = f64::from(steps);
    // From the lower end, so that nothing cancels.
    if step >= steps {
        end
    } else if start < end {
        start + (end - start) * (f64::from(step) / all)
    } else {
        end + (start - end) * (f64::from(steps - step) / all)
    }
}

/// Of the cycle that `step` is in: the steps of it that are done, and its length.
fn cycle(step: u32, steps: u32, growth: u32) -> (u32, u64) {
    // What `validate` refuses must not hang or panic either.
    let steps = steps.max(1);
    if growth <= 1 {
        return (step % steps, steps.into());
    }
    let (mut done, mut length) = (step, u64::from(steps));
    // At most 32 times, since the length doubles at least. It is below 2³² before it is multiplied.
    while let Some(rest) = u32::try_from(length).ok().and_then(|length| done.checked_sub(length)) {
        done = rest;
        length *= u64::from(growth);
    }
    (done, length)
}

/// c·g, and 0 for c = 0, even if g has grown to infinity.
fn scale(factor: f64, of: f64) -> f64 {
    if factor == 0.0 { 0.0 } else { factor * of }
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
            Schedule::Linear { start_factor: 0.3, end_factor: 0.0, steps: 30 },
            Schedule::Linear { start_factor: 1.7, end_factor: 1.7, steps: 30 },
            Schedule::Linear { start_factor: 0.0, end_factor: 3.0, steps: 25 },
            Schedule::Polynomial { steps: 30, power: 0.5, end_factor: 0.0 },
            Schedule::Polynomial { steps: 25, power: 3.0, end_factor: 4.0 },
            Schedule::CosineRestarts { steps: 6, growth: 1, end_factor: 0.0 },
            Schedule::CosineRestarts { steps: 6, growth: 1, end_factor: 4.0 },
            Schedule::CosineRestarts { steps: 1, growth: 2, end_factor: 4.0 },
            Schedule::CosineRestarts { steps: 8, growth: 3, end_factor: 2.0 },
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
        let scaled: Vec<_> =
            [0.0, 0.3, 5.0].iter().flat_map(|&by| schedules.iter().map(move |one| one.clone().scaled(by))).collect();
        schedules.extend(scaled);
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
