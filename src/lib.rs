//! MIAdam on every GPU that wgpu reaches.
#![forbid(unsafe_code)]
mod coefs;
pub mod cpu;
mod error;
mod group;
mod hyperparams;
mod optimizer;
mod state;

pub use error::Error;
pub use group::{Param, ParamGroup, Role, Slice};
pub use hyperparams::{Hyperparams, StepScale, WeightDecay};
pub use optimizer::MiAdam;
pub use state::{State, TensorState};
