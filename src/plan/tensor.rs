//! The planner's input: parameters, and where they lie in numbered buffers.

use super::format::Format;
use super::kernel::Extras;

/// A parameter as the planner knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tensor {
    /// Its clock: the parameters that have always been stepped together.
    pub clock: u32,
    /// Whether the step leaves it out. It keeps its state.
    pub rests: bool,
    /// Its elements.
    pub len: u64,
    /// Planes of moments: first and second, under amsgrad the largest second, and the master copy if there is one.
    pub moment_planes: u64,
    /// The number of the master copy among the planes of moments, or 0 where there is none.
    pub master: u32,
    /// The number of the average of θ among the planes of moments, or 0 where there is none.
    pub average: u32,
    /// Planes of integrals: the group's order, or 0 once they are released.
    pub integral_planes: u64,
    /// The types of its elements and of its gradient's.
    pub format: Format,
    /// The key of its stochastic rounding, else 0.
    pub stream: u32,
    /// The options that its kernel needs.
    pub extras: Extras,
}

impl Tensor {
    /// Planes of moments, and planes of integrals.
    pub(super) fn planes(&self) -> (u64, u64) {
        (self.moment_planes, self.integral_planes)
    }
}

/// The place where a tensor begins: a buffer's number and a byte offset that is a multiple of 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The buffer's number.
    pub buffer: usize,
    /// The tensor's first byte.
    pub offset: u64,
}

impl Place {
    pub(super) fn after(self, bytes: u64) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }
}

/// The places of a parameter and its gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The place of θ.
    pub param: Place,
    /// The place of g.
    pub grad: Place,
}
