//! The twin of `shaders/shared/half.wgsl`. Conversions have the bits of the crate `half`, whose own are calls or branches
//! that a compiler does not vectorise.

use half::{bf16, f16};

/// [`from_f32`](half::f16::from_f32) of an f16: to nearest even.
#[inline(always)]
#[must_use]
pub fn f16_nearest(value: f32) -> f16 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let odd = (magnitude >> 13) & 1;
    let normal = magnitude.wrapping_sub(0x3800_0000 - 0xfff).wrapping_add(odd) >> 13;
    // Below 2⁻¹⁴, a multiple of 2⁻²⁴: an integer, to which the sum with 2²³ rounds, and which its last bits take up.
    let small = (f32::from_bits(magnitude) * TWO_TO_24 + TWO_TO_23).to_bits().wrapping_sub(TWO_TO_23.to_bits());
    let rounded = if magnitude < SMALLEST_F16 { small } else { normal };
    let nan = ((magnitude >> 13) & 0x3ff) | 0x7e00;
    let kept = if magnitude > F32_INFINITY { nan } else { rounded.min(F16_INFINITY) };
    f16::from_bits((kept | ((bits >> 16) & 0x8000)) as u16)
}

/// [`to_f32`](half::f16::to_f32) of an f16.
#[inline(always)]
#[must_use]
pub fn f16_to_f32(value: f16) -> f32 {
    let bits = u32::from(value.to_bits());
    let magnitude = bits & 0x7fff;
    let bias = if magnitude >= F16_INFINITY { 0x7000_0000 } else { 0x3800_0000 };
    let quiet_bit = if magnitude > F16_INFINITY { 0x0040_0000 } else { 0 };
    let normal = ((magnitude << 13) + bias) | quiet_bit;
    let small = (magnitude as i32 as f32 * (1.0 / TWO_TO_24)).to_bits();
    let wide = if magnitude < 0x400 { small } else { normal };
    f32::from_bits(wide | ((bits & 0x8000) << 16))
}

/// [`from_f32`](half::bf16::from_f32) of a bf16: to nearest even.
#[inline(always)]
#[must_use]
pub fn bf16_nearest(value: f32) -> bf16 {
    let bits = value.to_bits();
    let nudged = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let rounded = if bits & 0x7fff_ffff > F32_INFINITY { quiet(bits) } else { nudged };
    bf16::from_bits((rounded >> 16) as u16)
}

/// [`to_f32`](half::bf16::to_f32) of a bf16.
#[inline(always)]
#[must_use]
pub fn bf16_to_f32(value: bf16) -> f32 {
    f32::from_bits(quiet(u32::from(value.to_bits()) << 16))
}

/// Rounds up or down at random, by the low 16 bits of `random`. The probability of rounding up is the distance to the lower
/// neighbour in 65,536ths, so that the mean over all random numbers is the value. A value that bf16 can represent stays as
/// it is. A finite value beyond the largest bf16 becomes the largest, never infinity. NaN has to be quiet, as all that arithmetic gives
/// is: what makes it so lies in the upper half of its bits.
#[inline(always)]
#[must_use]
pub fn bf16_stochastic(value: f32, random: u32) -> bf16 {
    bf16::from_bits((bf16_bits_stochastic(value, random & !UPPER_HALF) >> 16) as u16)
}

/// The same, in the upper half of the bits. `random` has 16 bits.
#[inline(always)]
pub(crate) fn bf16_bits_stochastic(value: f32, random: u32) -> u32 {
    let bits = value.to_bits();
    // The largest bf16, whose upper neighbour would be infinity, and all above.
    let stays = bits & 0x7fff_ffff >= 0x7f7f_0000;
    bits + if stays { 0 } else { random }
}

/// The bits of an `f32` that bf16 keeps.
pub(crate) const UPPER_HALF: u32 = 0xffff_0000;
const F32_INFINITY: u32 = f32::INFINITY.to_bits();
const F16_INFINITY: u32 = 0x7c00;
/// 2⁻¹⁴, the smallest f16 that is not subnormal, as an `f32`'s bits.
const SMALLEST_F16: u32 = 0x3880_0000;
const TWO_TO_23: f32 = 8_388_608.0;
const TWO_TO_24: f32 = 16_777_216.0;

