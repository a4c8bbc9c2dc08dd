//! The types of elements.

use std::fmt;

/// The type of an element.
///
/// In half precision the elements of a tensor lie side by side, two in 4 bytes. State is always `f32`.
///
/// ```
/// use half::bf16;
/// use miadam::{Dtype, HalfParams, Hyperparams, Param, ParamGroup, cpu};
///
/// // Weights in bf16 that are rounded at random, and gradients in f32.
/// let hyperparams = Hyperparams { half_params: HalfParams::Stochastic { seed: 1 }, ..Hyperparams::default() };
/// let group = ParamGroup::new(hyperparams, [Param::new("w", 2).with_dtype(Dtype::Bf16)]);
/// let mut optimizer = cpu::MiAdam::new([group])?;
/// let (mut w, mut gradient) = ([bf16::ONE; 2], [0.5_f32; 2]);
/// optimizer.step([cpu::Binding::new("w", &mut w, &mut gradient)])?;
/// # Ok::<(), miadam::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Dtype {
    /// IEEE 754 single precision.
    #[default]
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an `f32`: its range, with 8 bits of precision.
    Bf16,
}

impl Dtype {
    /// Bytes of an element.
    #[must_use]
    pub fn width(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}
