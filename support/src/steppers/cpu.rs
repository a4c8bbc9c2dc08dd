//! The CPU optimizer over vectors of the caller's.

use miadam::Error;
use miadam::cpu::{Binding, MiAdam};

use super::{GRAD, Setup};
use crate::cases::Case;
use crate::values::Values;

pub struct CpuStepper {
    optimizer: MiAdam,
    tensors: Vec<Tensor>,
}

struct Tensor {
    name: String,
    param: Values,
    grad: Values,
}

impl CpuStepper {
    /// # Errors
    /// If the optimizer refuses the setup.
    pub fn new(case: &Case, setup: &Setup) -> Result<Self, Error> {
        let group = setup.group(case);
        let filled = |len, value| Values::new(setup.dtype, &vec![value; len]);
        let tensors = group.params.iter().map(|param| Tensor {
            name: param.name.clone(),
            param: filled(param.len, 0.0),
            grad: filled(param.len, GRAD),
        });
        let tensors = tensors.collect();
        let mut optimizer = MiAdam::new([group])?;
        optimizer.set_grad_options(setup.grad_options)?;
        Ok(Self { optimizer, tensors })
    }

    /// One step, the gathering of the bindings included: a caller has to do it, too.
    ///
    /// # Errors
    /// If the optimizer refuses it.
    pub fn step(&mut self) -> Result<(), Error> {
        let tensors = self.tensors.iter_mut();
        self.optimizer.step(tensors.map(|Tensor { name, param, grad }| Binding::new(name, param, grad)))
    }

    /// The parameters of the first and the last tensor.
    pub fn ends(&self) -> Vec<f32> {
        let ends = self.tensors.first().into_iter().chain(self.tensors.last());
        ends.flat_map(|tensor| tensor.param.single()).collect()
    }
}
