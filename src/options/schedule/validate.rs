//! The checks of a schedule's values.

use super::Schedule;
use crate::error::Error;
use crate::options::check::check;

impl Schedule {
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
            Self::Linear { start_factor, end_factor, steps } => {
                from_zero("schedule.start_factor", start_factor)?;
                from_zero("schedule.end_factor", end_factor)?;
                count("schedule.steps", steps)
            }
            Self::Polynomial { steps, power, end_factor } => {
                count("schedule.steps", steps)?;
                above_zero("schedule.power", power)?;
                from_zero("schedule.end_factor", end_factor)
            }
            Self::CosineRestarts { steps, growth, end_factor } => {
                count("schedule.steps", steps)?;
                count("schedule.growth", growth)?;
                from_zero("schedule.end_factor", end_factor)
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
            Self::Scaled { factor, ref schedule } => {
                from_zero("schedule.factor", factor)?;
                schedule.validate(group)
            }
        }
    }
}
