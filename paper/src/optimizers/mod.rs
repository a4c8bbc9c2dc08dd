//! The paper's optimizers, one file each, over slices on the host.
//!
//! The baselines are written to be read. State is `f32`, as in PyTorch; numbers that all elements share are `f64` until they
//! meet an element. MIAdam is the crate's own.

mod adabound;
mod adai;
mod adam;
mod adamax;
mod adamw;
mod miadam;
mod nadam;
mod nd_adam;
mod swats;

use ::miadam::Error;

pub use adabound::AdaBound;
pub use adai::Adai;
pub use adam::Adam;
pub use adamax::Adamax;
pub use adamw::AdamW;
pub use miadam::MiAdam;
pub use nadam::NAdam;
pub use nd_adam::NdAdam;
pub use swats::Swats;

/// A parameter and its gradient.
pub struct Tensor<'a> {
    pub name: &'a str,
    pub values: &'a mut [f32],
    pub grads: &'a mut [f32],
    /// Which elements are the weights into one unit.
    pub units: Units,
}

/// How the weights into one unit lie in a tensor. ND-Adam alone asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// These are no such weights: biases, norms.
    None,
    /// Each of so many rows has the weights into one unit. The number divides the length.
    Rows(usize),
    /// Each of so many columns has.
    Columns(usize),
}

/// One step after another on the same tensors, in the same order.
pub trait Optimizer: Send {
    /// To be called before the first gradient is computed: some optimizers begin from other weights.
    fn prepare(&mut self, _tensors: &mut [Tensor<'_>]) {}

    /// A step at the learning rate `lr`.
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), Error>;

    /// Puts averages of the weights in their place, and back at the second call. Most optimizers keep none.
    fn swap_averages(&mut self, _tensors: &mut [Tensor<'_>]) -> Result<(), Error> {
        Ok(())
    }

    /// What it has learnt so far. MIAdam has checkpoints of its own, and gives none here.
    fn saved(&self) -> Option<Saved> {
        None
    }

    /// Goes on from there. The optimizer is a new one of the same kind and settings.
    fn load(&mut self, _saved: Saved) {}
}

/// What an optimizer has learnt, for a run that goes on in another process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    pub step: i32,
    /// What all elements share.
    pub numbers: Vec<f64>,
    /// For each parameter its vectors, with a number for each element.
    pub tensors: Vec<Vec<Vec<f32>>>,
}

/// The step count, and `N` numbers for each element, 0 at first.
struct State<const N: usize> {
    step: i32,
    tensors: Vec<[Vec<f32>; N]>,
}

impl<const N: usize> Default for State<N> {
    fn default() -> Self {
        Self { step: 0, tensors: Vec::new() }
    }
}

impl<const N: usize> State<N> {
    /// Counts a step, from 1. The first one makes the state of these tensors.
    fn next_step(&mut self, tensors: &[Tensor<'_>]) -> i32 {
        if self.tensors.is_empty() {
            self.tensors =
                tensors.iter().map(|tensor| std::array::from_fn(|_| vec![0.0; tensor.values.len()])).collect();
        }
        self.step += 1;
        self.step
    }

    fn saved(&self, numbers: &[f64]) -> Option<Saved> {
        let tensors = self.tensors.iter().map(|vectors| vectors.to_vec()).collect();
        Some(Saved { step: self.step, numbers: numbers.to_vec(), tensors })
    }

    /// Vectors that are not there are 0.
    fn load(&mut self, saved: Saved) {
        self.step = saved.step;
        let array = |vectors: Vec<Vec<f32>>| {
            let len = vectors.first().map_or(0, Vec::len);
            let mut vectors = vectors.into_iter();
            std::array::from_fn(|_| vectors.next().unwrap_or_else(|| vec![0.0; len]))
        };
        self.tensors = saved.tensors.into_iter().map(array).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(optimizer: &mut dyn Optimizer, values: &mut [f32], t: usize) {
        let mut grads: Vec<f32> = values.iter().map(|value| value - 0.1 * t as f32).collect();
        let tensor = Tensor { name: "w", values, grads: &mut grads, units: Units::Rows(2) };
        optimizer.step(1e-2, &mut [tensor]).unwrap();
    }

    #[test]
    fn a_loaded_optimizer_goes_on_with_the_same_bits() {
        let swats = || {
            // It switches at the second step.
            let mut swats = Swats::new(0.9);
            swats.threshold = 1e3;
            swats
        };
        let kinds: [&dyn Fn() -> Box<dyn Optimizer>; 8] = [
            &|| Box::new(Adam::new(0.9)),
            &|| Box::new(AdamW::new(0.9)),
            &|| Box::new(NAdam::new(0.9)),
            &|| Box::new(NdAdam::new(0.9)),
            &|| Box::new(Adamax::new(0.9)),
            &|| Box::new(AdaBound::new(0.9, 1e-2)),
            &|| Box::new(Adai::new()),
            &|| Box::new(swats()),
        ];
        for (number, new) in kinds.iter().enumerate() {
            let (mut optimizer, mut values) = (new(), [1.0, -2.0, 0.5, 0.25]);
            for t in 1..=3 {
                step(&mut *optimizer, &mut values, t);
            }
            let mut other = new();
            other.load(optimizer.saved().unwrap());
            let mut other_values = values;
            for t in 4..=6 {
                step(&mut *optimizer, &mut values, t);
                step(&mut *other, &mut other_values, t);
            }
            assert_eq!(values, other_values, "optimizer {number}");
        }
        let (mut switched, mut values) = (swats(), [1.0; 4]);
        (1..=3).for_each(|t| step(&mut switched, &mut values, t));
        assert!(switched.has_switched());
    }
}
