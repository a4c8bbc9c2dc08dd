//! AdamW: Loshchilov and Hutter, 2019, arXiv 1711.05101, as `torch.optim.AdamW` has it.
//!
//! ```text
//! θ = (1 - α·λ)·θ, then Adam's step
//! ```
//!
//! The paper's decay is not multiplied by α but by its schedule alone. PyTorch's is followed, since its λ is what people quote.

use super::adam::Coefs;
use super::{Optimizer, Saved, State, Tensor};

/// AdamW. [`AdamW::LR`] is its own default for α.
pub struct AdamW {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// λ.
    pub decay: f64,
    state: State<2>,
}

impl AdamW {
    /// PyTorch's α.
    pub const LR: f64 = 1e-3;

    /// β2 0.999, ε 1e-8, λ 1e-2: PyTorch's. Its β1 is 0.9.
    pub fn new(beta1: f64) -> Self {
        Self { beta1, beta2: 0.999, eps: 1e-8, decay: 1e-2, state: State::default() }
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), ::miadam::Error> {
        let t = self.state.next_step(tensors);
        let coefs = Coefs::new(lr, [self.beta1, self.beta2], self.eps, t);
        let kept = (1.0 - lr * self.decay) as f32;
        for (tensor, [m, v]) in tensors.iter_mut().zip(&mut self.state.tensors) {
            let elements = tensor.values.iter_mut().zip(&*tensor.grads);
            for ((value, &grad), (m, v)) in elements.zip(m.iter_mut().zip(v)) {
                *value = kept * *value - coefs.step(grad, m, v);
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
