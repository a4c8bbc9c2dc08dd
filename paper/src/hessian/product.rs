//! The mean loss over samples, its gradient, and its Hessian as an operator.

use miadam_support::mnist::data::Samples;
use rayon::prelude::*;

use super::Operator;
use super::block::Block;
use super::layout::{Parts, dimension, parts, parts_mut};

/// Samples that go through the network together. Their pixels as `f64` measure 0.8 MB.
const BLOCK: usize = 128;
/// Shares of the samples, each of which is one sum. It is the number of sums that fixes their order, not the number of threads.
const SHARES: usize = 16;

/// The mean cross-entropy of the network over some samples, at one point.
///
/// Memory: the activations of all samples (8 bytes for each sample and unit), and 16 vectors of all parameters while there is a
/// product.
pub struct MeanLoss<'a> {
    weights: Vec<f64>,
    hidden: usize,
    samples: &'a Samples,
    count: usize,
    shares: Vec<Vec<Block>>,
}

impl<'a> MeanLoss<'a> {
    /// The loss at `weights`, a vector of [`dimension`] numbers as [`flatten`](super::flatten) gives it, over the samples of
    /// these indices.
    pub fn new(weights: Vec<f64>, hidden: usize, samples: &'a Samples, chosen: &[u32]) -> Self {
        let of_weights = parts(&weights, hidden);
        let forward = |share: &[u32]| {
            share.chunks(BLOCK).map(|rows| Block::forward(&of_weights, samples, rows)).collect::<Vec<_>>()
        };
        let shares = chosen.par_chunks(chosen.len().div_ceil(SHARES).max(1)).map(forward).collect();
        Self { weights, hidden, samples, count: chosen.len(), shares }
    }

    /// In nats.
    pub fn loss(&self) -> f64 {
        self.shares.iter().flatten().map(|block| block.loss).sum::<f64>() / self.count as f64
    }

    /// The gradient of [`loss`](Self::loss).
    pub fn gradient(&self) -> Vec<f64> {
        self.mean(|block, weights, sum| block.add_gradient(weights, self.samples, sum))
    }

    /// What `add` sums up over the blocks, by the number of samples.
    fn mean(&self, add: impl Fn(&Block, &Parts<&[f64]>, &mut Parts<&mut [f64]>) + Sync) -> Vec<f64> {
        let weights = parts(&self.weights, self.hidden);
        let share_sum = |share: &Vec<Block>| {
            let mut sum = vec![0.0; self.dimension()];
            for block in share {
                add(block, &weights, &mut parts_mut(&mut sum, self.hidden));
            }
            sum
        };
        let sums: Vec<_> = self.shares.par_iter().map(share_sum).collect();
        let mut mean = vec![0.0; self.dimension()];
        for sum in sums {
            for (mean, sum) in mean.iter_mut().zip(sum) {
                *mean += sum / self.count as f64;
            }
        }
        mean
    }
}

impl Operator for MeanLoss<'_> {
    fn dimension(&self) -> usize {
        dimension(self.hidden)
    }

    /// The Hessian of [`loss`](Self::loss) · vector.
    fn apply(&self, vector: &[f64]) -> Vec<f64> {
        let direction = parts(vector, self.hidden);
        self.mean(|block, weights, sum| block.add_product(weights, self.samples, &direction, sum))
    }
}
