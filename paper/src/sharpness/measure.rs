//! How flat a trained network is.

use miadam_support::mnist::data::Samples;
use miadam_support::mnist::network::Weights;
use serde::{Deserialize, Serialize};

use crate::hessian::{Density, Error, Estimate, MeanLoss, Top, density, flatten, top_eigenvalue, trace};

/// A residual of a millionth: the eigenvalue itself is nearer still.
const TOLERANCE: f64 = 1e-6;
/// Far more than the dozen or two that outliers need. Each holds a vector of all parameters.
const MAX_STEPS: usize = 150;
/// Of the probes.
const SEED: u64 = 0;

/// How many products go into the estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Probes of the trace.
    pub trace_probes: usize,
    /// Probes of the density.
    pub density_probes: usize,
    /// Lanczos' steps from each of them.
    pub density_steps: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flatness {
    /// The mean loss over the samples, in nats.
    pub loss: f64,
    /// The length of the loss's gradient. The Hessian is about a minimum where this is small.
    pub gradient: f64,
    pub top: Top,
    pub trace: Estimate,
    /// Only where it is drawn: it takes several times as long as all the rest.
    pub density: Option<Density>,
}

/// Measures the mean loss over the samples of these indices. All networks meet the same probes.
///
/// # Errors
/// If the weights are not finite, or if Lanczos does not converge.
pub fn flatness(
    weights: &Weights,
    samples: &Samples,
    chosen: &[u32],
    effort: Effort,
    with_density: bool,
) -> Result<Flatness, Error> {
    let loss = MeanLoss::new(flatten(weights), weights.hidden(), samples, chosen);
    Ok(Flatness {
        loss: loss.loss(),
        gradient: loss.gradient().iter().map(|value| value * value).sum::<f64>().sqrt(),
        top: top_eigenvalue(&loss, TOLERANCE, MAX_STEPS, SEED)?,
        trace: trace(&loss, effort.trace_probes, SEED)?,
        density: match with_density {
            true => Some(density(&loss, effort.density_probes, effort.density_steps, SEED)?),
            false => None,
        },
    })
}
