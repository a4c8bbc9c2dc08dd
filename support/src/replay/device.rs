//! Where a case is replayed: the same few things on either device.

use miadam::{Report, State};

use super::case::{Case, Step};
use crate::command_line::without_warnings;
use crate::gpu::GpuError;

/// An optimizer with its parameters, in the order of the groups.
pub trait Device {
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), DeviceError>;

    /// One step under the case's options for gradients, with an entry a parameter. One without a gradient is skipped, as
    /// PyTorch does.
    fn step(&mut self, grads: &[Option<Vec<f32>>]) -> Result<(), DeviceError>;

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

    #[error("{0}; try --device cpu")]
    Gpu(#[from] GpuError),
}

/// Finds what the optimizer would refuse, before a device is opened.
///
/// # Errors
/// For the first thing that it would refuse.
pub fn check(case: &Case) -> Result<(), DeviceError> {
    // The optimizer that replays will warn of the same, and once is enough.
    without_warnings(|| check_quietly(case))
}

fn check_quietly(case: &Case) -> Result<(), DeviceError> {
    let mut groups = case.param_groups();
    for (number, group) in groups.iter_mut().enumerate() {
        group.hyperparams.validate(number)?;
        // No state for what takes no step.
        group.params.iter_mut().for_each(|param| param.len = 0);
    }
    let mut optimizer = miadam::cpu::MiAdam::new(groups)?;
    for (step, recorded) in (1..).zip(&case.steps) {
        for (group, &lr) in recorded.lrs.iter().enumerate() {
            optimizer.set_lr(group, lr).map_err(|source| DeviceError::LearningRate { step, source })?;
        }
    }
    Ok(())
}

/// One recorded step, with the learning rates recorded for it.
///
/// # Errors
/// If the optimizer refuses either, or if the device fails.
pub fn replay_step(device: &mut dyn Device, step: &Step) -> Result<(), DeviceError> {
    for (group, &lr) in step.lrs.iter().enumerate() {
        device.set_lr(group, lr)?;
    }
    device.step(&step.grads)
}
