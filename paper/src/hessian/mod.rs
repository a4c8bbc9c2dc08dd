//! How curved the loss of the digits' network is: the top eigenvalue, the trace and the spectral density of its Hessian.
//!
//! | file | |
//! |---|---|
//! | `layout` | a vector of all parameters, and its four tensors |
//! | `block` | some samples: their forward pass, gradients, and Hessian-vector products |
//! | `product` | the mean loss over samples as an operator: v → H·v |
//! | `vectors` | sums, and probes of ±1 |
//! | `lanczos` | the Lanczos iteration, and the top eigenvalue by it |
//! | `density` | trace and spectral density by random probes |
//! | `drawing` | spectral densities over each other |
//!
//! All is `f64`, seeded, and repeats to the bit whatever the number of threads.

mod block;
mod density;
pub mod drawing;
mod lanczos;
mod layout;
mod product;
mod vectors;

pub use density::{Density, Estimate, Node, density, trace};
pub use lanczos::{Lanczos, Ritz, Top, top_eigenvalue};
pub use layout::{dimension, flatten};
pub use product::MeanLoss;

/// A symmetric matrix that is known by its products alone.
pub trait Operator: Sync {
    /// How many rows it has.
    fn dimension(&self) -> usize;

    /// H·v.
    fn apply(&self, vector: &[f64]) -> Vec<f64>;
}

/// Why there is no number.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Lanczos came to the last step that it was allowed.
    #[error(
        "the top eigenvalue is {value:e} ± {residual:e} after {steps} steps of Lanczos, which is no {tolerance:e} of it; allow more steps"
    )]
    NotConverged { value: f64, residual: f64, steps: usize, tolerance: f64 },
    /// The weights, or what is computed from them, are infinite or no numbers.
    #[error("the Hessian is not finite; train with a lower learning rate")]
    NotFinite,
}
