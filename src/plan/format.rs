//! The types of a tensor's elements.

use crate::abi::QUAD;
use crate::dtype::Dtype;
use crate::options::{HalfParams, StatePrecision};
use crate::planes::Rounding;

/// The types of a parameter's and a gradient's elements, and how the parameter is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Format {
    /// The parameter's type.
    pub param: Dtype,
    /// The gradient's type.
    pub grad: Dtype,
    /// How a new value of the parameter is rounded to its type.
    pub rounding: Rounding,
    /// How the state is kept.
    pub state: StatePrecision,
}

impl Format {
    /// The format of a parameter whose group treats half precision as `half_params` says.
    #[must_use]
    pub fn new(param: Dtype, grad: Dtype, half_params: HalfParams, state: StatePrecision) -> Self {
        Self { param, grad, rounding: Rounding::new(param, half_params), state }
    }

    /// Whether the kernel draws random numbers.
    #[must_use]
    pub fn draws(self) -> bool {
        self.rounding == Rounding::Stochastic || self.state != StatePrecision::F32
    }

    /// Whether both types are `f32`.
    #[must_use]
    pub fn is_single(self) -> bool {
        self.param == Dtype::F32 && self.grad == Dtype::F32
    }

    /// Bytes of the word by which a kernel reaches whole quads: a quad of `f32`, or a quad in half precision where either
    /// type is.
    #[must_use]
    pub fn quad_word(self) -> u64 {
        if self.is_single() { 4 * QUAD } else { 2 * QUAD }
    }
}
