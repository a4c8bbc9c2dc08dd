//! What the tests share: a device, tensors placed in its buffers, the CPU twin beside the GPU optimizer, and runs on either.

mod empty;
mod gpu;
mod log;
mod rig;
mod run;
mod scatter;

pub use empty::{empty_groups, empty_on_gpu, step_empty};
pub use gpu::{Gpu, gpu};
pub use log::logged;
pub use miadam_support::random::Random;
pub use miadam_support::values::Values;
pub use rig::{Contents, Rig, put};
pub use run::{Groups, OnCpu, OnGpu, Run, Start};
pub use scatter::{Home, Spot, scatter};

/// What does not fit is listed.
pub fn lenient() -> miadam::LoadOptions {
    miadam::LoadOptions { lenient: true, ..Default::default() }
}
