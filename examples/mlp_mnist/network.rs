//! What both devices train: a 784-`hidden`-10 network of rectified linear units under softmax cross-entropy.
//!
//! ```text
//! h = max(x·W1 + b1, 0)      z = h·W2ᵀ + b2      p = softmax(z)      loss = -ln p[label]
//! ```

use std::error::Error;

use miadam::{Checkpoint, Report};

use crate::random::Random;

/// Pixels of an image.
pub const INPUTS: usize = 28 * 28;
/// The ten digits.
pub const CLASSES: usize = 10;

/// The parameters, or their gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// [`INPUTS`] rows of `hidden`.
    pub w1: Vec<f32>,
    /// `hidden`.
    pub b1: Vec<f32>,
    /// [`CLASSES`] rows of `hidden`: W2 lies transposed, so that both of its uses read along rows.
    pub w2: Vec<f32>,
    /// [`CLASSES`].
    pub b2: Vec<f32>,
}

impl Weights {
    pub fn zeros(hidden: usize) -> Self {
        Self {
            w1: vec![0.0; INPUTS * hidden],
            b1: vec![0.0; hidden],
            w2: vec![0.0; CLASSES * hidden],
            b2: vec![0.0; CLASSES],
        }
    }

    /// Uniform in ±1/√fan-in, PyTorch's default for linear layers.
    pub fn random(hidden: usize, random: &mut Random) -> Self {
        let mut weights = Self::zeros(hidden);
        let (bound1, bound2) = (1.0 / (INPUTS as f32).sqrt(), 1.0 / (hidden as f32).sqrt());
        for (tensor, bound) in weights.tensors_mut().into_iter().zip([bound1, bound1, bound2, bound2]) {
            tensor.fill_with(|| random.symmetric(bound));
        }
        weights
    }

    /// The names of the four tensors, in the order of [`tensors`](Self::tensors).
    pub const NAMES: [&'static str; 4] = ["w1", "b1", "w2", "b2"];

    pub fn tensors(&self) -> [&[f32]; 4] {
        [&self.w1, &self.b1, &self.w2, &self.b2]
    }

    pub fn tensors_mut(&mut self) -> [&mut [f32]; 4] {
        [&mut self.w1, &mut self.b1, &mut self.w2, &mut self.b2]
    }
}

/// Means over samples, or sums.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// Cross-entropy in nats.
    pub loss: f64,
    /// Fraction of samples whose largest logit is the label's.
    pub accuracy: f64,
}

impl Score {
    pub fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.accuracy += other.accuracy;
    }
}

/// How far a pass over samples has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Passed {
    pub batches: usize,
    /// Sums over their samples, each batch before its own step. A device may keep several, which count together.
    pub totals: Vec<Score>,
}

impl Passed {
    pub fn total(&self) -> Score {
        let mut total = Score::default();
        self.totals.iter().for_each(|&part| total.add(part));
        total
    }

    /// Means over all of so many samples.
    pub fn score(&self, samples: usize) -> Score {
        let Score { loss, accuracy } = self.total();
        Score { loss: loss / samples as f64, accuracy: accuracy / samples as f64 }
    }
}

/// A network, its data and its optimizer on one device.
pub trait Trainer {
    /// Goes on with a pass over the training samples in the given order, from where `passed` says that it is, to the end,
    /// or to the next step once `go_on`, which is told of batches and their samples as they get done, says no.
    fn train(
        &mut self,
        order: &[u32],
        passed: &mut Passed,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), Box<dyn Error>>;

    /// The score on the held-out samples.
    fn test(&mut self) -> Result<Score, Box<dyn Error>>;

    /// The optimizer's numbers after the last step.
    fn report(&mut self) -> Result<Report, Box<dyn Error>>;

    /// Of the optimizer and the weights as they are now, the same whatever the device.
    fn checkpoint(&mut self) -> Result<Checkpoint, Box<dyn Error>>;

    /// Takes the optimizer and the weights of a checkpoint, in place of what they are.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Box<dyn Error>>;

    #[cfg(test)]
    fn weights(&self) -> Weights;

    /// A whole pass.
    #[cfg(test)]
    fn epoch(&mut self, order: &[u32]) -> Score {
        let mut passed = Passed::default();
        self.train(order, &mut passed, &mut |_| true).unwrap();
        passed.score(order.len())
    }
}
