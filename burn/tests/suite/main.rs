//! miadam-burn against the core's CPU twin and burn's own optimizers, on burn's wgpu backend and on its CPU backend.

mod common;
#[cfg(feature = "wgpu")]
mod copies;
mod devices;
mod layout;
mod learner;
mod options;
mod per_param;
mod processes;
mod refused;
mod shared;
mod trajectory;
