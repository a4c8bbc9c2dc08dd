//! Optimizers set up on a case's tensors, to be timed.

mod cpu;
mod gpu;

pub use cpu::CpuStepper;
pub use gpu::GpuStepper;

use miadam::{Dtype, GradOptions, Hyperparams, Param, ParamGroup};

use crate::cases::Case;

/// Every gradient element. Parameters start at 0.
pub const GRAD: f32 = 0.02;

/// What a case's optimizer is set to.
#[derive(Clone)]
pub struct Setup {
    pub hyperparams: Hyperparams,
    pub grad_options: GradOptions,
    /// The type of parameters and gradients.
    pub dtype: Dtype,
}

impl Setup {
    /// Defaults, but for what the case says.
    pub fn plain(case: &Case) -> Self {
        Self { hyperparams: case.hyperparams(), grad_options: GradOptions::default(), dtype: Dtype::F32 }
    }

    /// The case's tensors as one group.
    fn group(&self, case: &Case) -> ParamGroup {
        let param = |(number, &len): (usize, &usize)| Param::new(number.to_string(), len).with_dtype(self.dtype);
        ParamGroup::new(self.hyperparams.clone(), case.lens.iter().enumerate().map(param))
    }
}

/// Adam's first step moves each parameter by the learning rate, against the gradient's sign, whatever the gradient's size.
/// A benchmark whose work was put off, or never done, fails here.
///
/// # Errors
/// If any value is more than 1 % off.
pub fn check_first_step(case: &Case, params: &[f32]) -> Result<(), String> {
    // The integrals start at 0, so that each repeats the first moment: only α·(1-κ)ⁿ shows.
    let hyperparams = case.hyperparams();
    let expected = -(hyperparams.lr * (1.0 - hyperparams.kappa).powi(hyperparams.order as i32)) as f32;
    let is_off = |value: &&f32| !(0.99..=1.01).contains(&(**value / expected));
    match params.iter().find(is_off) {
        Some(value) => Err(format!("a parameter is {value:e} after the first step of {case}, not {expected:e}")),
        None if params.is_empty() => Err(format!("no parameter to check of {case}")),
        None => Ok(()),
    }
}
