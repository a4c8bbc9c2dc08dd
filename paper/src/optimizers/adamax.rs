//! Adamax: Kingma and Ba, 2015, arXiv 1412.6980, Algorithm 2, as `torch.optim.Adamax` has it.
//!
//! ```text
//! m = β1·m + (1-β1)·g      u = max(β2·u, |g| + ε)
//! θ = θ - α·m / ((1-β1ᵗ)·u)
//! ```
//!
//! The paper has no ε. PyTorch's is followed: without it, an element whose gradient has been 0 throughout is 0/0.

use super::{Optimizer, Saved, State, Tensor};

/// Adamax. [`Adamax::LR`] is its own default for α.
pub struct Adamax {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    state: State<2>,
}

impl Adamax {
    /// The paper's and PyTorch's α.
    pub const LR: f64 = 2e-3;

    /// β2 0.999, ε 1e-8: PyTorch's. Its β1 is 0.9.
    pub fn new(beta1: f64) -> Self {
        Self { beta1, beta2: 0.999, eps: 1e-8, state: State::default() }
    }
}

impl Optimizer for Adamax {
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), ::miadam::Error> {
        let t = self.state.next_step(tensors);
        let rate = (lr / (1.0 - self.beta1.powi(t))) as f32;
        let [beta1, other1, beta2, eps] =
            [self.beta1, 1.0 - self.beta1, self.beta2, self.eps].map(|value| value as f32);
        for (tensor, [m, u]) in tensors.iter_mut().zip(&mut self.state.tensors) {
            let elements = tensor.values.iter_mut().zip(&*tensor.grads);
            for ((value, &grad), (m, u)) in elements.zip(m.iter_mut().zip(u)) {
                *m = beta1 * *m + other1 * grad;
                *u = (beta2 * *u).max(grad.abs() + eps);
                *value -= rate * *m / *u;
            }
        }
        Ok(())
    }

    fn saved(&self) -> Option<Saved> {
        self.state.saved(&[])
    }

    fn load(&mut self, saved: Saved) {
        self.state.load(saved);
    }
}
