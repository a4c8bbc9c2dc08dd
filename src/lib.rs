//! MIAdam (Adam with multiple integrations: Jin, Han, Chen and Su, AAAI 2025, arXiv 2412.12473) on every GPU that
//! wgpu reaches, and on the CPU.
//!
//! Four types make a GPU optimizer: [`Param`] names a tensor and says where it and its gradient lie in the caller's
//! buffers, [`ParamGroup`] gives parameters their [`Hyperparams`], and [`MiAdam`] updates them all with one call to
//! [`step`](MiAdam::step). [`cpu::MiAdam`] does the same over slices. [`GradOptions`] says what happens to the gradients
//! before, and a [`Checkpoint`] keeps everything for another day. The README shows how to embed it.
//!
//! The data's path is the modules' order:
//!
//! | module | |
//! |---|---|
//! | `group`, `dtype`, `hyperparams`, `schedule`, `gradients` | what the caller has, checked |
//! | `plan` | limits and tensors to dispatches; no device in it |
//! | `layout` | what host and shaders share: bindings, structs, workgroup size |
//! | `gpu` | shaders, pipelines and buffers |
//! | `optimizer` | records the advance of the step counter and the update |
//! | `verdict`, `coefs`, `cpu`, `half` | the twins of `verdict.wgsl`, `advance.wgsl`, `update.wgsl`, `half.wgsl` and `philox.wgsl` |
//! | `error` | what can go wrong, and how to mend it |
//! | `readback`, `state`, `report`, `checkpoint` | the state, and a step's numbers, on their way to the host and back |

#![forbid(unsafe_code)]

mod checkpoint;
mod coefs;
pub mod cpu;
mod dtype;
mod error;
mod gpu;
mod gradients;
mod group;
mod hyperparams;
mod optimizer;
mod readback;
mod report;
mod schedule;
mod state;
mod verdict;

// For this crate's own tests and fuzzers; outside the versioning promise.
#[doc(hidden)]
pub mod half;
#[doc(hidden)]
pub mod layout;
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub use gpu::{adopt_wgsl, advance_wgsl, measure_wgsl, update_wgsl};

pub use checkpoint::{Checkpoint, Skipped};
pub use dtype::Dtype;
pub use error::Error;
pub use gradients::{GradOptions, GradScaler};
pub use group::{Param, ParamGroup, Role, Slice};
pub use hyperparams::{HalfParams, Hyperparams, StepScale, WeightDecay};
pub use optimizer::MiAdam;
pub use report::{GroupReport, Phase, Report};
pub use schedule::Schedule;
pub use state::{State, TensorState};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