/// An `f32`'s bits, with a signalling NaN made quiet.
#[inline(always)]
fn quiet(bits: u32) -> u32 {
    bits | if bits & 0x7fff_ffff > F32_INFINITY { 0x0040_0000 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_is_that_of_the_crate_half() {
        let check = |wide: f32| {
            assert_eq!(f16_nearest(wide).to_bits(), f16::from_f32(wide).to_bits(), "{:x}", wide.to_bits());
        };
        for bits in 0..=u16::MAX {
            let narrow = f16::from_bits(bits);
            let wide = narrow.to_f32();
            assert_eq!(f16_to_f32(narrow).to_bits(), wide.to_bits(), "{bits:x}");
            // Exact, a tie with the next one, and the nearest neighbours of both.
            let tie = (wide + f16::from_bits(bits.wrapping_add(1)).to_f32()) / 2.0;
            for near in [wide, tie] {
                [near.next_down(), near, near.next_up()].into_iter().for_each(check);
            }
        }
        // A million others of all kinds; fewer for Miri, which takes a thousand times as long.
        let stride = if cfg!(miri) { 4_000_037 } else { 4099 };
        (0..=u32::MAX).step_by(stride).map(f32::from_bits).for_each(check);
    }

    #[test]
    fn bf16_is_that_of_the_crate_half() {
        for upper in 0..=u16::MAX {
            let narrow = bf16::from_bits(upper);
            assert_eq!(bf16_to_f32(narrow).to_bits(), narrow.to_f32().to_bits(), "{upper:x}");
            // Exact, below and above a tie and on it, with the nearest neighbours of each.
            for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let wide = f32::from_bits(u32::from(upper) << 16 | lower);
                assert_eq!(bf16_nearest(wide).to_bits(), bf16::from_f32(wide).to_bits(), "{upper:x} {lower:x}");
            }
        }
    }

    /// Inputs of every kind: 0, subnormal, normal, across a power of two, the largest finite ones.
    const FINITE: [u32; 9] =
        [0, 1, 0x0000_8000, 0x007f_ffff, 0x3f80_0001, 0x3f9e_0651, 0x3fff_ffff, 0x7f7f_0000, 0x7f7e_ffff];

    #[test]
    fn the_mean_of_stochastic_roundings_is_the_value() {
        for bits in FINITE {
            for sign in [0, 0x8000_0000] {
                let value = f32::from_bits(bits | sign);
                let drawn = (0..=0xffff).map(|random| bf16_stochastic(value, random));
                // Exact: 65,536 multiples of at most two neighbours, whose bits f64 has room for.
                let mean = drawn.map(|drawn| f64::from(drawn.to_f32())).sum::<f64>() / 65_536.0;
                assert_eq!(mean, f64::from(value), "{bits:x}");
            }
        }
    }

    #[test]
    fn stochastic_rounding_keeps_what_needs_none() {
        for random in [0, 1, 0x7fff, 0x8000, 0xffff, u32::MAX] {
            for bits in 0..=u16::MAX {
                let (kept, exact) = (bf16::from_bits(bits), bf16::from_bits(bits).to_f32());
                // Nothing but the quiet bit of a NaN, which `to_f32` sets.
                let expected = bf16::from_f32(exact);
                assert_eq!(bf16_stochastic(exact, random).to_bits(), expected.to_bits(), "{kept:?}");
            }
            // No bf16 is above these, apart from infinity.
            for value in [f32::MAX, f32::from_bits(0x7f7f_0001)] {
                assert_eq!(bf16_stochastic(value, random), bf16::MAX);
                assert_eq!(bf16_stochastic(-value, random), bf16::MIN);
            }
            // NaN, with payload bits that only the f32 has, and with all bits.
            assert_eq!(bf16_stochastic(f32::from_bits(0x7fc0_0001), random).to_bits(), 0x7fc0);
            assert_eq!(bf16_stochastic(f32::from_bits(0xffeb_cdef), random).to_bits(), 0xffeb);
            assert_eq!(bf16_stochastic(f32::from_bits(u32::MAX), random).to_bits(), 0xffff);
        }
    }
}
