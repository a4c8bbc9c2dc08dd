//! miadam-burn against the core's CPU twin and burn's own optimizers, on burn's wgpu backend and on its CPU backend.

mod common;
mod devices;
mod layout;
mod per_param;
mod shared;
mod trajectory;
