//! The twin of `shaders/state/bf16.wgsl`: a word has two elements, the first in its low half.

use super::codec::{Codec, LANES, first, put};
use crate::math::half::{bf16_stochastic, bf16_to_f32};

/// [`StatePrecision::Bf16`](crate::StatePrecision::Bf16).
pub(crate) struct Bf16;

impl Codec for Bf16 {
    const WORDS: usize = LANES / 2;

    #[inline(always)]
    fn decode<const SIGNED: bool>(words: &[f32]) -> [f32; LANES] {
        let words: [f32; LANES / 2] = first(words);
        let halves: [u16; LANES] = bytemuck::cast(words);
        let mut values = [0.0; LANES];
        for i in 0..LANES {
            values[i] = bf16_to_f32(half::bf16::from_bits(halves[i]));
        }
        values
    }

    #[inline(always)]
    fn encode<const SIGNED: bool>(values: &[f32; LANES], random: &[u32; LANES / 2], words: &mut [f32]) {
        let random: [u16; LANES] = bytemuck::cast(*random);
        let mut halves = [0; LANES];
        for i in 0..LANES {
            halves[i] = bf16_stochastic(values[i], random[i].into()).to_bits();
        }
        put(bytemuck::cast::<_, [f32; LANES / 2]>(halves), words);
    }
}
