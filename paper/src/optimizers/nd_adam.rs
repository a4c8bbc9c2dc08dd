//! ND-Adam: Zhang, Ma, Li and Wu, 2017, "Normalized Direction-preserving Adam", arXiv 1709.04546, Algorithm 1.
//!
//! ```text
//! w are the weights into one unit; |w| = 1 from the first step on:
//! g = g - (g·w)·w                  the part along the sphere
//! m = β1·m + (1-β1)·g              v = β2·v + (1-β2)·|g|²           one v for the whole of w
//! w = w - ν·α·(m/(1-β1ᵗ)) / (√(v/(1-β2ᵗ)) + ε)                      w = w/|w|
//!
//! all other parameters: Adam, with α
//! ```
//!
//! The paper has a rate of its own for w. The authors' TensorFlow code, the first that went with the paper, has ν 50 by default, and
//! is followed; their later PyTorch code has ν 1 and an α of 0.04.
//!
//! The first step begins by w = w/|w|, as Algorithm 1 does before the first gradient. [`Optimizer::prepare`] does so in good time.
//! A w of 0 has no direction: it stays as it is in w/|w|, its gradient counts as a whole, and its first step takes it onto the
//! sphere.

use std::iter::repeat_n;

use super::adam::Coefs;
use super::{Optimizer, Saved, State, Tensor, Units};

/// ND-Adam. [`NdAdam::LR`] is its own default for α.
pub struct NdAdam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// ν: how much larger the rate of weights into units is than that of other parameters.
    pub unit_rate: f64,
    /// m and v. The weights into a unit use one v, and the rest of that vector is idle.
    state: State<2>,
}

impl NdAdam {
    /// The α of the authors' TensorFlow code.
    pub const LR: f64 = 1e-3;

    /// β2 0.999, ε 1e-8, ν 50: the authors'. Their β1 is 0.9.
    pub fn new(beta1: f64) -> Self {
        Self { beta1, beta2: 0.999, eps: 1e-8, unit_rate: 50.0, state: State::default() }
    }

    /// Gives the weights into each unit norm 1.
    fn normalize(tensors: &mut [Tensor<'_>]) {
        for tensor in tensors {
            if let Some(sphere) = Sphere::of(tensor) {
                sphere.normalize(tensor.values);
            }
        }
    }
}

impl Optimizer for NdAdam {
    fn prepare(&mut self, tensors: &mut [Tensor<'_>]) {
        Self::normalize(tensors);
    }

    fn step(&mut self, lr: f64, tensors: &mut [Tensor<'_>]) -> Result<(), ::miadam::Error> {
        let t = self.state.next_step(tensors);
        if t == 1 {
            Self::normalize(tensors);
        }
        let coefs = |lr| Coefs::new(lr, [self.beta1, self.beta2], self.eps, t);
        let (of_units, of_others) = (coefs(self.unit_rate * lr), coefs(lr));
        for (tensor, [m, v]) in tensors.iter_mut().zip(&mut self.state.tensors) {
            match Sphere::of(tensor) {
                Some(sphere) => sphere.step(&of_units, tensor, m, v),
                None => adam(&of_others, tensor, m, v),
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

fn adam(coefs: &Coefs, tensor: &mut Tensor<'_>, m: &mut [f32], v: &mut [f32]) {
    let elements = tensor.values.iter_mut().zip(&*tensor.grads);
    for ((value, &grad), (m, v)) in elements.zip(m.iter_mut().zip(v)) {
        *value -= coefs.step(grad, m, v);
    }
}

/// How elements belong to units: `run` of them to each of `units` in turn, and again from the first.
struct Sphere {
    units: usize,
    run: usize,
}

impl Sphere {
    fn of(tensor: &Tensor<'_>) -> Option<Self> {
        match tensor.units {
            Units::None => None,
            Units::Rows(units) => Some(Self { units, run: tensor.values.len() / units }),
            Units::Columns(units) => Some(Self { units, run: 1 }),
        }
    }

    /// The unit of each element.
    fn each(&self) -> impl Iterator<Item = usize> {
        let run = self.run;
        (0..self.units).flat_map(move |unit| repeat_n(unit, run)).cycle()
    }

    /// The sum of a·b over the elements of each unit.
    fn dots(&self, a: &[f32], b: &[f32]) -> Vec<f64> {
        let mut dots = vec![0.0; self.units];
        for ((&a, &b), unit) in a.iter().zip(b).zip(self.each()) {
            dots[unit] += f64::from(a) * f64::from(b);
        }
        dots
    }

    fn normalize(&self, values: &mut [f32]) {
        let norms: Vec<f64> = self.dots(values, values).into_iter().map(f64::sqrt).collect();
        for (value, unit) in values.iter_mut().zip(self.each()) {
            if norms[unit] > 0.0 {
                *value = (f64::from(*value) / norms[unit]) as f32;
            }
        }
    }

    fn step(&self, coefs: &Coefs, tensor: &mut Tensor<'_>, m: &mut [f32], v: &mut [f32]) {
        let along = self.dots(tensor.grads, tensor.values);
        let pairs = tensor.grads.iter().zip(&*tensor.values).zip(self.each());
        let across: Vec<_> =
            pairs.map(|((&grad, &value), unit)| (f64::from(grad) - along[unit] * f64::from(value)) as f32).collect();
        for (v, square) in v.iter_mut().zip(self.dots(&across, &across)) {
            *v = coefs.second_moment(*v, square as f32);
        }
        let elements = tensor.values.iter_mut().zip(m.iter_mut().zip(&across));
        for ((value, (m, &grad)), unit) in elements.zip(self.each()) {
            *m = coefs.first_moment(*m, grad);
            *value -= coefs.rate * *m / coefs.divisor(v[unit]);
        }
        self.normalize(tensor.values);
    }
}
