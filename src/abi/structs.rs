//! The structs of buffers, as both sides have them.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// Elements with everything that a kernel needs to know of them: a whole run, or the part of one that a workgroup of a table
/// handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Chunk {
    /// First word of θ in its window. By quads, a word is a quad of `f32`, or a quad in half precision where parameter or
    /// gradient is in half precision. By elements, it is 32 bits.
    pub param: u32,
    /// First word of the gradient in its window.
    pub grad: u32,
    /// First cell of the first moment in the page.
    pub moments: u32,
    /// First cell of the first integral in the page.
    pub integrals: u32,
    /// Cells from a plane to the next.
    pub stride: u32,
    /// First quad of the master copy in the page of moments, or 0 where there is none.
    pub master: u32,
    /// First quad of the average of θ there, or 0 where there is none.
    pub average: u32,
    /// Elements; in a table at most [`CHUNK`](crate::abi::CHUNK) for each quad of a bundle.
    pub len: u32,
    /// The clock of its parameter.
    pub clock: u32,
    /// The parameter's window in the low half, the gradient's in the high half.
    pub windows: u32,
    /// The key of what is drawn, else 0.
    pub stream: u32,
    /// The chunk's first quad in its tensor, for random numbers to count by, else 0.
    pub first: u32,
}

/// β^(2^k) for k = 0..32, as (high, low) words of a 0.64 fixed-point number.
pub type Powers = [[u32; 2]; 32];

/// The constants of a group.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Group {
    /// Powers of β1.
    pub beta1_powers: Powers,
    /// Powers of β2.
    pub beta2_powers: Powers,
    /// 1 - β1.
    pub one_minus_beta1: f32,
    /// 1 - β2.
    pub one_minus_beta2: f32,
    /// 1 - κ.
    pub one_minus_kappa: f32,
    /// ε.
    pub eps: f32,
    /// λ of coupled weight decay, else 0.
    pub coupled_decay: f32,
    /// 1 if decoupled decay is cautious, else 0.
    pub cautious: u32,
    /// -1 to maximize, else 1.
    pub grad_sign: f32,
    /// n.
    pub order: u32,
    /// ζ.
    pub switch_step: u32,
    /// 1 under amsgrad, else 0.
    pub amsgrad: u32,
    /// The least rate at which the average of θ takes it in. The rate is this or
    /// `average_over` / (`average_under` + k), if that is larger, after k averagings.
    pub average_least: f32,
    /// See `average_least`.
    pub average_over: f32,
    /// See `average_least`.
    pub average_under: f32,
    /// The first step that is averaged.
    pub average_from: u32,
    /// Steps from an averaging to the next, or 0 where there is no average.
    pub average_every: u32,
    /// 1 under `StepScale::ExactGain`, else 0.
    pub exact_gain: u32,
    /// κ as (high, low) words of a 0.64 fixed-point number; 1 is [`ONE`](crate::abi::ONE).
    pub kappa: [u32; 2],
}

/// How a recorded step treats the gradients of all groups.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct GradSettings {
    /// The factor on every gradient, before the loss scale is taken off.
    pub factor: f32,
    /// 1 if the norm has a bound.
    pub clips: u32,
    /// The bound of the norm, or infinity.
    pub max_norm: f32,
    /// The bound of an element, or infinity.
    pub max_value: f32,
    /// 1 if a step with a gradient that is not finite is left out.
    pub skips: u32,
    /// Good steps until the loss scale grows; 0 where there is none.
    pub growth_interval: u32,
    /// The factor by which it grows.
    pub growth_factor: f32,
    /// The factor on it after a skipped step.
    pub backoff_factor: f32,
}

/// The host's word to the device with each recorded step. A [`Tick`] for each clock follows it in memory.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Recorded {
    /// How gradients are treated.
    pub settings: GradSettings,
    /// The last change from outside that the device has taken in once this step has run.
    pub generation: u32,
    /// Words from a clock to the next.
    pub clock_words: u32,
}

/// The numbers of one clock at a recorded step.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Tick {
    /// α_t while t < ζ.
    pub integrating: f32,
    /// α_t from ζ on.
    pub adam: f32,
    /// α·λ under decoupled weight decay, else 0.
    pub decay: f32,
    /// The clock's parameter group, or [`RESTING`](Self::RESTING).
    pub group: u32,
}

/// Quads of one bank that move to another place. A workgroup copies at most [`CHUNK`](crate::abi::CHUNK) elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Move {
    /// The first quad in the bank before.
    pub before: u32,
    /// The first quad in the bank after.
    pub after: u32,
    /// Quads.
    pub len: u32,
}

