//! The device's side: shaders, pipelines and buffers, all of them made inside error scopes.

mod advance;
mod memory;
mod pipelines;
mod shader;
mod update;

pub(crate) use advance::Advance;
pub(crate) use memory::{Memory, scoped};
use pipelines::Pipelines;
pub use shader::{adopt_wgsl, advance_wgsl, measure_wgsl, update_wgsl};
pub(crate) use update::{PageBuffers, Update};
