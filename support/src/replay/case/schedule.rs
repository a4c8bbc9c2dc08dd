//! The JSON form of a schedule.

use miadam::Schedule;
use serde::Deserialize;

/// A [`Schedule`], with its variant under `kind`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Described {
    // Braces, since serde lets a variant without them have any field.
    Constant {},
    LinearWarmup { start_factor: f64, steps: u32 },
    Linear { start_factor: f64, end_factor: f64, steps: u32 },
    Polynomial { steps: u32, power: f64, end_factor: f64 },
    Cosine { steps: u32, end_factor: f64 },
    CosineRestarts { steps: u32, growth: u32, end_factor: f64 },
    Step { every: u32, gamma: f64 },
    MultiStep { at: Vec<u32>, gamma: f64 },
    Exponential { gamma: f64 },
    OneCycle { steps: u32, warmup: f64, div_factor: f64, final_div_factor: f64 },
    Sequence { pieces: Vec<(u32, Described)> },
    Scaled { factor: f64, schedule: Box<Described> },
}

impl From<&Described> for Schedule {
    fn from(described: &Described) -> Self {
        match *described {
            Described::Constant {} => Self::Constant,
            Described::LinearWarmup { start_factor, steps } => Self::LinearWarmup { start_factor, steps },
            Described::Linear { start_factor, end_factor, steps } => Self::Linear { start_factor, end_factor, steps },
            Described::Polynomial { steps, power, end_factor } => Self::Polynomial { steps, power, end_factor },
            Described::Cosine { steps, end_factor } => Self::Cosine { steps, end_factor },
            Described::CosineRestarts { steps, growth, end_factor } => {
                Self::CosineRestarts { steps, growth, end_factor }
            }
            Described::Step { every, gamma } => Self::Step { every, gamma },
            Described::MultiStep { ref at, gamma } => Self::MultiStep { at: at.clone(), gamma },
            Described::Exponential { gamma } => Self::Exponential { gamma },
            Described::OneCycle { steps, warmup, div_factor, final_div_factor } => {
                Self::OneCycle { steps, warmup, div_factor, final_div_factor }
            }
            Described::Sequence { ref pieces } => {
                Self::Sequence(pieces.iter().map(|(first, piece)| (*first, piece.into())).collect())
            }
            Described::Scaled { factor, ref schedule } => Self::from(&**schedule).scaled(factor),
        }
    }
}
