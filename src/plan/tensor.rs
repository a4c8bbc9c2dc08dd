//! The planner's input: parameters, and where they lie in numbered buffers.

use super::format::Format;
use super::kernel::Extras;
use crate::options::StatePrecision;

/// A parameter as the planner knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tensor {
    /// Its clock: the parameters that have always been stepped together.
    pub clock: u32,
    /// Whether the step leaves it out. It keeps its state.
    pub rests: bool,
    /// Its elements.
    pub len: u64,
    /// Planes of moments: first and second, and under amsgrad the largest second.
    pub moment_planes: u64,
    /// Whether there is a master copy.
    pub master: bool,
    /// Whether there is an average of θ.
    pub average: bool,
    /// Planes of integrals: the group's order, or 0 once they are released.
    pub integral_planes: u64,
    /// The types of its elements and of its gradient's.
    pub format: Format,
    /// The key of the random bits by which its parameter or its state is rounded, else 0.
    pub stream: u32,
    /// The options that its kernel needs.
    pub extras: Extras,
}

impl Tensor {
    /// All that the state's layout goes by.
    pub(super) fn planes(&self) -> (StatePrecision, u64, u64, u64) {
        (self.format.state, self.moment_planes, self.exact_planes(), self.integral_planes)
    }

    /// Cells of the page's moments for each cell of a plane. A plane that is always `f32` takes one for each quad.
    pub(super) fn moment_cells(&self) -> u64 {
        self.moment_planes + self.exact_planes() * self.format.state.width()
    }

    /// Planes that are always `f32`: the master copy, and after it the average.
    fn exact_planes(&self) -> u64 {
        u64::from(self.master) + u64::from(self.average)
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
