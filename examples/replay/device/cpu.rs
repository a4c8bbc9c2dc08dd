use miadam::cpu::{MiAdam, Param};
use miadam::{Dtype, ParamGroup, Report, State};

use super::super::case::{Case, Tensor};
use super::super::values::Values;
use super::{Device, DeviceError};

/// The CPU twin over host memory.
pub struct Cpu {
    optimizer: MiAdam,
    params: Vec<Values>,
    dtypes: Vec<Dtype>,
}

impl Cpu {
    pub fn new(case: &Case) -> Result<Self, DeviceError> {
        let mut optimizer = MiAdam::new(case.groups.iter().map(|group| {
            let param = |tensor: &Tensor| Param::new(&tensor.name, tensor.values.len()).with_dtype(tensor.dtype);
            let params = group.params.iter().map(param);
            ParamGroup::new(group.hyperparams.clone(), params)
        }))?;
        optimizer.set_grad_options(case.grad_options)?;
        let params = case.tensors().map(|tensor| Values::new(tensor.dtype, &tensor.values)).collect();
        Ok(Self { optimizer, params, dtypes: case.tensors().map(|tensor| tensor.dtype).collect() })
    }
}

impl Device for Cpu {
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), DeviceError> {
        Ok(self.optimizer.set_lr(group, lr)?)
    }

    fn step(&mut self, grads: &[Vec<f32>]) -> Result<(), DeviceError> {
        // Copies, since the case keeps what was recorded, and some options set gradients to 0.
        let mut grads: Vec<_> = self.dtypes.iter().zip(grads).map(|(&dtype, grad)| Values::new(dtype, grad)).collect();
        let mut grads: Vec<_> = grads.iter_mut().map(Values::as_mut).collect();
        let mut params: Vec<_> = self.params.iter_mut().map(Values::as_mut).collect();
        Ok(self.optimizer.step_values(&mut params, &mut grads)?)
    }

    fn params(&mut self) -> Result<Vec<Vec<f32>>, DeviceError> {
        Ok(self.params.iter().map(Values::single).collect())
    }

    fn state(&mut self) -> Result<State, DeviceError> {
        Ok(self.optimizer.state())
    }

    fn report(&mut self) -> Result<Report, DeviceError> {
        Ok(self.optimizer.report())
    }
}
