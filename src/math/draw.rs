//! The twin of `shaders/shared/draw.wgsl`: the random bits by which state and bf16 parameters are rounded.
//!
//! Values are rounded up or down at random, in 65,536ths of a step. So a sum that takes in less than half of a step each time still
//! moves by the right mean.

/// Random words at a step, from a quad on: two for each quad, with 16 bits for each element in the order of a quad of bf16.
#[inline(always)]
pub(crate) fn draw<const N: usize>(key: u32, quad: u32) -> [u32; N] {
    let first = key.wrapping_add(quad.wrapping_mul(2));
    let mut words = [0; N];
    for (i, word) in words.iter_mut().enumerate() {
        *word = mix(first.wrapping_add(i as u32));
    }
    words
}

/// The factor by which they become those of a plane; a parameter takes them as they are. A product with an odd number is another order
/// of all words. The factors have nothing in common, such as a small ratio, by which planes would be rounded alike.
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
pub(crate) fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: u32 = 65_536;

    /// How much the halves of random words have in common with those of another plane or step: 1 if they are the same. The standard
    /// deviation of what is independent is 1/256.
    fn correlation([(a_step, a_factor), (b_step, b_factor)]: [(u32, u32); 2], shift: u32) -> f64 {
        let mut products = 0.0;
        for quad in (0..WORDS / 2).step_by(32) {
            let [a, b] = [a_step, b_step].map(|step| draw::<64>(draw_key(7, step), quad));
            for (a, b) in a.iter().zip(b) {
                let halves = [a.wrapping_mul(a_factor), b.wrapping_mul(b_factor)].map(|word| (word >> shift) & 0xffff);
                let [a, b] = halves.map(|half| f64::from(half) - 32_767.5);
                products += a * b;
            }
        }
        products / f64::from(WORDS) / (65_536.0 * 65_536.0 / 12.0)
    }

    #[test]
    fn planes_parameters_and_steps_are_rounded_independently() {
        // Eight planes have factors. A parameter takes the words as they are, so that its factor is 1.
        let factors: Vec<u32> = (0..8).map(draw_factor).chain([1]).collect();
        for &a in &factors {
            for &b in &factors {
                for (steps, shift) in [([1, 1], 0), ([1, 1], 16), ([1, 2], 0), ([1, 2], 16)] {
                    let found = correlation([(steps[0], a), (steps[1], b)], shift);
                    let wanted = if a == b && steps[0] == steps[1] { 1.0 } else { 0.0 };
                    assert!((found - wanted).abs() < 0.02, "factors {a:x} and {b:x} at steps {steps:?}: {found}");
                }
            }
        }
    }
}
