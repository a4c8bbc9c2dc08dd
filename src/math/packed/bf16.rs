//! The twin of `shaders/state/bf16.wgsl`: state in bf16.
//!
//! A block of 32 elements is two rows of 16 columns. A word has the two elements of a column, the one of the first row in its low half. So
//! nothing moves from one column to another, as in [`Q8`](super::Q8).

use super::codec::{BATCH, Codec, Random, first, put};
use crate::math::half::{UPPER_HALF, bf16_bits_stochastic};

/// Columns of a block.
const COLUMNS: usize = 16;

/// [`StatePrecision::Bf16`](crate::StatePrecision::Bf16).
pub(crate) struct Bf16;

impl Codec for Bf16 {
    const WORDS: usize = BATCH / 2;

    #[inline(always)]
    fn decode<const SIGNED: bool>(words: &[f32]) -> [f32; BATCH] {
        let (words, mut values): ([f32; BATCH / 2], _) = (first(words), [0.0; BATCH]);
        for (number, word) in words.iter().enumerate() {
            let at = element_of(number);
            [values[at], values[at + COLUMNS]] = decode_column(word.to_bits());
        }
        values
    }

    #[inline(always)]
    fn rewrite<const SIGNED: bool>(words: &mut [f32], random: &Random, mut change: impl FnMut(usize, f32) -> f32) {
        let mut own: [f32; BATCH / 2] = first(words);
        for block in 0..BATCH / (2 * COLUMNS) {
            for column in 0..COLUMNS {
                let (number, at) = (COLUMNS * block + column, 2 * COLUMNS * block + column);
                let [low, high] = decode_column(own[number].to_bits());
                let [low, high] = [change(at, low), change(at + COLUMNS, high)];
                let bits = random.words[number].wrapping_mul(random.factor);
                let low = bf16_bits_stochastic(low, bits & !UPPER_HALF) >> 16;
                own[number] = f32::from_bits(low | (bf16_bits_stochastic(high, bits >> 16) & UPPER_HALF));
            }
        }
        put(own, words);
    }
}

/// The first element in a batch of a word's two.
#[inline(always)]
fn element_of(word: usize) -> usize {
    word / COLUMNS * (2 * COLUMNS) + word % COLUMNS
}

#[inline(always)]
fn decode_column(word: u32) -> [f32; 2] {
    [word << 16, word & UPPER_HALF].map(f32::from_bits)
}
