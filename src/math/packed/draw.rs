//! The twin of `shaders/shared/draw.wgsl`: the random bits by which state is rounded.
//!
//! Values are rounded up or down at random, in 65,536ths of a step. So a sum that takes in less than half of a step each time still
//! moves by the right mean.

use super::codec::BLOCK;

/// The random words of [`BLOCK`] elements at a step, from a quad on: two for each quad, with 16 bits for each element in the order of a
/// quad of bf16.
#[inline(always)]
pub(crate) fn draw(key: u32, quad: u32) -> [u32; BLOCK / 2] {
    let first = key.wrapping_add(quad.wrapping_mul(2));
    let mut words = [0; BLOCK / 2];
    for (i, word) in words.iter_mut().enumerate() {
        *word = mix(first.wrapping_add(i as u32));
    }
    words
}

/// The factor by which they become those of a plane. A product with an odd number is another order of all words.
#[inline(always)]
#[must_use]
pub(crate) fn draw_factor(plane: u32) -> u32 {
    (2 * plane + 1).wrapping_mul(0x9e37_79b9)
}

/// The key of a parameter's random words at a step.
#[inline(always)]
#[must_use]
pub(crate) fn draw_key(stream: u32, step: u32) -> u32 {
    mix(stream ^ mix(step))
}

/// Spreads every bit over all: the function `lowbias32`, which Chris Wellons found by search.
#[inline(always)]
#[must_use]
pub(super) fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}
