//! From tensors and limits to dispatches, without a device.
//!
//! # A worked picture
//! One buffer holds two tensors of `f32` and their gradients: `w` with 8 elements, `b` with 4. Both have order 1, so that
//! each has three planes of state: two moments and an integral. A *quad* is 4 elements, 16 bytes.
//!
//! ```text
//! the caller's buffer    byte 0        32    48        80    96
//!                             | w      | b   | w grad  | b grad|
//!
//! 1. StateLayout: where the state lies, once
//!    segments            w, elements 0..8      b, elements 0..4       one tensor's elements in one page
//!    page 0, moments     quad 0    2   3    5   6                     a page is two buffers that one dispatch binds
//!                             | w m | b m | w v | b v |               each plane of w and b together is contiguous:
//!    page 0, integrals   quad 0    2   3                              3 quads lead from a plane to the next
//!                             | w s | b s |
//!
//! 2. pieces: what one dispatch can bind and reach in one way
//!                        w 0..8, by quads      b 0..4, by quads       an odd length would add a piece by elements
//!
//! 3. windows: what a dispatch binds of the caller's buffers
//!                        bytes 0..96                                  one window, since all four lie in one tile
//!
//! 4. Plan: the dispatches of a step
//!                        one dispatch, one run of 12 elements         b continues w in the buffer, in the gradients
//!                        param 0, grad 3, moments 0, integrals 0      and in the state, so that they are one run
//! ```
//!
//! `tests/suite/plan/picture.rs` shows that the picture is true. [`StateLayout`] is made once. [`Plan`] is made anew whenever
//! a tensor moves. Callers' buffers are known here by number.
//!
//! # Words
//! | word | |
//! |---|---|
//! | tensor | a parameter as the planner knows it: length, planes, types, options |
//! | placement | the two places where a tensor and its gradient begin; a place is a buffer's number and a byte |
//! | page | a buffer of moments and one of integrals, each as large as a binding may be |
//! | segment | the elements of one tensor whose state lies in one page |
//! | slab | the segments of a page that have the same planes; each plane is contiguous over a slab |
//! | tile | a part of a caller's buffer as large as a binding may be; tiles begin at its multiples, so that they never overlap |
//! | seam | a block that lies across the border of two tiles, and is bound by itself |
//! | piece | the elements of a segment whose parameter lies in one tile and whose gradient lies in one tile |
//! | window | the bytes of a tile that a dispatch binds |
//! | run | pieces that continue each other everywhere |
//! | block | elements that are never cut apart: 4 with state in `F32`, 32 in `Bf16`, 128 in `Q8` |
//! | chunk | a run, or the part of a run that one workgroup of a table handles |
//! | kernel | a variant of the shaders: access, form, shape, format, extras |
//!
//! # Splitting and merging
//! State that does not fit a binding goes to more pages, and a tensor is then several segments. A tensor that crosses from one
//! tile to the next is several pieces. Pieces that look
//! into the same tiles share a dispatch, which is a single run or a table of chunks. Then dispatches of one buffer are merged,
//! and small ones of all buffers, as far as the device can bind their windows at once.

mod batch;
mod chunks;
mod format;
mod kernel;
mod limits;
mod pieces;
mod state_layout;
mod tensor;
mod window;

pub use batch::{Dispatch, Plan, grid};
pub use format::Format;
pub use kernel::{Access, Extras, Form, Integrals, Kernel, Shape};
pub use limits::Limits;
pub use state_layout::{Page, Segment, StateLayout};
pub use tensor::{Place, Placement, Tensor};
pub use window::Window;
