//! NAdam: Dozat, 2016, "Incorporating Nesterov Momentum into Adam", as `torch.optim.NAdam` has it.
//!
//! ```text
//! μ_t = β1·(1 - ½·0.96^(t·ψ))      Π_t = μ_1·…·μ_t
//! m = β1·m + (1-β1)·g              v = β2·v + (1-β2)·g²
//! θ = θ - α·(μ_{t+1}·m/(1-Π_{t+1}) + (1-μ_t)·g/(1-Π_t)) / (√(v/(1-β2ᵗ)) + ε)
//! ```
//!
//! The paper's m decays by μ_t. PyTorch's decays by β1, and is followed, since its results are what people quote.

use super::adam::Coefs;
use super::{Optimizer, Saved, State, Tensor};

/// NAdam. [`NAdam::LR`] is its own default for α.
pub struct NAdam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// ψ, how fast μ rises from β1/2 to β1.
    pub momentum_decay: f64,
    /// Π.
    product: f64,
    state: State<2>,
}

impl NAdam {
    /// PyTorch's α.
    pub const LR: f64 = 2e-3;

    /// β2 0.999, ε 1e-8, ψ 4e-3: PyTorch's. Its β1 is 0.9.
    pub fn new(beta1: f64) -> Self {
        Self { beta1, beta2: 0.999, eps: 1e-8, momentum_decay: 4e-3, product: 1.0, state: State::default() }
    }
}

impl Optimizer for NAdam {
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), ::miadam::Error> {
        let t = self.state.next_step(tensors);
        let coefs = Coefs::new(lr, [self.beta1, self.beta2], self.eps, t);
        let [now, next] =
            [t, t + 1].map(|t| self.beta1 * (1.0 - 0.5 * 0.96f64.powf(f64::from(t) * self.momentum_decay)));
        self.product *= now;
        let of_m = (lr * next / (1.0 - self.product * next)) as f32;
        let of_grad = (lr * (1.0 - now) / (1.0 - self.product)) as f32;
        for (tensor, [m, v]) in tensors.iter_mut().zip(&mut self.state.tensors) {
            let elements = tensor.values.iter_mut().zip(&*tensor.grads);
            for ((value, &grad), (m, v)) in elements.zip(m.iter_mut().zip(v)) {
                coefs.moments(grad, m, v);
                *value -= (of_m * *m + of_grad * grad) / coefs.divisor(*v);
            }
        }
        Ok(())
    }

    fn saved(&self) -> Option<Saved> {
        self.state.saved(&[self.product])
    }

    fn load(&mut self, saved: Saved) {
        self.product = saved.numbers.first().copied().unwrap_or(1.0);
        self.state.load(saved);
    }
}
