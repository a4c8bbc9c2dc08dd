//! The twins of `shaders/half.wgsl` and `shaders/philox.wgsl`. What rounds to nearest, and back to `f32`, the crate
//! `half` has: the shader gives its bits.

use half::bf16;

use crate::HalfParams;
use crate::plan::Rounding;

/// To the neighbour above with a probability of the distance to the one below, in 65,536ths, by the low 16 bits of
/// `random`: over all of them the mean is the value. What a bf16 can represent stays as it is; a finite value beyond
/// the largest bf16 becomes that, never infinity.
#[inline(always)]
#[must_use]
pub fn bf16_stochastic(value: f32, random: u32) -> bf16 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let drawn = ((magnitude + (random & 0xffff)) >> 16).min(0x7f7f);
    let sign = (bits >> 16) & 0x8000;
    let rounded = if magnitude >= F32_INFINITY { quiet(bits) >> 16 } else { drawn | sign };
    bf16::from_bits(rounded as u16)
}

const F32_INFINITY: u32 = f32::INFINITY.to_bits();

/// An `f32`'s bits, with a signalling NaN made quiet.
#[inline]
fn quiet(bits: u32) -> u32 {
    bits | if bits & 0x7fff_ffff > F32_INFINITY { 0x0040_0000 } else { 0 }
}

/// What the stochastic rounding of a group's parameter draws from: a hash (FNV-1a) of seed and name, so that it is the same
/// wherever the parameter lies. 0 where nothing is drawn.
#[must_use]
pub fn stream(rounding: Rounding, half_params: HalfParams, name: &str) -> u32 {
    let (Rounding::Stochastic, HalfParams::Stochastic { seed }) = (rounding, half_params) else { return 0 };
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 32) as u32 ^ hash as u32
}

/// 64 random bits for each counter and key: enough for a quad of bf16.
#[inline]
#[must_use]
pub fn philox(counter: [u32; 2], key: u32) -> [u32; 2] {
    let state = (0..10).fold((counter, key), |(counter, key), _| philox_round(counter, key));
    state.0
}

/// [`philox`] of the counters `[first, second]`, `[first + 1, second]` and so on: all first words, and all second words.
#[inline(always)]
pub(crate) fn philox_of<const N: usize>(first: u32, second: u32, key: u32) -> [[u32; N]; 2] {
    let (mut x, mut y) = (std::array::from_fn(|lane| first.wrapping_add(lane as u32)), [second; N]);
    let mut key = key;
    for _ in 0..10 {
        let mut next = key;
        for lane in 0..N {
            ([x[lane], y[lane]], next) = philox_round([x[lane], y[lane]], key);
        }
        key = next;
    }
    [x, y]
}

/// One round on the counter and, after it, the key.
#[inline(always)]
fn philox_round([x, y]: [u32; 2], key: u32) -> ([u32; 2], u32) {
    let product = u64::from(x) * 0xd256_d193;
    ([(product >> 32) as u32 ^ key ^ y, product as u32], key.wrapping_add(0x9e37_79b9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_its_authors_known_answers() {
        // `kat_vectors` of Random123, "philox2x32 10"; the last counter and key are digits of π.
        let vectors = [
            ([0, 0], 0, [0xff1d_ae59, 0x6cd1_0df2]),
            ([u32::MAX; 2], u32::MAX, [0x2c3f_628b, 0xab4f_d7ad]),
            ([0x243f_6a88, 0x85a3_08d3], 0x1319_8a2e, [0xdd7c_e038, 0xf62a_4c12]),
        ];
        for (counter, key, answer) in vectors {
            assert_eq!(philox(counter, key), answer, "{counter:x?} {key:x}");
            let [x, y] = philox_of::<3>(counter[0].wrapping_sub(2), counter[1], key);
            assert_eq!([x[2], y[2]], answer, "{counter:x?} {key:x}");
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
            // Signalling, with payload bits that only the f32 has.
            assert_eq!(bf16_stochastic(f32::from_bits(0x7f80_0001), random).to_bits(), 0x7fc0);
            assert_eq!(bf16_stochastic(f32::from_bits(0xffab_cdef), random).to_bits(), 0xffeb);
        }
    }
}
