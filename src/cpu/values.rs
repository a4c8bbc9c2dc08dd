//! Host tensors cut into parts, and converted to `f32` and back.

use half::{bf16, f16};

use crate::math::half::{bf16_nearest, f16_nearest, f16_to_f32};
use crate::values::{Values, ValuesMut};

/// Takes the first `len` elements off a slice.
#[inline(always)]
pub(super) fn split_off<'a, T>(slice: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (head, tail) = std::mem::take(slice).split_at_mut(len);
    *slice = tail;
    head
}

impl<'a> Values<'a> {
    /// The first `len` elements, and the rest.
    pub(super) fn split_at(self, len: usize) -> (Self, Self) {
        match self {
            Self::F32(values) => both(values.split_at(len), Self::F32),
            Self::F16(values) => both(values.split_at(len), Self::F16),
            Self::Bf16(values) => both(values.split_at(len), Self::Bf16),
        }
    }

    /// Takes the first `len` elements off.
    pub(super) fn split_off(&mut self, len: usize) -> Self {
        let (first, rest) = self.split_at(len);
        *self = rest;
        first
    }

    /// Parts of `len` elements, and a last one of fewer.
    pub(super) fn chunks(self, len: usize) -> impl Iterator<Item = Self> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let chunk;
            (chunk, rest) = rest.split_at(len.min(rest.len()));
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    /// The values in `f32`. Those of another type are put into `scratch`.
    #[inline(always)]
    pub(super) fn in_f32<'s>(self, scratch: &'s mut Vec<f32>) -> &'s [f32]
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

    /// Copies all values, in `f32`.
    #[inline(always)]
    pub(super) fn copy_to(self, target: &mut [f32]) {
        match self {
            Self::F32(values) => target.copy_from_slice(values),
            Self::F16(values) => convert(values, target, f16_to_f32),
            // NaN becomes quiet as soon as it is computed with.
            Self::Bf16(values) => convert(values, target, |value| f32::from_bits(u32::from(value.to_bits()) << 16)),
        }
    }
}

impl ValuesMut<'_> {
    /// The first `len` elements, and the rest.
    pub(super) fn split_at(self, len: usize) -> (Self, Self) {
        match self {
            Self::F32(values) => both(values.split_at_mut(len), Self::F32),
            Self::F16(values) => both(values.split_at_mut(len), Self::F16),
            Self::Bf16(values) => both(values.split_at_mut(len), Self::Bf16),
        }
    }

    /// Takes the first `len` elements off.
    pub(super) fn split_off(&mut self, len: usize) -> Self {
        let (first, rest) = std::mem::replace(self, Self::F32(&mut [])).split_at(len);
        *self = rest;
        first
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

    /// Sets all elements to 0.
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
