//! Adam: Kingma and Ba, 2015, arXiv 1412.6980, Algorithm 1.
//!
//! ```text
//! m = β1·m + (1-β1)·g      v = β2·v + (1-β2)·g²
//! θ = θ - α·(m/(1-β1ᵗ)) / (√(v/(1-β2ᵗ)) + ε)
//! ```

use super::{Optimizer, Saved, State, Tensor};

/// Adam. [`Adam::LR`] is its own default for α.
pub struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// λ of coupled decay, L2: λ·θ is added to g.
    pub decay: f64,
    state: State<2>,
}

impl Adam {
    /// The paper's and PyTorch's α.
    pub const LR: f64 = 1e-3;

    /// β2 0.999, ε 1e-8, no decay: the paper's and PyTorch's. Theirs for β1 is 0.9.
    pub fn new(beta1: f64) -> Self {
        Self { beta1, beta2: 0.999, eps: 1e-8, decay: 0.0, state: State::default() }
    }
}

impl Optimizer for Adam {
    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), ::miadam::Error> {
        let t = self.state.next_step(tensors);
        let coefs = Coefs::new(lr, [self.beta1, self.beta2], self.eps, t);
        let decay = self.decay as f32;
        for (tensor, [m, v]) in tensors.iter_mut().zip(&mut self.state.tensors) {
            let elements = tensor.values.iter_mut().zip(&*tensor.grads);
            for ((value, grad), (m, v)) in elements.zip(m.iter_mut().zip(v)) {
                *value -= coefs.step(grad + decay * *value, m, v);
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

/// What all elements share at a step of Adam.
pub(super) struct Coefs {
    /// α/(1-β1ᵗ).
    pub rate: f32,
    /// 1/√(1-β2ᵗ).
    root: f32,
    eps: f32,
    betas: [f32; 2],
    /// 1-β1 and 1-β2.
    others: [f32; 2],
}

impl Coefs {
    pub fn new(lr: f64, betas: [f64; 2], eps: f64, t: i32) -> Self {
        let [correction1, correction2] = betas.map(|beta| 1.0 - beta.powi(t));
        Self {
            rate: (lr / correction1) as f32,
            root: (1.0 / correction2.sqrt()) as f32,
            eps: eps as f32,
            betas: betas.map(|beta| beta as f32),
            // From `f64`: 1 - β2 of an `f32` would be off by 3e-5 of itself.
            others: betas.map(|beta| (1.0 - beta) as f32),
        }
    }

    /// Adam's moments take in a gradient.
    pub fn moments(&self, grad: f32, m: &mut f32, v: &mut f32) {
        *m = self.first_moment(*m, grad);
        *v = self.second_moment(*v, grad * grad);
    }

    /// β1·m + (1-β1)·g.
    pub fn first_moment(&self, m: f32, grad: f32) -> f32 {
        flush(self.betas[0] * m + self.others[0] * grad)
    }

    /// β2·v + (1-β2)·g².
    pub fn second_moment(&self, v: f32, square: f32) -> f32 {
        flush(self.betas[1] * v + self.others[1] * square)
    }

    /// √(v/(1-β2ᵗ)) + ε.
    pub fn divisor(&self, v: f32) -> f32 {
        v.sqrt() * self.root + self.eps
    }

    /// What Adam takes off an element.
    pub fn step(&self, grad: f32, m: &mut f32, v: &mut f32) -> f32 {
        self.moments(grad, m, v);
        self.rate * *m / self.divisor(*v)
    }
}

/// 0 for what is so small that CPUs take a hundred times as long, as in the crate. The loss is nothing beside ε.
fn flush(x: f32) -> f32 {
    if x.abs() < 1e-34 { 0.0 } else { x }
}
