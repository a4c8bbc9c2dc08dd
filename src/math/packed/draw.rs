//! The twin of `shaders/shared/draw.wgsl`: the random bits by which state is rounded.
//!
//! Values are rounded up or down at random, in 65,536ths of a step. So a sum that takes in less than half of a step each time still
//! moves by the right mean.

use super::codec::BATCH;

/// The random words of [`BATCH`] elements at a step, from a quad on: two for each quad, with 16 bits for each element in the order of a
/// quad of bf16.
#[inline(always)]
pub(crate) fn draw(key: u32, quad: u32) -> [u32; BATCH / 2] {
    let first = key.wrapping_add(quad.wrapping_mul(2));
    let mut words = [0; BATCH / 2];
    for (i, word) in words.iter_mut().enumerate() {
        *word = mix(first.wrapping_add(i as u32));
    }
    words
}

/// The factor by which they become those of a plane. A product with an odd number is another order of all words. The factors have nothing in
/// common, such as a small ratio, by which planes would be rounded alike.
#[inline(always)]
#[must_use]
pub(crate) fn draw_factor(plane: u32) -> u32 {
    mix(plane.wrapping_add(1)) | 1
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How much the halves of a plane's random words have in common with those of another: 1 if they are the same.
    fn correlation(planes: [u32; 2], shift: u32) -> f64 {
        let (mut products, words) = (0.0, 65_536);
        for quad in (0..words / 2).step_by(BATCH / 4) {
            for word in draw(7, quad) {
                let [a, b] = planes.map(|plane| f64::from((word.wrapping_mul(draw_factor(plane)) >> shift) & 0xffff));
                products += (a - 32_767.5) * (b - 32_767.5);
            }
        }
        products / f64::from(words) / (65_536.0 * 65_536.0 / 12.0)
    }

    #[test]
    fn planes_are_rounded_independently() {
        for a in 0..8 {
            for b in 0..8 {
                for shift in [0, 16] {
                    let found = correlation([a, b], shift);
                    // The standard deviation of what is independent is 1/256.
                    let wanted = if a == b { 1.0 } else { 0.0 };
                    assert!((found - wanted).abs() < 0.02, "planes {a} and {b}: {found}");
                }
            }
        }
    }
}
