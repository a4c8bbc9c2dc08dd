//! MIAdam for [burn](https://burn.dev) 0.22: one step over a whole module, in a few dispatches and one submission.
//!
//! MIAdam is Adam with n discounted running integrals of its first moment, until a switching step; then it is plain Adam. With
//! order 0 it is Adam or AdamW from the start. [`miadam::Hyperparams`] says what a step computes, with its sources.
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::GradientsParams;
//! use burn::tensor::{Device, Tensor};
//! use miadam_burn::{Error, MiAdamConfig, miadam::Hyperparams};
//!
//! # fn main() -> Result<(), Error> {
//! // burn's CPU backend. `miadam_burn::wgpu_device(Device::wgpu_options())?` makes a GPU's device.
//! let device = Device::flex();
//! let hyperparams = Hyperparams { order: 1, kappa: 0.5, switch_step: 5_000, ..Hyperparams::default() };
//! let mut optimizer = MiAdamConfig::new(hyperparams).init(&device)?;
//!
//! let device = device.autodiff();
//! let mut module: Linear = LinearConfig::new(4, 1).init(&device);
//! for _ in 0..3 {
//!     let loss = module.forward(Tensor::<2>::ones([8, 4], &device)).square().mean();
//!     let grads = GradientsParams::from_grads(loss.backward(), &module);
//!     module = optimizer.step(1e-3, module, grads)?;
//! }
//! assert_eq!(optimizer.report()?.step, 3);
//! # Ok(())
//! # }
//! ```
//!
//! | what for | |
//! |---|---|
//! | a loop of one's own | [`MiAdamConfig::init`] gives a [`MiAdam`] |
//! | burn-train's `Learner` | [`MiAdamConfig::init_learner`], and [`learner::optimize`] in the model |
//! | several devices | [`MiAdamConfig::init_multi`], [`MiAdam::step_multi`] |
//! | a backend that is neither wgpu nor a CPU, or a group beside burn's other optimizers | [`MiAdamConfig::build`] gives a [`PerParamMiAdam`] |
//!
//! On wgpu the optimizer works in the buffers behind burn's tensors, with `fusion` and without it. On a CPU backend the core's
//! CPU twin works on copies of them. The README says how, and how fast.
//!
//! # Features
//! `wgpu`, on by default, is burn's wgpu backend. `fusion` is burn's fusion over it.

#![forbid(unsafe_code)]

mod config;
#[cfg(feature = "wgpu")]
mod copies;
#[cfg(feature = "wgpu")]
mod cube;
mod device;
mod engine;
mod error;
pub mod learner;
mod leaves;
mod optimizer;
#[cfg(feature = "wgpu")]
mod order;
mod per_param;

pub use config::MiAdamConfig;
#[cfg(feature = "wgpu")]
pub use device::{register, wgpu_device};
pub use error::{Error, StepError};
pub use miadam;
pub use optimizer::MiAdam;
pub use per_param::{PerParamMiAdam, PerParamState};
