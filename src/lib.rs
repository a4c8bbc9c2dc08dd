//! MIAdam (Adam with multiple integrations: Jin, Han, Chen and Su, AAAI 2025, arXiv 2412.12473) on every GPU that
//! wgpu reaches, and on the CPU.
//!
//! A [`Param`] names a tensor, with its length and its type. A [`ParamGroup`] gives parameters their [`Hyperparams`]. A
//! [`Binding`] says where a parameter and its gradient lie in the caller's buffers. [`MiAdam`] updates them all with one
//! call to [`step`](MiAdam::step). [`cpu::MiAdam`] does the same over slices. [`GradOptions`] says what happens to the
//! gradients before that, and a [`Checkpoint`] keeps everything for another day. The README shows how to embed it.
//!
//! The data's path is the order of the modules:
//!
//! | module | |
//! |---|---|
//! | `dtype`, `error`, `options` | the caller's settings, checked |
//! | `planes` | the one list of what a parameter's state consists of |
//! | `param`, `shard` | names, groups, lengths, types, and who owns them: the same for both devices |
//! | `abi` | what host and shaders share: bindings, structs, workgroup size |
//! | `clock` | the counts of parameters that have always been stepped together |
//! | `plan` | tensors and limits to dispatches; no device in it |
//! | `math` | the shaders' twins, file by file |
//! | `values` | host tensors of any type |
//! | `file` | files that are whole or not there |
//! | `state` | copies of the state, reports, checkpoints |
//! | `course`, `optimizer`, `loading` | what both optimizers do alike |
//! | `gpu` | kernels, buffers, recording, readbacks |
//! | `cpu` | the twin, on all cores |
//!
//! # Features
//! `gpu` and `cpu` are both on by default. Each works alone, so that an engine builds only the half that it needs.

#![forbid(unsafe_code)]

#[cfg(not(any(feature = "gpu", feature = "cpu")))]
compile_error!("miadam has no device; enable its feature `gpu`, `cpu` or both");

mod clock;
mod course;
#[cfg(feature = "cpu")]
pub mod cpu;
mod dtype;
mod error;
mod file;
#[cfg(feature = "gpu")]
mod gpu;
mod loading;
mod optimizer;
mod options;
mod param;
mod planes;
mod shard;
mod state;
mod values;

// For this crate's own tests and fuzzers; outside the versioning promise.
#[doc(hidden)]
pub mod abi;
#[doc(hidden)]
pub mod math;
#[cfg(feature = "gpu")]
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub use file::NewFile;
#[cfg(feature = "gpu")]
#[doc(hidden)]
pub use gpu::{plan_limits, shader};
#[doc(hidden)]
pub use planes::Rounding;

pub use abi::FRESH_ROW;
pub use dtype::Dtype;
pub use error::{Error, Role};
#[cfg(feature = "gpu")]
pub use gpu::{Binding, Gpu, MiAdam, OtherGrad, Readback, Rows, Slice};
pub use optimizer::{OnDevice, Optimizer};
pub use options::{
    Average, GradOptions, GradScaler, HalfParams, Hyperparams, LoadOptions, Schedule, StatePrecision, StepScale,
    WeightDecay,
};
pub use param::{Param, ParamGroup};
pub use planes::Plane;
pub use shard::shard;
pub use state::{Checkpoint, GroupReport, ParamState, Phase, Report, Skipped, State};
pub use values::{Values, ValuesMut};
/// The version of wgpu whose devices and buffers this crate takes.
#[cfg(feature = "gpu")]
pub use wgpu;
