//! On the CPU.

use miadam::cpu::{Binding, MiAdam};
use miadam::{Report, State};

use super::case::{Case, Tensor};
use super::device::{Device, DeviceError};
use crate::values::Values;

/// The CPU twin over host memory.
pub struct OnCpu<'a> {
    case: &'a Case,
    optimizer: MiAdam,
    params: Vec<Values>,
}

impl<'a> OnCpu<'a> {
    /// # Errors
    /// If the optimizer refuses the case.
    pub fn new(case: &'a Case) -> Result<Self, DeviceError> {
        let mut optimizer = MiAdam::new(case.param_groups())?;
        optimizer.set_grad_options(case.grad_options)?;
        let params = case.tensors().map(|tensor| Values::new(tensor.dtype, &tensor.values)).collect();
        Ok(Self { case, optimizer, params })
    }
}

impl Device for OnCpu<'_> {
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), DeviceError> {
        Ok(self.optimizer.set_lr(group, lr)?)
    }

    fn step(&mut self, grads: &[Option<Vec<f32>>]) -> Result<(), DeviceError> {
        self.optimizer.skip(self.case.without_grad(grads))?;
        // Copies, since the case keeps what was recorded, and some options set gradients to 0.
        let copy = |(tensor, grad): (&Tensor, &Option<Vec<f32>>)| Some(Values::new(tensor.dtype, grad.as_ref()?));
        let mut grads: Vec<_> = self.case.tensors().zip(grads).map(copy).collect();
        let tensors = self.case.tensors().zip(&mut self.params).zip(&mut grads);
        Ok(self.optimizer.step(
            tensors.filter_map(|((tensor, param), grad)| Some(Binding::new(&tensor.name, param, grad.as_mut()?))),
        )?)
    }

    fn params(&mut self) -> Result<Vec<Vec<f32>>, DeviceError> {
        Ok(self.params.iter().map(Values::single).collect())
    }

    fn state(&mut self) -> Result<State, DeviceError> {
        Ok(self.optimizer.read_state())
    }

    fn report(&mut self) -> Result<Report, DeviceError> {
        Ok(self.optimizer.read_report())
    }
}
