//! The network that all devices train: 784-`hidden`-10 rectified linear units under softmax cross-entropy.
//!
//! ```text
//! h = max(x·W1 + b1, 0)      z = h·W2ᵀ + b2      p = softmax(z)      loss = -ln p[label]
//! ```

use super::random::Random;

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
    /// The names of the four tensors, in the order of [`tensors`](Self::tensors).
    pub const NAMES: [&'static str; 4] = ["w1", "b1", "w2", "b2"];

    pub fn zeros(hidden: usize) -> Self {
        Self {
            w1: vec![0.0; INPUTS * hidden],
            b1: vec![0.0; hidden],
            w2: vec![0.0; CLASSES * hidden],
            b2: vec![0.0; CLASSES],
        }
    }

    /// Random weights, uniform in ±1/√fan-in: PyTorch's default for linear layers.
    pub fn random(hidden: usize, random: &mut Random) -> Self {
        let mut weights = Self::zeros(hidden);
        let (bound1, bound2) = (1.0 / (INPUTS as f32).sqrt(), 1.0 / (hidden as f32).sqrt());
        for (tensor, bound) in weights.tensors_mut().into_iter().zip([bound1, bound1, bound2, bound2]) {
            tensor.fill_with(|| random.symmetric(bound));
        }
        weights
    }

    /// Units of the hidden layer.
    pub fn hidden(&self) -> usize {
        self.b1.len()
    }

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
