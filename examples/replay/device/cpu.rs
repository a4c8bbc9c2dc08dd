use miadam::cpu::{MiAdam, Param, ValuesMut};
use miadam::{ParamGroup, Report, State};

use super::super::case::Case;
use super::{Device, DeviceError};

/// The CPU twin over host memory.
pub struct Cpu {
    optimizer: MiAdam,
    params: Vec<Vec<f32>>,
}

impl Cpu {
    pub fn new(case: &Case) -> Result<Self, DeviceError> {
        let mut optimizer = MiAdam::new(case.groups.iter().map(|group| {
            let params = group.params.iter().map(|tensor| Param::new(&tensor.name, tensor.values.len()));
            ParamGroup::new(group.hyperparams.clone(), params)
        }))?;
        optimizer.set_grad_options(case.grad_options)?;
        Ok(Self { optimizer, params: case.tensors().map(|tensor| tensor.values.clone()).collect() })
    }
}

impl Device for Cpu {
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), DeviceError> {
        Ok(self.optimizer.set_lr(group, lr)?)
    }

    fn step(&mut self, grads: &[Vec<f32>]) -> Result<(), DeviceError> {
        if self.optimizer.grad_options().zero {
            // Copies, since the case keeps what was recorded.
            let mut grads = grads.to_vec();
            let mut grads: Vec<_> = grads.iter_mut().map(|grad| ValuesMut::F32(grad)).collect();
            let mut params: Vec<_> = self.params.iter_mut().map(|param| ValuesMut::F32(param)).collect();
            return Ok(self.optimizer.step_values(&mut params, &mut grads)?);
        }
        let mut params: Vec<_> = self.params.iter_mut().map(|param| &mut param[..]).collect();
        let grads: Vec<_> = grads.iter().map(|grad| &grad[..]).collect();
        Ok(self.optimizer.step(&mut params, &grads)?)
    }

    fn params(&mut self) -> Result<Vec<Vec<f32>>, DeviceError> {
        Ok(self.params.clone())
    }

    fn state(&mut self) -> Result<State, DeviceError> {
        Ok(self.optimizer.state())
    }

    fn report(&mut self) -> Result<Report, DeviceError> {
        Ok(self.optimizer.report())
    }
}
