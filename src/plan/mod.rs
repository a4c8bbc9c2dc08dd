//! From tensors and limits to dispatches, without a device.
//!
//! [`StateLayout`] gives every tensor its place in the optimizer's state, once. [`Plan`] covers every element
//! by the chunks of a few dispatches, anew whenever a tensor moves. Callers' buffers are known here by number.

mod batch;
mod format;
mod kernel;
mod limits;
mod pieces;
mod state_layout;

pub use batch::{Dispatch, Plan, Window, grid};
pub use format::{Format, Rounding};
pub use kernel::{Extras, Form, Integrals, Kernel, Shape};
pub use limits::Limits;
pub use pieces::Access;
pub use state_layout::{Page, Segment, StateLayout};

/// What the planner needs to know of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tensor {
    /// Its parameter group.
    pub group: u32,
    /// Its elements.
    pub len: u64,
    /// Planes of moments: the first and the second, under amsgrad the largest second, and the master copy if there is one.
    pub moment_planes: u64,
    /// Planes of integrals: the group's order.
    pub integral_planes: u64,
    /// How its elements lie.
    pub format: Format,
    /// What its stochastic rounding draws from, else 0.
    pub stream: u32,
    /// What its group asks of the kernel.
    pub extras: Extras,
}

impl Tensor {
    /// Planes of moments and of integrals.
    fn planes(&self) -> (u64, u64) {
        (self.moment_planes, self.integral_planes)
    }
}

/// Where a slice lies: a buffer's number and a byte offset that is a multiple of 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The buffer's number.
    pub buffer: usize,
    /// The slice's first byte.
    pub offset: u64,
}

impl Place {
    fn after(self, bytes: u64) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }
}

/// Where a parameter and its gradient lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Where θ lies.
    pub param: Place,
    /// Where g lies.
    pub grad: Place,
}
