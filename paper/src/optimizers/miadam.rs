//! MIAdam, by the crate: its CPU optimizer under its own name in the tables.

use ::miadam::{Error, Hyperparams, Param, ParamGroup, cpu};

use super::{Optimizer, Tensor};

/// The crate's optimizer, with any of its hyperparameters: order 0 is Adam, and averages are its own.
pub struct MiAdam {
    hyperparams: Hyperparams,
    optimizer: Option<cpu::MiAdam>,
}

impl MiAdam {
    /// `hyperparams.lr` is not used: each step is told its own.
    pub fn new(hyperparams: Hyperparams) -> Self {
        Self { hyperparams, optimizer: None }
    }

    fn optimizer(&mut self, tensors: &[Tensor<'_>]) -> Result<&mut cpu::MiAdam, Error> {
        let optimizer = match self.optimizer.take() {
            Some(optimizer) => optimizer,
            None => {
                let params = tensors.iter().map(|tensor| Param::new(tensor.name, tensor.values.len()));
                cpu::MiAdam::new([ParamGroup::new(self.hyperparams.clone(), params)])?
            }
        };
        Ok(self.optimizer.insert(optimizer))
    }
}

impl Optimizer for MiAdam {
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), Error> {
        let optimizer = self.optimizer(tensors)?;
        optimizer.set_lr(0, lr)?;
        optimizer.step(bindings(tensors))
    }

    fn swap_averages(&mut self, tensors: &mut [Tensor<'_>]) -> Result<(), Error> {
        match self.optimizer(tensors)?.swap_averages(bindings(tensors)) {
            Err(Error::NoAverages) => Ok(()),
            swapped => swapped,
        }
    }
}

fn bindings<'a>(tensors: &'a mut [Tensor<'_>]) -> impl Iterator<Item = cpu::Binding<'a>> {
    tensors.iter_mut().map(|tensor| cpu::Binding::new(tensor.name, &mut *tensor.values, &mut *tensor.grads))
}
