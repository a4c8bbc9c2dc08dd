//! The CPU twin: the same optimizer over slices of host memory, on all cores.
//!
//! It serves where there is no GPU, and is the oracle of the shaders' tests. Elements are independent, so that results do
//! not depend on the number of threads. No operation is fused, so that they do not depend on the instruction set either.

mod averages;
mod binding;
mod block;
mod changes;
mod coefs;
mod measuring;
mod optimizer;
mod packed;
mod rows;
mod sharing;
mod slabs;
mod state;
mod update;
mod values;

pub use binding::Binding;
pub use coefs::StepCoefs;
pub use optimizer::{Cpu, MiAdam};
pub use sharing::Verdict;
