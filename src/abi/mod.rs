//! The memory that host and shaders share: binding numbers, structs, workgroup size. `tests/suite/layout.rs` compares them with the
//! parsed WGSL.

mod bindings;
mod made;
mod structs;

pub use bindings::{advance, gather, measure, moves, swap, update};
pub(crate) use made::multiply_fixed;
#[cfg(test)]
pub(crate) use made::powers;
pub use made::{ONE, fixed_kappa};
pub use structs::*;

/// Invocations of a workgroup. In the update, each handles a bundle at a time: a quad of `f32`.
pub const WORKGROUP_SIZE: u32 = 256;

/// Invocations of a workgroup that takes a chunk of a table in `update`, `adopt` or `swap`. Each of them looks up the chunk, at a cost to a
/// software driver: with [`WORKGROUP_SIZE`] a step took a sixth longer.
pub const TABLE_SIZE: u32 = 64;

/// Elements of a quad: a `vec4<f32>`.
pub const QUAD: u64 = 4;

/// Bytes of a cell, in which places in a plane are counted: a quad of `f32`.
pub const CELL_BYTES: u64 = 16;

/// The largest order that is compiled without a loop over the integrals. A loop costs a software driver a twentieth of the
/// step.
pub const UNROLLED_ORDER: u32 = 3;

/// Elements that a workgroup handles at a time: a quad for each invocation.
pub const WORKGROUP: u64 = QUAD * WORKGROUP_SIZE as u64;

/// Elements of a chunk of a table, for each quad of a bundle. They are enough to share the cost of looking it up, and few enough to
/// fill a GPU. With as many elements in `Q8`, half of the invocations would have none: it took 1.8 times as long.
pub const CHUNK: u64 = 4 * WORKGROUP;

/// Quads of a run that one invocation of `measure.wgsl` sums up: 64 workgroups for 4M elements. Half as many quads would fill
/// the largest GPUs better at that size, but cost a software driver more than the quarter of a step that clipping may.
pub const MEASURED_QUADS: u32 = 64;
