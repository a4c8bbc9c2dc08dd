//! How to train, whatever the device.

use miadam::{Dtype, GradOptions, Hyperparams, Param, ParamGroup};
use miadam_support::mnist::network::Weights;

#[derive(Debug, Clone)]
pub struct Recipe {
    pub hyperparams: Hyperparams,
    /// The type of weights and gradients.
    pub dtype: Dtype,
    /// Samples in a batch.
    pub batch_size: usize,
    /// Batches in a step, at least 1.
    pub accumulate: usize,
    /// The options of a step of one batch.
    pub grad_options: GradOptions,
}

impl Recipe {
    /// A step for every batch, by its gradients as they are, in `f32`.
    pub fn new(hyperparams: Hyperparams, batch_size: usize) -> Self {
        Self { hyperparams, dtype: Dtype::F32, batch_size, accumulate: 1, grad_options: GradOptions::default() }
    }

    /// All weights as parameters of these lengths.
    pub fn group(&self, lens: [usize; 4]) -> ParamGroup {
        let params = Weights::NAMES.into_iter().zip(lens);
        let params = params.map(|(name, len)| Param::new(name, len).with_dtype(self.dtype));
        ParamGroup::new(self.hyperparams.clone(), params)
    }

    /// Batches in an epoch of so many samples.
    pub fn batches(&self, samples: usize) -> usize {
        samples.div_ceil(self.batch_size)
    }

    /// Steps in an epoch of so many samples.
    pub fn steps(&self, samples: usize) -> usize {
        self.batches(samples).div_ceil(self.accumulate)
    }

    /// Whether gradients are added to those of the batch before.
    pub fn adds(&self) -> bool {
        self.accumulate > 1
    }

    /// The size of the group of batches that ends with the one at `index` of an epoch's `batches`, if one does.
    pub fn group_ending(&self, index: usize, batches: usize) -> Option<usize> {
        let size = index % self.accumulate + 1;
        (size == self.accumulate || index + 1 == batches).then_some(size)
    }

    /// The options of the step that ends a group of so many batches. It takes the mean of their gradients, and leaves 0 to
    /// add the next ones to.
    pub fn grad_options(&self, batches: usize) -> GradOptions {
        GradOptions { factor: 1.0 / batches as f64, zero: self.adds(), ..self.grad_options }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_where_they_are_full_and_with_the_epoch() {
        let ends = |accumulate, batches| {
            let recipe = Recipe { accumulate, ..Recipe::new(Hyperparams::default(), 1) };
            (0..batches).map(|index| recipe.group_ending(index, batches).unwrap_or(0)).collect::<Vec<_>>()
        };
        assert_eq!(ends(1, 3), [1, 1, 1]);
        assert_eq!(ends(2, 5), [0, 2, 0, 2, 1]);
        assert_eq!(ends(3, 6), [0, 0, 3, 0, 0, 3]);
        assert_eq!(ends(9, 3), [0, 0, 3]);
    }
}
