//! MIAdam in burn.

mod config;
#[cfg(feature = "wgpu")]
mod copies;
#[cfg(feature = "wgpu")]
mod cube;
mod device;
mod engine;
mod error;
pub mod learner;
mod leaves;
mod optimizer;
#[cfg(feature = "wgpu")]
mod order;
mod per_param;

pub use config::MiAdamConfig;
#[cfg(feature = "wgpu")]
pub use device::{register, wgpu_device};
pub use error::{Error, StepError};
pub use miadam;
pub use optimizer::MiAdam;
pub use per_param::{PerParamMiAdam, PerParamState};
