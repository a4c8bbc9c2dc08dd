//! The GPU half: kernels, buffers, the recording of steps, and the way to and from the device.

mod adoption;
mod asynchronous;
mod averages;
mod binding;
mod bound_plan;
mod changes;
mod device;
mod device_state;
mod futures;
mod kernels;
mod known;
mod limits;
mod loading;
mod memory;
mod moves;
mod optimizer;
mod others;
mod overlap;
mod owned;
mod probe;
mod readback;
mod reading;
mod recorded;
mod routes;
mod rows;
pub mod shader;
mod sharing;
mod upload;

pub use binding::{Binding, Slice};
pub use device::Gpu;
pub use limits::plan_limits;
pub use optimizer::MiAdam;
pub use others::OtherGrad;
pub use readback::Readback;
pub use rows::Rows;
