//! The CPU optimizer over vectors of the caller's.

use miadam::Error;
use miadam::cpu::{Binding, MiAdam};

use super::{GRAD, Setup};
use crate::cases::Case;
use crate::values::Values;

pub struct CpuStepper {
    pub optimizer: MiAdam,
    names: Vec<String>,
    params: Vec<Values>,
    grads: Vec<Values>,
}

impl CpuStepper {
    /// # Errors
    /// If the optimizer refuses the setup.
    pub fn new(case: &Case, setup: &Setup) -> Result<Self, Error> {
        let group = setup.group(case);
        let filled = |value| group.params.iter().map(move |param| Values::new(setup.dtype, &vec![value; param.len]));
        let (params, grads) = (filled(0.0).collect(), filled(GRAD).collect());
        let names = group.params.iter().map(|param| param.name.clone()).collect();
        let mut optimizer = MiAdam::new([group])?;
        optimizer.set_grad_options(setup.grad_options)?;
        Ok(Self { optimizer, names, params, grads })
    }

    /// One step, the gathering of the bindings included: a caller has to do it, too.
    ///
    /// # Errors
    /// If the optimizer refuses it.
    pub fn step(&mut self) -> Result<(), Error> {
        let tensors = self.names.iter().zip(&mut self.params).zip(&mut self.grads);
        self.optimizer.step(tensors.map(|((name, param), grad)| Binding::new(name, param, grad)))
    }

    /// The parameters of the first and the last tensor.
    pub fn ends(&self) -> Vec<f32> {
        self.params.first().into_iter().chain(self.params.last()).flat_map(Values::single).collect()
    }
}
