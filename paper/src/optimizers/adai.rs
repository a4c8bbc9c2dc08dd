//! Adai: Xie, Wang, Zhang, Sato and Sugiyama, 2022, arXiv 2006.15815, Algorithm 2, as the authors' code has it.
//!
//! ```text
//! v = β2·v + (1-β2)·g²             v̂ = v/(1-β2ᵗ)            v̄ = the mean of v̂ over all parameters
//! r = clamp(β0·v̂/v̄, ε, 1)          β1 = 1 - r               for each element
//! m = β1·m + r·g                   q = β1·q + r             so that q = 1 - β1(1)·…·β1(t)
//! θ = θ - α·m/q
//! ```
//!
//! The paper and the code agree. The code multiplies all β1 up and subtracts from 1; q is the same number without the
//! cancellation. While all gradients have been 0, v̂/v̄ is 0/0, and the code's state is NaN from then on. Here v̂/v̄ is 1 then,
//! and nothing moves.

use super::{Optimizer, Saved, State, Tensor};

/// Adai. [`Adai::LR`] is its own default for α: it moves as SGD does, not as Adam.
pub struct Adai {
    /// β0, what 1 - β1 is at the mean of v̂.
    pub beta0: f64,
    pub beta2: f64,
    /// ε, the least that 1 - β1 can be.
    pub eps: f64,
    state: State<3>,
}

impl Adai {
    /// The authors advise ten times the α of SGD with a momentum of 0.9: 1 where that is 0.1.
    pub const LR: f64 = 1.0;

    /// β0 0.1, β2 0.99, ε 1e-3: the authors'.
    pub fn new() -> Self {
        Self { beta0: 0.1, beta2: 0.99, eps: 1e-3, state: State::default() }
    }
}

impl Default for Adai {
    fn default() -> Self {
        Self::new()
    }
}

impl Optimizer for Adai {
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), ::miadam::Error> {
        // v̂ and v̄ have the same bias correction, so that v has their ratio.
        self.state.next_step(tensors);
        let mean = self.second_moments(tensors);
        let share = |v: f32| if mean > 0.0 { self.beta0 * f64::from(v) / mean } else { self.beta0 };
        let rate = lr as f32;
        for (tensor, [m, v, q]) in tensors.iter_mut().zip(&mut self.state.tensors) {
            let elements = tensor.values.iter_mut().zip(&*tensor.grads);
            for ((value, &grad), ((m, v), q)) in elements.zip(m.iter_mut().zip(v).zip(q)) {
                let r = share(*v).clamp(self.eps, 1.0) as f32;
                *m = (1.0 - r) * *m + r * grad;
                *q = (1.0 - r) * *q + r;
                *value -= rate * *m / *q;
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

impl Adai {
    /// Takes the gradients in, and returns the mean of v.
    fn second_moments(&mut self, tensors: &[Tensor<'_>]) -> f64 {
        let [beta2, other2] = [self.beta2, 1.0 - self.beta2].map(|value| value as f32);
        let (mut sum, mut count) = (0.0, 0);
        for (tensor, [_, v, _]) in tensors.iter().zip(&mut self.state.tensors) {
            for (v, grad) in v.iter_mut().zip(&*tensor.grads) {
                *v = beta2 * *v + other2 * grad * grad;
                sum += f64::from(*v);
            }
            count += tensor.values.len();
        }
        sum / count as f64
    }
}
