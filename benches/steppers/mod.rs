//! Optimizers set up on a case's tensors, shared by `step.rs` and `peers/`.

pub mod cpu;
pub mod gpu;
#[path = "../../examples/shared/wait.rs"]
mod wait;

use crate::cases::Case;

/// Every gradient element. Parameters start at 0.
pub const GRAD: f32 = 0.02;

/// Adam's first step moves each parameter by the learning rate, against the gradient's sign, whatever its size.
/// A benchmark whose work was put off, or never done, fails here.
///
/// # Errors
/// If any value is more than 1 % off.
pub fn check_first_step(case: &Case, params: &[f32]) -> Result<(), String> {
    // The integrals start at 0, so that each repeats the first moment: only the paper's αⁿ shows.
    let hyperparams = case.hyperparams();
    let expected = -hyperparams.lr.powi(hyperparams.order.max(1) as i32) as f32;
    let is_off = |value: &&f32| !(0.99..=1.01).contains(&(**value / expected));
    match params.iter().find(is_off) {
        Some(value) => Err(format!("a parameter is {value:e} after the first step of {case}, not {expected:e}")),
        None if params.is_empty() => Err(format!("no parameter to check of {case}")),
        None => Ok(()),
    }
}
