//! One test binary; each module is a concern. GPU tests need an adapter (on Linux without a GPU:
//! `apt-get install mesa-vulkan-drivers libvulkan1`) and fail without one, unless MIADAM_ALLOW_NO_ADAPTER is set.

mod bridge;
mod checkpoint;
mod checkpoint_files;
mod coefs;
mod common;
mod cpu;
mod embedding;
mod errors;
mod golden;
mod gradients;
mod groups;
mod half;
mod layout;
mod limits;
mod memory;
mod mixed;
mod pairwise;
mod parity;
mod plan;
mod report;
mod schedule;
mod shaders;
#[path = "../../examples/shared/values.rs"]
mod values;
