use crate::layout::QUAD;
use crate::{Dtype, HalfParams};

/// How a tensor's elements lie in the caller's buffers, and what bridges them and `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Format {
    /// Of the parameter.
    pub param: Dtype,
    /// Of its gradient.
    pub grad: Dtype,
    /// How a new parameter becomes what the buffer can hold.
    pub rounding: Rounding,
}

/// What a parameter in half precision keeps of an update that is smaller than its last bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Rounding {
    /// Nothing is rounded: the parameter is `f32`.
    #[default]
    Exact,
    /// All of it, in a master copy among the moments.
    Master,
    /// A chance to move by that bit.
    Stochastic,
}

impl Format {
    /// Of a parameter of a group that treats half precision so.
    #[must_use]
    pub fn new(param: Dtype, grad: Dtype, half_params: HalfParams) -> Self {
        let rounding = match half_params {
            _ if param == Dtype::F32 => Rounding::Exact,
            HalfParams::Master => Rounding::Master,
            HalfParams::Stochastic { .. } => Rounding::Stochastic,
        };
        Self { param, grad, rounding }
    }

    /// Whether both are `f32`, which is reached by whole quads of it.
    #[must_use]
    pub fn is_single(self) -> bool {
        self.param == Dtype::F32 && self.grad == Dtype::F32
    }

    /// Bytes of the word by which whole quads are reached: one of `f32`, or one in half precision.
    #[must_use]
    pub fn quad_word(self) -> u64 {
        if self.is_single() { 4 * QUAD } else { 2 * QUAD }
    }
}