/// A plane of a tensor whose rows are gathered, from one segment before to a part of one after. All numbers count words, or
/// quads where rows have whole quads. Of a plane that is kept in fewer bits before or after, places count cells, `len`
/// bundles, and all other numbers elements. A workgroup gathers at most [`CHUNK`](crate::abi::CHUNK) words, quads or bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Gather {
    /// The plane's first word, quad or cell in the segment before.
    pub before: u32,
    /// The first element of the tensor in that segment.
    pub from_start: u32,
    /// The element after its last.
    pub from_end: u32,
    /// The plane's first word, quad or cell of this part of the segment after.
    pub after: u32,
    /// The number in the tensor of its first element.
    pub start: u32,
    /// Words, quads or bundles of this part.
    pub len: u32,
    /// Elements of a row.
    pub width: u32,
    /// Rows before.
    pub count: u32,
    /// 1 for the plane that counts the rows that are not there.
    pub counts: u32,
    /// 1 for an average, whose fresh rows have none yet.
    pub fills: u32,
    /// 1 for a plane whose elements can be negative.
    pub is_signed: u32,
}

/// The bits of an average that a fresh row has: its next averaging copies.
pub const NO_AVERAGE: u32 = u32::MAX;

/// The row that takes its state from none.
pub const FRESH_ROW: u32 = u32::MAX;

/// The coefficients with which one step updates the parameters of a clock. They take 256 bytes, the largest offset alignment
/// there is, so that one clock's can be bound by itself on any device.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Coefs {
    /// 1 - β1.
    pub one_minus_beta1: f32,
    /// 1 - β2.
    pub one_minus_beta2: f32,
    /// 1 - κ.
    pub one_minus_kappa: f32,
    /// ε · unit, a power of two: 1, unless the step size is above 1.
    pub eps: f32,
    /// λ of coupled weight decay, else 0.
    pub coupled_decay: f32,
    /// The factor on the gradient, with the sign of `maximize`.
    pub grad_factor: f32,
    /// A power of two that is a second factor on it: 1, unless both factors together are outside the normal range of `f32`.
    pub grad_unit: f32,
    /// α_t / (1-β1ᵗ) · unit.
    pub step_size: f32,
    /// 1 / √(1-β2ᵗ) · unit.
    pub root_scale: f32,
    /// α·λ under decoupled weight decay, else 0.
    pub decay: f32,
    /// 1 if that is cautious, else 0.
    pub cautious: u32,
    /// The integrals in use at this step: n before ζ, then 0.
    pub order: u32,
    /// 1 under amsgrad, else 0.
    pub amsgrad: u32,
    /// The bound of the gradient's absolute value, after its factor.
    pub max_value: f32,
    /// 1 if the step is left out, else 0.
    pub skip: u32,
    /// The rate at which the average takes θ in: 0 where the step does not average, 1 where the average becomes a copy.
    pub average_rate: f32,
    /// t.
    pub step: u32,
    /// Unused.
    pub padding: [u32; 47],
}

/// The device's own counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Progress {
    /// Steps taken.
    pub step: u32,
    /// Steps skipped.
    pub skipped: u32,
    /// The last norm of all gradients, as bits: it may be infinite or NaN.
    pub norm: u32,
    /// The generation that the last step was recorded with, whether it was taken or skipped; 0 before the first. The host
    /// raises it with each change from outside: parameters that others have written, state that moves.
    pub generation: u32,
    /// Rows that were to be gathered and are not there.
    pub bad_rows: u32,
    /// Fills two quads.
    pub padding: [u32; 3],
}

/// The loss scale, and the verdict on the gradients of the last step, in a buffer that the caller's kernels may bind.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Scaler {
    /// The factor on the loss.
    pub scale: f32,
    /// Steps since the last that was skipped or let the scale grow.
    pub good_steps: u32,
    /// 1 if the last step was skipped, else 0.
    pub skip: u32,
    /// Fills a quad.
    pub padding: u32,
    /// The factor on every gradient of the last step.
    pub factor: f32,
    /// A power of two that is a second factor on it.
    pub unit: f32,
    /// The norm of all gradients at the last step, as bits: it may be infinite or NaN. 0 if it was not measured.
    pub norm: u32,
    /// Fills a quad.
    pub tail: u32,
}

/// The sums over the gradients of one workgroup.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Partial {
    /// Σ g².
    pub squares: f32,
    /// Σ (2⁻⁸⁰·g)², for squares past the range of `f32`.
    pub small_squares: f32,
    /// Σ (2⁸⁰·g)², for squares below the normal range of `f32`; right only where no |g| is above 2⁻³⁴.
    pub large_squares: f32,
    /// The largest absolute value, as bits.
    pub largest: u32,
}

/// The gain of an integral, under a constant gradient of 1: (high, low) · 2^(exponent - 64). The first bit of `high` is set, or the
/// gain is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[repr(C)]
pub struct Gain {
    /// The mantissa's first 32 bits.
    pub high: u32,
    /// Its last 32 bits.
    pub low: u32,
    /// The exponent.
    pub exponent: i32,
}
