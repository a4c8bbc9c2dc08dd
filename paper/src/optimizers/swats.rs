//! SWATS: Keskar and Socher, 2017, arXiv 1712.07628, Algorithm 1. No code by the authors was found.
//!
//! ```text
//! Adam, at first:
//! m = β1·m + (1-β1)·g              v = β2·v + (1-β2)·g²
//! p = -α·√(1-β2ᵗ)/(1-β1ᵗ)·m/(√v + ε)            θ = θ + p
//! p·g ≠ 0:  γ = p·p/(-p·g)         λ = β2·λ + (1-β2)·γ
//!           t > 1 and |λ/(1-β2ᵗ) - γ| < δ:  Λ = λ/(1-β2ᵗ), and SGD from the next step on
//!
//! SGD, with u = 0 at first:
//! u = β1·u + g                     θ = θ - (1-β1)·Λ·u
//! ```
//!
//! p and g are those of all parameters, as one vector. The paper writes ε for δ, too. Two things are not in Algorithm 1:
//!
//! - Λ is multiplied by α over the α of the switch, so that a schedule goes on.
//! - Λ must be above 0, since SGD would climb otherwise. Where p points up the gradient, γ is below 0.

use super::{Optimizer, Saved, State, Tensor};

/// SWATS. [`Swats::LR`] is its own default for α.
pub struct Swats {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// δ: it switches when γ is so near to its mean.
    pub threshold: f64,
    /// λ.
    mean: f64,
    /// Λ over the α of the switch, once it has switched.
    sgd_ratio: Option<f64>,
    /// m, or u after the switch; and v.
    state: State<2>,
}

impl Swats {
    /// The paper's α.
    pub const LR: f64 = 1e-3;

    /// β2 0.999, ε and δ 1e-9: the paper's. Its β1 is 0.9.
    pub fn new(beta1: f64) -> Self {
        Self { beta1, beta2: 0.999, eps: 1e-9, threshold: 1e-9, mean: 0.0, sgd_ratio: None, state: State::default() }
    }

    /// Whether it is SGD from now on.
    pub fn has_switched(&self) -> bool {
        self.sgd_ratio.is_some()
    }
}

impl Optimizer for Swats {
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), ::miadam::Error> {
        let t = self.state.next_step(tensors);
        match self.sgd_ratio {
            Some(ratio) => self.sgd_step(ratio * lr, tensors),
            None => {
                let [p_p, p_g] = self.adam_step(lr, t, tensors);
                self.judge(lr, t, p_p, p_g);
            }
        }
        Ok(())
    }

    fn saved(&self) -> Option<Saved> {
        self.state.saved(&[self.mean, self.sgd_ratio.unwrap_or(0.0)])
    }

    fn load(&mut self, saved: Saved) {
        self.mean = saved.numbers.first().copied().unwrap_or_default();
        // No SGD has a rate of 0.
        self.sgd_ratio = saved.numbers.get(1).copied().filter(|ratio| *ratio > 0.0);
        self.state.load(saved);
    }
}

impl Swats {
    /// Returns p·p and p·g.
    fn adam_step(&mut self, lr: f64, t: i32, tensors: &mut [Tensor<'_>]) -> [f64; 2] {
        let [correction1, correction2] = [self.beta1, self.beta2].map(|beta| 1.0 - beta.powi(t));
        let rate = (lr * correction2.sqrt() / correction1) as f32;
        let [beta1, beta2, other1, other2, eps] =
            [self.beta1, self.beta2, 1.0 - self.beta1, 1.0 - self.beta2, self.eps].map(|value| value as f32);
        let (mut p_p, mut p_g) = (0.0, 0.0);
        for (tensor, [m, v]) in tensors.iter_mut().zip(&mut self.state.tensors) {
            let elements = tensor.values.iter_mut().zip(&*tensor.grads);
            for ((value, &grad), (m, v)) in elements.zip(m.iter_mut().zip(v)) {
                *m = beta1 * *m + other1 * grad;
                *v = beta2 * *v + other2 * grad * grad;
                let p = -rate * *m / (v.sqrt() + eps);
                *value += p;
                p_p += f64::from(p) * f64::from(p);
                p_g += f64::from(p) * f64::from(grad);
            }
        }
        [p_p, p_g]
    }

    /// Switches, if it is time to.
    fn judge(&mut self, lr: f64, t: i32, p_p: f64, p_g: f64) {
        // A step across the gradient says nothing, and a step of 0 does not either.
        if p_g == 0.0 {
            return;
        }
        let rate = p_p / -p_g;
        self.mean = self.beta2 * self.mean + (1.0 - self.beta2) * rate;
        let mean = self.mean / (1.0 - self.beta2.powi(t));
        if t > 1 && (mean - rate).abs() < self.threshold && mean > 0.0 {
            self.sgd_ratio = Some(mean / lr);
            self.state.tensors.iter_mut().for_each(|[m, _]| m.fill(0.0));
        }
    }

    fn sgd_step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) {
        let [beta1, rate] = [self.beta1, (1.0 - self.beta1) * lr].map(|value| value as f32);
        for (tensor, [u, _]) in tensors.iter_mut().zip(&mut self.state.tensors) {
            let elements = tensor.values.iter_mut().zip(&*tensor.grads);
            for ((value, &grad), u) in elements.zip(u) {
                *u = beta1 * *u + grad;
                *value -= rate * *u;
            }
        }
    }
}
