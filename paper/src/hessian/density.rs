//! Trace and spectral density by random probes.
//!
//! ```text
//! tr H ≈ mean vᵀHv                                    v of ±1: Hutchinson, 1990
//! φ(t) = 1/n Σ δ(t - λ) ≈ mean Σ τ²·N(t; θ, σ²)       Lanczos from v: eigenvalues θ of T, squared first elements τ²
//! ```
//!
//! The second is stochastic Lanczos quadrature, as Ghorbani, Krishnan and Xiao (2019, arXiv 1901.10159) and PyHessian (Yao et
//! al., 2020, arXiv 1912.07145) use it for networks. From one probe it is Gauss quadrature: exact for vᵀHᵏv/n as long as
//! k < 2·steps.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use super::lanczos::Lanczos;
use super::vectors::{dot, probe};
use super::{Error, Operator};

/// A mean over probes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: f64,
    /// The deviation of a probe over √probes. It is not a number for one probe.
    pub standard_error: f64,
}

impl Estimate {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, standard_error: (squares / (count - 1.0) / count).sqrt() }
    }
}

/// The trace from so many products.
///
/// # Errors
/// If the operator is not finite.
pub fn trace(operator: &impl Operator, probes: usize, seed: u64) -> Result<Estimate, Error> {
    let of_probe = |index| {
        let vector = probe(operator.dimension(), seed, index);
        dot(&vector, &operator.apply(&vector))
    };
    let values: Vec<_> = (0..probes).map(of_probe).collect();
    if values.iter().all(|value| value.is_finite()) { Ok(Estimate::of(&values)) } else { Err(Error::NotFinite) }
}

/// A point of the quadrature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Where it is: an eigenvalue, or what stands for many.
    pub value: f64,
    /// The fraction of all eigenvalues that it stands for. The weights of a probe add up to 1.
    pub weight: f64,
}

/// A spectral density: the nodes of each probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Density {
    /// How many eigenvalues there are.
    pub dimension: usize,
    pub probes: Vec<Vec<Node>>,
}

/// The spectral density from `probes`·`steps` products.
///
/// # Errors
/// If the operator is not finite.
pub fn density(operator: &impl Operator, probes: usize, steps: usize, seed: u64) -> Result<Density, Error> {
    let of_probe = |index| {
        let mut lanczos = Lanczos::new(operator, probe(operator.dimension(), seed, index));
        while lanczos.goes_on() && lanczos.steps() < steps {
            lanczos.step()?;
        }
        let ritz = lanczos.ritz()?;
        Ok(ritz.into_iter().map(|ritz| Node { value: ritz.value, weight: ritz.weight }).collect())
    };
    let dimension = operator.dimension();
    Ok(Density { dimension, probes: (0..probes).map(of_probe).collect::<Result<_, _>>()? })
}

impl Density {
    /// The mean of λᵏ over all eigenvalues.
    pub fn moment(&self, k: i32) -> Estimate {
        self.mean(|value| value.powi(k))
    }

    /// φ(t) under a Gaussian of width σ: the fraction of all eigenvalues per unit around t.
    pub fn at(&self, t: f64, sigma: f64) -> f64 {
        self.mean(|value| (-((t - value) / sigma).powi(2) / 2.0).exp() / (TAU.sqrt() * sigma)).mean
    }

    /// The least and the largest node.
    pub fn range(&self) -> (f64, f64) {
        let values = self.probes.iter().flatten().map(|node| node.value);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    }

    fn mean(&self, function: impl Fn(f64) -> f64) -> Estimate {
        let of_probe = |nodes: &Vec<Node>| nodes.iter().map(|node| node.weight * function(node.value)).sum();
        Estimate::of(&self.probes.iter().map(of_probe).collect::<Vec<f64>>())
    }
}
