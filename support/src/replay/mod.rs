//! A run recorded elsewhere, and its replay on either device.

mod case;
mod cpu;
mod device;
mod gpu;

pub use case::{Case, CaseError, Group, Step, Tensor};
pub use cpu::OnCpu;
pub use device::{Device, DeviceError, check, replay_step};
pub use gpu::OnGpu;
