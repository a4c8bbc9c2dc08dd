//! Training on the CPU.

use std::error::Error;

use faer::Accum;
use miadam::{Checkpoint, Dtype, Report, ValuesMut, cpu};
use miadam_support::mnist::data::Data;
use miadam_support::mnist::network::{Score, Weights};
use miadam_support::mnist::on_cpu::Network;
use miadam_support::values::Values;

use crate::recipe::Recipe;
use crate::trainer::{Passed, Trainer};

pub struct CpuTrainer {
    data: Data,
    network: Network,
    /// What the optimizer has instead of the network's own weights and gradients.
    half: Option<Half>,
    optimizer: cpu::MiAdam,
    recipe: Recipe,
}

impl CpuTrainer {
    pub fn new(data: Data, weights: Weights, recipe: Recipe) -> Result<Self, miadam::Error> {
        let mut optimizer = cpu::MiAdam::new([recipe.group(weights.tensors().map(<[f32]>::len))])?;
        optimizer.set_grad_options(recipe.grad_options(recipe.accumulate))?;
        let mut network = Network::new(weights);
        let half = (recipe.dtype != Dtype::F32).then(|| Half::new(recipe.dtype, &network));
        if let Some(half) = &half {
            half.widen(&mut network.weights);
        } else if recipe.adds() {
            network.accum = Accum::Add;
        }
        Ok(Self { data, network, half, optimizer, recipe })
    }

    fn backward(&mut self) {
        self.network.backward();
        if let Some(half) = &mut self.half {
            half.take_grads(&self.network.grads, self.recipe.adds());
        }
    }

    /// A step by the gradients of so many batches.
    fn step(&mut self, batches: usize) -> Result<(), miadam::Error> {
        self.optimizer.set_grad_options(self.recipe.grad_options(batches))?;
        let Network { weights, grads, .. } = &mut self.network;
        let Some(half) = &mut self.half else {
            return self.optimizer.step(bindings(weights.tensors_mut(), grads.tensors_mut()));
        };
        self.optimizer.step(bindings(&mut half.params, &mut half.grads))?;
        half.widen(weights);
        Ok(())
    }

    /// The weights as the optimizer has them.
    fn params_mut(&mut self) -> [ValuesMut<'_>; 4] {
        match &mut self.half {
            Some(half) => half.params.each_mut().map(ValuesMut::from),
            None => self.network.weights.tensors_mut().map(ValuesMut::from),
        }
    }
}

fn bindings<'a, T: Into<ValuesMut<'a>>>(
    params: impl IntoIterator<Item = T>,
    grads: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = cpu::Binding<'a>> {
    let tensors = params.into_iter().zip(grads);
    Weights::NAMES.into_iter().zip(tensors).map(|(name, (param, grad))| cpu::Binding::new(name, param, grad))
}

impl Trainer for CpuTrainer {
    fn train(
        &mut self,
        order: &[u32],
        passed: &mut Passed,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        let mut total = passed.total();
        let batches = order.chunks(self.recipe.batch_size);
        let count = batches.len();
        let mut stop = false;
        for (index, batch) in batches.enumerate().skip(passed.batches) {
            self.network.loss_scale = self.optimizer.read_report().loss_scale;
            total.add(self.network.forward(&self.data.train, batch));
            self.backward();
            passed.batches = index + 1;
            stop |= !go_on(batch.len());
            if let Some(batches) = self.recipe.group_ending(index, count) {
                self.step(batches)?;
                if stop {
                    break;
                }
            }
        }
        passed.totals = vec![total];
        Ok(())
    }

    fn test(&mut self) -> Result<Score, Box<dyn Error>> {
        let mut total = Score::default();
        let all: Vec<u32> = (0..self.data.test.len() as u32).collect();
        // Any size gives the same score; this one keeps the activations in the cache.
        for batch in all.chunks(256) {
            total.add(self.network.forward(&self.data.test, batch));
        }
        Ok(Passed { totals: vec![total], ..Passed::default() }.score(all.len()))
    }

    fn report(&mut self) -> Result<Report, Box<dyn Error>> {
        Ok(self.optimizer.read_report())
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, Box<dyn Error>> {
        let mut checkpoint = self.optimizer.read_checkpoint();
        for (name, param) in Weights::NAMES.into_iter().zip(self.params_mut()) {
            checkpoint.insert_param(name, &param)?;
        }
        Ok(checkpoint)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Box<dyn Error>> {
        self.optimizer.load(checkpoint)?;
        for (name, param) in Weights::NAMES.into_iter().zip(self.params_mut()) {
            checkpoint.copy_param(name, param)?;
        }
        if let Some(half) = &self.half {
            half.widen(&mut self.network.weights);
        }
        Ok(())
    }

    #[cfg(test)]
    fn weights(&self) -> Weights {
        self.network.weights.clone()
    }
}

/// Weights and gradients in half precision. The network computes with the same weights in `f32`.
struct Half {
    dtype: Dtype,
    params: [Values; 4],
    grads: [Values; 4],
}

impl Half {
    fn new(dtype: Dtype, network: &Network) -> Self {
        let rounded = |weights: &Weights| weights.tensors().map(|tensor| Values::new(dtype, tensor));
        Self { dtype, params: rounded(&network.weights), grads: rounded(&network.grads) }
    }

    /// Takes the gradients, or adds them to those that are there.
    fn take_grads(&mut self, grads: &Weights, adds: bool) {
        for (own, grad) in self.grads.iter_mut().zip(grads.tensors()) {
            *own = if adds {
                let sums: Vec<_> = own.single().iter().zip(grad).map(|(own, grad)| own + grad).collect();
                Values::new(self.dtype, &sums)
            } else {
                Values::new(self.dtype, grad)
            };
        }
    }

    fn widen(&self, weights: &mut Weights) {
        for (tensor, param) in weights.tensors_mut().into_iter().zip(&self.params) {
            tensor.copy_from_slice(&param.single());
        }
    }
}
