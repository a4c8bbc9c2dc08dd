//! Planes of state in fewer bits.

mod bf16;
mod codec;
mod q8;

pub(crate) use bf16::Bf16;
pub(crate) use codec::{BATCH, Codec, Random};
use codec::{NEAREST, first, put};
pub(crate) use q8::Q8;

use crate::options::StatePrecision;

/// Writes elements to a plane's words, each rounded to nearest. What was decoded is the same again. Past the last element there
/// are zeros, up to a whole block.
pub(crate) fn pack(precision: StatePrecision, signed: bool, values: &[f32], words: &mut [f32]) {
    match (precision, signed) {
        (StatePrecision::F32, _) => words.copy_from_slice(values),
        (StatePrecision::Bf16, _) => pack_by::<Bf16, true>(values, words),
        (StatePrecision::Q8, true) => pack_by::<Q8, true>(values, words),
        (StatePrecision::Q8, false) => pack_by::<Q8, false>(values, words),
    }
}

fn pack_by<C: Codec, const SIGNED: bool>(values: &[f32], words: &mut [f32]) {
    for (values, words) in values.chunks(BATCH).zip(words.chunks_mut(C::WORDS)) {
        let (values, nearest) = (first::<BATCH>(values), Random { words: &[NEAREST; BATCH / 2], factor: 1 });
        C::rewrite::<SIGNED>(words, &nearest, |at, _| match values[at] {
            // A quiet one.
            value if value.is_nan() => f32::NAN,
            // Without signs bits are compared, by which -0 would be beyond all numbers. It becomes 0.
            value if !SIGNED => value + 0.0,
            value => value,
        });
    }
}

/// The elements of a plane's words.
pub(crate) fn unpack(precision: StatePrecision, signed: bool, words: &[f32], values: &mut [f32]) {
    match (precision, signed) {
        (StatePrecision::F32, _) => values.copy_from_slice(words),
        (StatePrecision::Bf16, _) => unpack_by::<Bf16, true>(words, values),
        (StatePrecision::Q8, true) => unpack_by::<Q8, true>(words, values),
        (StatePrecision::Q8, false) => unpack_by::<Q8, false>(words, values),
    }
}

fn unpack_by<C: Codec, const SIGNED: bool>(words: &[f32], values: &mut [f32]) {
    for (values, words) in values.chunks_mut(BATCH).zip(words.chunks(C::WORDS)) {
        put(C::decode::<SIGNED>(words), values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_zero_without_a_sign_is_a_zero() {
        let mut words = vec![0.0; StatePrecision::Q8.words(BATCH)];
        pack(StatePrecision::Q8, false, &[1.0, -0.0, 0.5], &mut words);
        let mut values = [f32::NAN; 3];
        unpack(StatePrecision::Q8, false, &words, &mut values);
        assert_eq!(values.map(f32::to_bits), [1.0_f32, 0.0, 0.5].map(f32::to_bits));
    }
}
