//! The CPU optimizer over vectors of the caller's.

use miadam::{Error, ParamGroup, cpu};

use super::GRAD;
use crate::cases::Case;

pub struct Cpu {
    optimizer: cpu::MiAdam,
    params: Vec<Vec<f32>>,
    grads: Vec<Vec<f32>>,
}

impl Cpu {
    pub fn new(case: &Case) -> Result<Self, Error> {
        let named = case.lens.iter().enumerate().map(|(number, &len)| cpu::Param::new(number.to_string(), len));
        Ok(Self {
            optimizer: cpu::MiAdam::new([ParamGroup::new(case.hyperparams(), named)])?,
            params: case.lens.iter().map(|&len| vec![0.0; len]).collect(),
            grads: case.lens.iter().map(|&len| vec![GRAD; len]).collect(),
        })
    }

    /// One step, the gathering of the slices included: a caller has to do it, too.
    pub fn step(&mut self) -> Result<(), Error> {
        let mut params: Vec<_> = self.params.iter_mut().map(|param| &mut param[..]).collect();
        let grads: Vec<_> = self.grads.iter().map(|grad| &grad[..]).collect();
        self.optimizer.step(&mut params, &grads)
    }

    /// The parameters of the first and the last tensor.
    pub fn ends(&self) -> Vec<f32> {
        self.params.first().into_iter().chain(self.params.last()).flatten().copied().collect()
    }
}
