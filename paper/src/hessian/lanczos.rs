//! The Lanczos iteration, with full reorthogonalization.
//!
//! ```text
//! H·q = β'·q' + α·q + β·q''       T = tridiag(β, α, β) = QᵀHQ
//! ```
//!
//! The eigenvalues of T are those of H seen from the space that the starting vector spans with H. An eigenvector s of T is one
//! of H but for a residual of length β·|last element of s|, so that an eigenvalue of H is that near (Parlett, "The Symmetric
//! Eigenvalue Problem", 13.2).

use faer::diag::{Diag, DiagRef};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd_scratch, tridiagonal_self_adjoint_evd};
use faer::{Mat, Par};
use serde::{Deserialize, Serialize};

use super::vectors::{dot, norm, orthogonalize, probe, scaled};
use super::{Error, Operator};

/// An eigenvalue of T.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ritz {
    pub value: f64,
    /// The first element of its eigenvector, squared: how much of the starting vector lies there. These add up to 1.
    pub weight: f64,
    /// An eigenvalue of H is no farther away.
    pub residual: f64,
}

/// The iteration after some steps. It keeps all directions, so memory grows by a vector each step.
pub struct Lanczos<'a, O> {
    operator: &'a O,
    basis: Vec<Vec<f64>>,
    next: Option<Vec<f64>>,
    /// α.
    diagonal: Vec<f64>,
    /// β. The last one belongs to the step to come.
    off_diagonal: Vec<f64>,
}

impl<'a, O: Operator> Lanczos<'a, O> {
    /// From a vector that is not 0.
    pub fn new(operator: &'a O, start: Vec<f64>) -> Self {
        let length = norm(&start);
        let next = Some(scaled(start, 1.0 / length));
        Self { operator, basis: vec![], next, diagonal: vec![], off_diagonal: vec![] }
    }

    /// Whether another step finds anything. If not, the eigenvalues are exact but for rounding.
    pub fn goes_on(&self) -> bool {
        self.next.is_some()
    }

    pub fn steps(&self) -> usize {
        self.diagonal.len()
    }

    /// One step: one product.
    ///
    /// # Errors
    /// If the product is not finite.
    pub fn step(&mut self) -> Result<(), Error> {
        let Some(direction) = self.next.take() else { return Ok(()) };
        let mut image = self.operator.apply(&direction);
        let alpha = dot(&direction, &image);
        self.basis.push(direction);
        orthogonalize(&mut image, &self.basis);
        let beta = norm(&image);
        if !(alpha.is_finite() && beta.is_finite()) {
            return Err(Error::NotFinite);
        }
        self.diagonal.push(alpha);
        self.off_diagonal.push(beta);
        // What is shorter has no direction of its own but rounding's.
        let largest = self.diagonal.iter().chain(&self.off_diagonal).fold(0.0, |largest: f64, x| largest.max(x.abs()));
        if beta > 1e-12 * largest && self.steps() < self.operator.dimension() {
            self.next = Some(scaled(image, 1.0 / beta));
        }
        Ok(())
    }

    /// The eigenvalues of T, the least one first.
    ///
    /// # Errors
    /// If there are none, which only numbers that are not finite bring about.
    pub fn ritz(&self) -> Result<Vec<Ritz>, Error> {
        let steps = self.steps();
        let (values, vectors) = eigen(&self.diagonal, &self.off_diagonal)?;
        let beta = self.off_diagonal.last().copied().unwrap_or_default();
        let ritz = |(column, value)| Ritz {
            value,
            weight: vectors[(0, column)].powi(2),
            residual: beta * vectors[(steps - 1, column)].abs(),
        };
        Ok(values.into_iter().enumerate().map(ritz).collect())
    }
}

/// Eigenvalues and eigenvectors of a tridiagonal matrix. On one thread, so that it repeats to the bit.
fn eigen(diagonal: &[f64], off_diagonal: &[f64]) -> Result<(Vec<f64>, Mat<f64>), Error> {
    let size = diagonal.len();
    let (mut values, mut vectors) = (Diag::zeros(size), Mat::zeros(size, size));
    let scratch = self_adjoint_evd_scratch::<f64>(size, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    tridiagonal_self_adjoint_evd(
        DiagRef::from_slice(diagonal),
        DiagRef::from_slice(off_diagonal),
        values.as_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| Error::NotFinite)?;
    Ok((values.column_vector().iter().copied().collect(), vectors))
}

/// The largest eigenvalue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Top {
    pub value: f64,
    /// An eigenvalue is no farther away.
    pub residual: f64,
    pub steps: usize,
}

/// The largest eigenvalue, to a residual of `tolerance` times its size.
///
/// The error of the value is far smaller than its residual as a rule: about its square over the gap to the next eigenvalue.
///
/// # Errors
/// If `max_steps` are not enough, or if the operator is not finite.
pub fn top_eigenvalue(operator: &impl Operator, tolerance: f64, max_steps: usize, seed: u64) -> Result<Top, Error> {
    let mut lanczos = Lanczos::new(operator, probe(operator.dimension(), seed, 0));
    loop {
        lanczos.step()?;
        let steps = lanczos.steps();
        let &Ritz { value, residual, .. } = lanczos.ritz()?.last().ok_or(Error::NotFinite)?;
        if residual <= tolerance * value.abs() || !lanczos.goes_on() {
            return Ok(Top { value, residual, steps });
        }
        if steps >= max_steps {
            return Err(Error::NotConverged { value, residual, steps, tolerance });
        }
    }
}
