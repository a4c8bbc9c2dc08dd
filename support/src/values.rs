//! Tensors of any type.

use half::{bf16, f16};
use miadam::{Dtype, ValuesMut};

/// A tensor in a type that is known at run time.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Values {
    /// Rounded to nearest even.
    pub fn new(dtype: Dtype, values: &[f32]) -> Self {
        match dtype {
            Dtype::F32 => Self::F32(values.to_vec()),
            Dtype::F16 => Self::F16(values.iter().map(|&value| f16::from_f32(value)).collect()),
            Dtype::Bf16 => Self::Bf16(values.iter().map(|&value| bf16::from_f32(value)).collect()),
        }
    }

    /// The first `len` elements of little-endian bytes.
    pub fn from_bytes(dtype: Dtype, bytes: &[u8], len: usize) -> Self {
        let halves = || bytes.as_chunks().0.iter().take(len).map(|&bytes| u16::from_le_bytes(bytes));
        match dtype {
            Dtype::F32 => Self::F32(bytes.as_chunks().0.iter().take(len).map(|&b| f32::from_le_bytes(b)).collect()),
            Dtype::F16 => Self::F16(halves().map(f16::from_bits).collect()),
            Dtype::Bf16 => Self::Bf16(halves().map(bf16::from_bits).collect()),
        }
    }

    /// Little-endian.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Bf16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    /// In `f32`.
    pub fn single(&self) -> Vec<f32> {
        match self {
            Self::F32(values) => values.clone(),
            Self::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
            Self::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
        }
    }

    /// As the optimizer takes them.
    pub fn as_mut(&mut self) -> ValuesMut<'_> {
        match self {
            Self::F32(values) => values.into(),
            Self::F16(values) => values.into(),
            Self::Bf16(values) => values.into(),
        }
    }
}

impl<'a> From<&'a mut Values> for ValuesMut<'a> {
    fn from(values: &'a mut Values) -> Self {
        values.as_mut()
    }
}
