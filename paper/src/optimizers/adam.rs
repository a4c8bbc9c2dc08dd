//! Adam: Kingma and Ba, 2015, arXiv 1412.6980, Algorithm 1.
//!
//! ```text
//! m = β1·m + (1-β1)·g      v = β2·v + (1-β2)·g²
//! θ = θ - α·(m/(1-β1ᵗ)) / (√(v/(1-β2ᵗ)) + ε)
//! ```

use super::{Optimizer, State, Tensor};

/// Adam.
pub struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// λ of coupled decay, L2: λ·θ is added to g.
    pub decay: f64,
    state: State<2>,
}

impl Adam {
    /// β2 0.999, ε 1e-8, no decay.
    pub fn new(beta1: f64) -> Self {
        Self { beta1, beta2: 0.999, eps: 1e-8, decay: 0.0, state: State::default() }
    }
}

impl Optimizer for Adam {
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), ::miadam::Error> {
        let Self { beta1, beta2, eps, decay, ref mut state } = *self;
        let t = state.next_step(tensors);
        let [correction1, correction2] = [beta1, beta2].map(|beta| 1.0 - beta.powi(t));
        let [rate, root, eps] = [lr / correction1, 1.0 / correction2.sqrt(), eps].map(|value| value as f32);
        let [beta1, beta2, other1, other2, decay] =
            [beta1, beta2, 1.0 - beta1, 1.0 - beta2, decay].map(|value| value as f32);
        for (tensor, [m, v]) in tensors.iter_mut().zip(&mut state.tensors) {
            let elements = tensor.values.iter_mut().zip(&*tensor.grads);
            for ((value, grad), (m, v)) in elements.zip(m.iter_mut().zip(v)) {
                let grad = grad + decay * *value;
                *m = beta1 * *m + other1 * grad;
                *v = beta2 * *v + other2 * grad * grad;
                *value -= rate * *m / (v.sqrt() * root + eps);
            }
        }
        Ok(())
    }
}
