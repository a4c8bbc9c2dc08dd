//! The twin of `shaders/state/bf16.wgsl`: state in bf16.
//!
//! A block of 32 elements is two rows of 16 columns. A word has the two elements of a column, the one of the first row in its low half. So
//! nothing moves from one column to another, as in [`Q8`](super::Q8).

use super::codec::{BATCH, Codec, Random};
use crate::math::half::{UPPER_HALF, bf16_bits_stochastic};

/// Columns of a block.
const COLUMNS: usize = 16;

/// [`StatePrecision::Bf16`](crate::StatePrecision::Bf16).
pub(crate) struct Bf16;

impl Codec for Bf16 {
    const WORDS: usize = BATCH / 2;

    #[inline(always)]
    fn decode<const SIGNED: bool>(words: &[f32]) -> [f32; BATCH] {
        let mut values = [0.0; BATCH];
        for (words, values) in words.chunks(COLUMNS).zip(values.chunks_exact_mut(2 * COLUMNS)) {
            let (low, high) = values.split_at_mut(COLUMNS);
            for ((word, low), high) in words.iter().zip(low).zip(high) {
                [*low, *high] = decode_column(word.to_bits());
            }
        }
        values
    }

    #[inline(always)]
    fn rewrite<const SIGNED: bool>(words: &mut [f32], random: &Random, mut change: impl FnMut(usize, f32) -> f32) {
        // Block by block from memory to memory: a copy of all words would not stay in registers. The number of blocks is a constant, so that
        // no index in the inner loop needs a check.
        let (blocks, _) = words.as_chunks_mut::<COLUMNS>();
        for block in 0..BATCH / (2 * COLUMNS) {
            let Some(words) = blocks.get_mut(block) else { return };
            let mut own = *words;
            for (column, word) in own.iter_mut().enumerate() {
                let at = 2 * COLUMNS * block + column;
                let [low, high] = decode_column(word.to_bits());
                let [low, high] = [change(at, low), change(at + COLUMNS, high)];
                let bits = random.words[COLUMNS * block + column].wrapping_mul(random.factor);
                let low = bf16_bits_stochastic(low, bits & !UPPER_HALF) >> 16;
                *word = f32::from_bits(low | (bf16_bits_stochastic(high, bits >> 16) & UPPER_HALF));
            }
            *words = own;
        }
    }
}

#[inline(always)]
fn decode_column(word: u32) -> [f32; 2] {
    [word << 16, word & UPPER_HALF].map(f32::from_bits)
}
