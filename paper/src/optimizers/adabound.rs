//! AdaBound: Luo, Xiong, Liu and Sun, 2019, arXiv 1902.09843, as the authors' code has it.
//!
//! ```text
//! m = β1·m + (1-β1)·g              v = β2·v + (1-β2)·g²
//! f = α_f·α/α_0                    lower = f·(1 - 1/(γ·t + 1))      upper = f·(1 + 1/(γ·t))
//! θ = θ - clamp(α·√(1-β2ᵗ)/(1-β1ᵗ) / (√v + ε), lower, upper)·m
//! ```
//!
//! The paper's Algorithm 1 has no bias correction and no ε, divides the rate by √t, and does not say how a schedule moves the
//! bounds. The code is followed, since the paper's results are its.

use super::adam::Coefs;
use super::{Optimizer, Saved, State, Tensor};

/// AdaBound. [`AdaBound::LR`] is its own default for α.
pub struct AdaBound {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// α_f, the rate of the SGD that it becomes, when α is α_0.
    pub final_lr: f64,
    /// γ, how fast the bounds close in: the rate is within 1/(γ·t) of α_f.
    pub gamma: f64,
    /// α_0, above 0: the α that a schedule multiplies.
    pub base_lr: f64,
    state: State<2>,
}

impl AdaBound {
    /// The authors' α.
    pub const LR: f64 = 1e-3;

    /// β2 0.999, ε 1e-8, α_f 0.1, γ 1e-3: the authors'. Their β1 is 0.9.
    pub fn new(beta1: f64, base_lr: f64) -> Self {
        Self { beta1, beta2: 0.999, eps: 1e-8, final_lr: 0.1, gamma: 1e-3, base_lr, state: State::default() }
    }
}

impl Optimizer for AdaBound {
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), ::miadam::Error> {
        let t = self.state.next_step(tensors);
        let [correction1, correction2] = [self.beta1, self.beta2].map(|beta| 1.0 - beta.powi(t));
        let rate = (lr * correction2.sqrt() / correction1) as f32;
        let final_lr = self.final_lr * lr / self.base_lr;
        let closing = self.gamma * f64::from(t);
        let lower = (final_lr * (1.0 - 1.0 / (closing + 1.0))) as f32;
        let upper = (final_lr * (1.0 + 1.0 / closing)) as f32;
        let (coefs, eps) = (Coefs::new(lr, [self.beta1, self.beta2], self.eps, t), self.eps as f32);
        for (tensor, [m, v]) in tensors.iter_mut().zip(&mut self.state.tensors) {
            let elements = tensor.values.iter_mut().zip(&*tensor.grads);
            for ((value, &grad), (m, v)) in elements.zip(m.iter_mut().zip(v)) {
                coefs.moments(grad, m, v);
                *value -= (rate / (v.sqrt() + eps)).clamp(lower, upper) * *m;
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
