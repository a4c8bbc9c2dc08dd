//! MIAdam on every GPU that wgpu reaches.
#![forbid(unsafe_code)]

mod coefs;
pub mod cpu;
mod error;
mod gpu;
mod group;
mod hyperparams;
mod optimizer;
mod readback;
mod state;

// For this crate's own tests and fuzzers; outside the versioning promise.
#[doc(hidden)]
pub mod layout;
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub use gpu::{advance_wgsl, update_wgsl};

pub use error::Error;
pub use group::{Param, ParamGroup, Role, Slice};
pub use hyperparams::{Hyperparams, StepScale, WeightDecay};
pub use optimizer::MiAdam;
pub use state::{State, TensorState};
