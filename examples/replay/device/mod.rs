//! Where a case is replayed: the same four things on either device.

mod cpu;
mod gpu;

use miadam::State;

pub use cpu::Cpu;
pub use gpu::Gpu;

use super::case::Step;

/// An optimizer with its parameters, in the order of the groups.
pub trait Device {
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), miadam::Error>;

    /// One step by one gradient a parameter.
    fn step(&mut self, grads: &[Vec<f32>]) -> Result<(), DeviceError>;

    fn params(&mut self) -> Result<Vec<Vec<f32>>, DeviceError>;

    fn state(&mut self) -> Result<State, DeviceError>;
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error(transparent)]
    Optimizer(#[from] miadam::Error),

    #[error("metadata `lr_per_step`: {0}")]
    LearningRate(#[source] miadam::Error),

    #[error("the device failed to {operation}: {reason}; try --device cpu")]
    Refused { operation: &'static str, reason: String },

    #[error("the device did not finish within {seconds} s; try --device cpu, or a case with smaller tensors")]
    Timeout { seconds: u64 },
}

/// One recorded step, with the learning rates recorded for it.
pub fn replay_step(device: &mut dyn Device, step: &Step) -> Result<(), DeviceError> {
    for (group, &lr) in step.lrs.iter().enumerate() {
        device.set_lr(group, lr).map_err(DeviceError::LearningRate)?;
    }
    device.step(&step.grads)
}
