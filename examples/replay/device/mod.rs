//! Where a case is replayed: the same few things on either device.

mod cpu;
mod gpu;
#[path = "../../shared/wait.rs"]
mod wait;

use miadam::cpu::Param;
use miadam::{ParamGroup, Report, State};

pub use cpu::Cpu;
pub use gpu::Gpu;

use super::case::{Case, Step, Tensor};

/// An optimizer with its parameters, in the order of the groups.
pub trait Device {
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), DeviceError>;

    /// One step by one gradient a parameter, under the case's options for gradients.
    fn step(&mut self, grads: &[Vec<f32>]) -> Result<(), DeviceError>;

    fn params(&mut self) -> Result<Vec<Vec<f32>>, DeviceError>;

    fn state(&mut self) -> Result<State, DeviceError>;

    fn report(&mut self) -> Result<Report, DeviceError>;
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error(transparent)]
    Optimizer(#[from] miadam::Error),

    #[error("metadata `lr_per_step`, step {step}: {source}")]
    LearningRate { step: usize, source: miadam::Error },

    #[error("the device failed to {operation}: {reason}; try --device cpu")]
    Refused { operation: &'static str, reason: String },
}

/// Finds what the optimizer would refuse, before a device is opened.
pub fn check(case: &Case) -> Result<(), DeviceError> {
    for (number, group) in case.groups.iter().enumerate() {
        group.hyperparams.validate(number)?;
    }
    let named = case.groups.iter().map(|group| {
        let typed = |tensor: &Tensor| Param::new(&tensor.name, 0).with_dtype(tensor.dtype);
        ParamGroup::new(group.hyperparams.clone(), group.params.iter().map(typed))
    });
    let mut optimizer = miadam::cpu::MiAdam::new(named)?;
    for (step, recorded) in (1..).zip(&case.steps) {
        for (group, &lr) in recorded.lrs.iter().enumerate() {
            optimizer.set_lr(group, lr).map_err(|source| DeviceError::LearningRate { step, source })?;
        }
    }
    Ok(())
}

/// One recorded step, with the learning rates recorded for it.
pub fn replay_step(device: &mut dyn Device, step: &Step) -> Result<(), DeviceError> {
    for (group, &lr) in step.lrs.iter().enumerate() {
        device.set_lr(group, lr)?;
    }
    device.step(&step.grads)
}
