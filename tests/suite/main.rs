//! One test binary; each module is a concern. GPU tests need an adapter (on Linux without a GPU:
//! `apt-get install mesa-vulkan-drivers libvulkan1`) and fail without one, unless MIADAM_ALLOW_NO_ADAPTER is set.

mod asynchronous;
mod bindings;
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
mod loss_scale;
mod lost;
mod memory;
mod mixed;
mod modules;
mod nothing;
mod pairwise;
mod parity;
mod plan;
mod planes;
mod readback;
mod readme;
mod refused;
mod report;
mod schedule;
mod shaders;
mod snapshot;
mod written;
