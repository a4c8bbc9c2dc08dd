use half::{bf16, f16};

use crate::Dtype;
use crate::half::{bf16_nearest, bf16_to_f32, f16_nearest, f16_to_f32};

/// Elements of a tensor that are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Values<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

/// Elements of a tensor that are written: of a parameter, or of a gradient that may be reset.
#[derive(Debug, PartialEq)]
pub enum ValuesMut<'a> {
    /// [`Dtype::F32`].
    F32(&'a mut [f32]),
    /// [`Dtype::F16`], in the type of the crate [`half`](https://docs.rs/half) 2.
    F16(&'a mut [f16]),
    /// [`Dtype::Bf16`], likewise.
    Bf16(&'a mut [bf16]),
}

impl<'a> From<&'a mut [f32]> for ValuesMut<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        Self::F32(values)
    }
}

impl<'a> From<&'a mut [f16]> for ValuesMut<'a> {
    fn from(values: &'a mut [f16]) -> Self {
        Self::F16(values)
    }
}

impl<'a> From<&'a mut [bf16]> for ValuesMut<'a> {
    fn from(values: &'a mut [bf16]) -> Self {
        Self::Bf16(values)
    }
}

impl<'a> Values<'a> {
    pub fn len(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// The first `len` elements, and the rest.
    pub fn split_at(self, len: usize) -> (Self, Self) {
        match self {
            Self::F32(values) => both(values.split_at(len), Self::F32),
            Self::F16(values) => both(values.split_at(len), Self::F16),
            Self::Bf16(values) => both(values.split_at(len), Self::Bf16),
        }
    }

    /// Parts of `len` elements, and a last one of fewer.
    pub fn chunks(self, len: usize) -> impl Iterator<Item = Self> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let chunk;
            (chunk, rest) = rest.split_at(len.min(rest.len()));
            (chunk.len() > 0).then_some(chunk)
        })
    }

    /// The values in `f32`: themselves, or put into `scratch`.
    #[inline(always)]
    pub fn single<'s>(self, scratch: &'s mut Vec<f32>) -> &'s [f32]
    where
        'a: 's,
    {
        if let Self::F32(values) = self {
            return values;
        }
        scratch.resize(self.len(), 0.0);
        self.copy_to(scratch);
        scratch
    }

    /// All values in `f32`.
    #[inline(always)]
    pub fn copy_to(self, target: &mut [f32]) {
        match self {
            Self::F32(values) => target.copy_from_slice(values),
            Self::F16(values) => convert(values, target, f16_to_f32),
            Self::Bf16(values) => convert(values, target, bf16_to_f32),
        }
    }
}

impl<'a> ValuesMut<'a> {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the elements are.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F16(_) => Dtype::F16,
            Self::Bf16(_) => Dtype::Bf16,
        }
    }

    pub(super) fn shared(&self) -> Values<'_> {
        match self {
            Self::F32(values) => Values::F32(values),
            Self::F16(values) => Values::F16(values),
            Self::Bf16(values) => Values::Bf16(values),
        }
    }

    /// The same elements for a shorter time.
    pub(super) fn reborrow(&mut self) -> ValuesMut<'_> {
        match self {
            Self::F32(values) => ValuesMut::F32(values),
            Self::F16(values) => ValuesMut::F16(values),
            Self::Bf16(values) => ValuesMut::Bf16(values),
        }
    }

    /// The first `len` elements, and the rest.
    pub(super) fn split_at(self, len: usize) -> (Self, Self) {
        match self {
            Self::F32(values) => both(values.split_at_mut(len), Self::F32),
            Self::F16(values) => both(values.split_at_mut(len), Self::F16),
            Self::Bf16(values) => both(values.split_at_mut(len), Self::Bf16),
        }
    }

    /// All values, little-endian.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Bf16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    /// Takes values in `f32`, rounded to nearest even.
    #[inline(always)]
    pub(super) fn round(&mut self, source: &[f32]) {
        match self {
            Self::F32(values) => values.copy_from_slice(source),
            Self::F16(values) => convert(source, values, f16_nearest),
            Self::Bf16(values) => convert(source, values, bf16_nearest),
        }
    }

    pub(super) fn zero(&mut self) {
        match self {
            Self::F32(values) => values.fill(0.0),
            Self::F16(values) => values.fill(f16::ZERO),
            Self::Bf16(values) => values.fill(bf16::ZERO),
        }
    }
}

#[inline(always)]
fn convert<T: Copy, U>(source: &[T], target: &mut [U], convert: impl Fn(T) -> U) {
    for (target, &source) in target.iter_mut().zip(source) {
        *target = convert(source);
    }
}

fn both<T, U>((first, rest): (T, T), into: impl Fn(T) -> U) -> (U, U) {
    (into(first), into(rest))
}
