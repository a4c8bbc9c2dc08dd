//! The twin of `shaders/state/bf16.wgsl`: a word has two elements, the first in its low half.

use super::codec::{BLOCK, Codec, first, put};
use crate::math::half::{bf16_stochastic, bf16_to_f32};

/// [`StatePrecision::Bf16`](crate::StatePrecision::Bf16).
pub(crate) struct Bf16;

impl Codec for Bf16 {
    const WORDS: usize = BLOCK / 2;

    #[inline(always)]
    fn decode<const SIGNED: bool>(words: &[f32]) -> [f32; BLOCK] {
        let words: [f32; BLOCK / 2] = first(words);
        let halves: [u16; BLOCK] = bytemuck::cast(words);
        let mut values = [0.0; BLOCK];
        for i in 0..BLOCK {
            values[i] = bf16_to_f32(half::bf16::from_bits(halves[i]));
        }
        values
    }

    #[inline(always)]
    fn encode<const SIGNED: bool>(values: &[f32; BLOCK], random: &[u32; BLOCK / 2], words: &mut [f32]) {
        let random: [u16; BLOCK] = bytemuck::cast(*random);
        let mut halves = [0; BLOCK];
        for i in 0..BLOCK {
            halves[i] = bf16_stochastic(values[i], random[i].into()).to_bits();
        }
        put(bytemuck::cast::<_, [f32; BLOCK / 2]>(halves), words);
    }
}
