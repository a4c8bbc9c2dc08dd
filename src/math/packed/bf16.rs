//! The twin of `shaders/state/bf16.wgsl`: a word has two elements, the first in its low half.

use super::codec::{BATCH, Codec, Random, first, put};
use crate::math::half::{bf16_stochastic, bf16_to_f32};

/// [`StatePrecision::Bf16`](crate::StatePrecision::Bf16).
pub(crate) struct Bf16;

impl Codec for Bf16 {
    const WORDS: usize = BATCH / 2;

    #[inline(always)]
    fn decode<const SIGNED: bool>(words: &[f32]) -> [f32; BATCH] {
        let words: [f32; BATCH / 2] = first(words);
        let halves: [u16; BATCH] = bytemuck::cast(words);
        let mut values = [0.0; BATCH];
        for i in 0..BATCH {
            values[i] = bf16_to_f32(half::bf16::from_bits(halves[i]));
        }
        values
    }

    #[inline(always)]
    fn rewrite<const SIGNED: bool>(words: &mut [f32], random: &Random, mut change: impl FnMut(usize, f32) -> f32) {
        let mut bits = *random.words;
        for word in &mut bits {
            *word = word.wrapping_mul(random.factor);
        }
        let bits: [u16; BATCH] = bytemuck::cast(bits);
        let mut halves: [u16; BATCH] = bytemuck::cast::<[f32; BATCH / 2], _>(first(words));
        for i in 0..BATCH {
            let value = change(i, bf16_to_f32(half::bf16::from_bits(halves[i])));
            halves[i] = bf16_stochastic(value, bits[i].into()).to_bits();
        }
        put(bytemuck::cast::<_, [f32; BATCH / 2]>(halves), words);
    }
}
