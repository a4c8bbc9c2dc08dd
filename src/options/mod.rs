//! The caller's settings, and the checks of each value.

mod average;
mod check;
mod gradients;
mod hyperparams;
mod loading;
mod presets;
mod schedule;

pub use average::Average;
pub(crate) use gradients::LARGEST_SCALE;
pub use gradients::{GradOptions, GradScaler};
pub use hyperparams::{HalfParams, Hyperparams, StatePrecision, StepScale, WeightDecay};
pub use loading::LoadOptions;
pub use schedule::Schedule;
