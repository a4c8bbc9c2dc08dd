//! Tensors in host memory, of a type that is known at run time.

use half::{bf16, f16};

use crate::dtype::Dtype;

/// The elements of a tensor, to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values<'a> {
    /// [`Dtype::F32`].
    F32(&'a [f32]),
    /// [`Dtype::F16`], in the type of the crate [`half`](https://docs.rs/half) 2.
    F16(&'a [f16]),
    /// [`Dtype::Bf16`], likewise.
    Bf16(&'a [bf16]),
}

/// The elements of a tensor, to be read and written.
#[derive(Debug, PartialEq)]
pub enum ValuesMut<'a> {
    /// [`Dtype::F32`].
    F32(&'a mut [f32]),
    /// [`Dtype::F16`], in the type of the crate [`half`](https://docs.rs/half) 2.
    F16(&'a mut [f16]),
    /// [`Dtype::Bf16`], likewise.
    Bf16(&'a mut [bf16]),
}

/// Conversions from slices, vectors and arrays of one element type.
macro_rules! from_slices {
    ($element:ty, $variant:ident) => {
        impl<'a> From<&'a [$element]> for Values<'a> {
            fn from(values: &'a [$element]) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a> From<&'a Vec<$element>> for Values<'a> {
            fn from(values: &'a Vec<$element>) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a, const N: usize> From<&'a [$element; N]> for Values<'a> {
            fn from(values: &'a [$element; N]) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a> From<&'a mut [$element]> for ValuesMut<'a> {
            fn from(values: &'a mut [$element]) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a> From<&'a mut Vec<$element>> for ValuesMut<'a> {
            fn from(values: &'a mut Vec<$element>) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a, const N: usize> From<&'a mut [$element; N]> for ValuesMut<'a> {
            fn from(values: &'a mut [$element; N]) -> Self {
                Self::$variant(values)
            }
        }
    };
}

from_slices!(f32, F32);
from_slices!(f16, F16);
from_slices!(bf16, Bf16);

impl<'a> From<&'a ValuesMut<'_>> for Values<'a> {
    fn from(values: &'a ValuesMut<'_>) -> Self {
        match values {
            ValuesMut::F32(values) => Self::F32(values),
            ValuesMut::F16(values) => Self::F16(values),
            ValuesMut::Bf16(values) => Self::Bf16(values),
        }
    }
}

impl Values<'_> {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F16(_) => Dtype::F16,
            Self::Bf16(_) => Dtype::Bf16,
        }
    }

    /// The elements as bytes, little-endian.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Bf16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

impl ValuesMut<'_> {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        Values::from(self).len()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        Values::from(self).dtype()
    }

    /// Takes all elements from little-endian bytes of the same type and length.
    pub(crate) fn copy_from_bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::F32(values) => copy(values, bytes, f32::from_le_bytes),
            Self::F16(values) => copy(values, bytes, f16::from_le_bytes),
            Self::Bf16(values) => copy(values, bytes, bf16::from_le_bytes),
        }
    }
}

fn copy<T, const N: usize>(values: &mut [T], bytes: &[u8], from: impl Fn([u8; N]) -> T) {
    for (value, &bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = from(bytes);
    }
}
