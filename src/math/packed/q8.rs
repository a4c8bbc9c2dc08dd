//! The twin of `shaders/state/q8.wgsl` and `shaders/shared/q8.wgsl`: state in 8 bits.
//!
//! In `Q8` eight elements share a scale: two words have a byte for each of them, and the scale's bit j is the highest bit of byte j.
//! The other seven bits are a small float, with a sign where elements can be negative, and with 3 bits of mantissa:
//!
//! ```text
//!              sign   exponent   mantissa    exponents        smallest, beside the largest
//! signed         1        3          3       7 octaves        1/960
//! unsigned       -        4          3       15 octaves       1/245,760
//! ```
//!
//! Below its lowest octave a small float goes on in equal steps down to 0. The scale is the exponent of the largest element, so that
//! every value is exact in `f32`, and a finer scale has all the smaller values of a coarser one: what is decoded and encoded again is
//! the same. The largest exponent of `f32` stands for a block with something in it that is not finite.
//!
//! A second moment that is not 0 never becomes 0: its element's step would become m/ε.

use super::codec::{Codec, LANES, first, put};

/// Elements that share a scale in `Q8`.
const OCTET: usize = 8;

/// Bits of an `f32`'s mantissa that a small float does without.
const CUT: u32 = 20;
/// The scale byte that is 0 stands for this exponent of the lowest octave. What lies below 2⁻¹²⁶ is then 0 on all devices.
const LOWEST: u32 = 3;
const INFINITY: u32 = f32::INFINITY.to_bits();

/// The octaves of a small float.
const fn octaves(signed: bool) -> u32 {
    if signed { 7 } else { 15 }
}

/// [`StatePrecision::Q8`](crate::StatePrecision::Q8).
pub(crate) struct Q8;

impl Codec for Q8 {
    const WORDS: usize = LANES / 4;

    #[inline(always)]
    fn decode<const SIGNED: bool>(words: &[f32]) -> [f32; LANES] {
        let words: [f32; LANES / 4] = first(words);
        let codes: [u8; LANES] = bytemuck::cast(words);
        let scales = gathered(&bytemuck::cast(words));
        let (scales, mut values) = (repeated(&scales), [0.0; LANES]);
        for i in 0..LANES {
            values[i] = value((codes[i] & 0x7f).into(), scales[i], SIGNED);
        }
        values
    }

    #[inline(always)]
    fn encode<const SIGNED: bool>(values: &[f32; LANES], random: &[u32; LANES / 2], words: &mut [f32]) {
        let random: [u16; LANES] = bytemuck::cast(*random);
        let mut scales = largest_of_octets(values);
        for scale_of in &mut scales {
            *scale_of = scale(*scale_of, SIGNED);
        }
        let mut words_of = spread(&scales);
        let (scales, mut codes) = (repeated(&scales), [0_u8; LANES]);
        for i in 0..LANES {
            codes[i] = code(values[i], random[i].into(), scales[i], SIGNED) as u8;
        }
        let codes: [u32; LANES / 4] = bytemuck::cast(codes);
        for (word, codes) in words_of.iter_mut().zip(codes) {
            *word |= codes;
        }
        put(bytemuck::cast::<_, [f32; LANES / 4]>(words_of), words);
    }
}

/// The scale byte of a block whose largest magnitude has these bits.
#[inline(always)]
fn scale(largest: u32, signed: bool) -> u32 {
    let lowest = octaves(signed) + LOWEST;
    // A value that the last step of the highest octave does not reach is in the next octave.
    let exponent = ((largest + 0x000f_ffff) >> 23).clamp(lowest, 254);
    (if largest >= INFINITY { 255 } else { exponent }) - lowest
}

/// The small float of a value, rounded by the 16 bits of `random`.
#[inline(always)]
fn code(value: f32, random: u32, scale: u32, signed: bool) -> u32 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let threshold = (scale + LOWEST + 1) << 23;
    let is_small = magnitude < threshold;
    // Added to the threshold, a small value's steps are those of the lowest octave.
    let stepped = if is_small { (value.abs() + f32::from_bits(threshold)).to_bits() } else { magnitude };
    let base = (scale + LOWEST + u32::from(is_small)) << 3;
    let code = ((stepped + (random << 4)) >> CUT) - base;
    if signed { code.min(63) | (bits >> 31) << 6 } else { code.min(127).max(u32::from(magnitude != 0)) }
}

/// The value of a small float.
#[inline(always)]
fn value(code: u32, scale: u32, signed: bool) -> f32 {
    let magnitude = if signed { code & 63 } else { code };
    let is_small = magnitude < 8;
    let stepped = f32::from_bits((magnitude << CUT) + ((scale + LOWEST + u32::from(is_small)) << 23));
    let threshold = f32::from_bits((scale + LOWEST + 1) << 23);
    let value = if is_small { stepped - threshold } else { stepped };
    if signed { f32::from_bits(value.to_bits() | (code >> 6) << 31) } else { value }
}

/// Each octet's number, for each of its elements.
#[inline(always)]
fn repeated(octets: &[u32; LANES / OCTET]) -> [u32; LANES] {
    let mut each = [0; LANES];
    for (each, octet) in each.as_chunks_mut::<OCTET>().0.iter_mut().zip(octets) {
        *each = [*octet; OCTET];
    }
    each
}

/// The largest magnitude of each octet, as bits: by halves, so that a compiler takes many octets at once.
#[inline(always)]
fn largest_of_octets(values: &[f32; LANES]) -> [u32; LANES / OCTET] {
    let (mut pairs, mut quads, mut octets) = ([0; LANES / 2], [0; LANES / 4], [0; LANES / OCTET]);
    for i in 0..LANES / 2 {
        pairs[i] = (values[2 * i].to_bits() & 0x7fff_ffff).max(values[2 * i + 1].to_bits() & 0x7fff_ffff);
    }
    for i in 0..LANES / 4 {
        quads[i] = pairs[2 * i].max(pairs[2 * i + 1]);
    }
    for i in 0..LANES / OCTET {
        octets[i] = quads[2 * i].max(quads[2 * i + 1]);
    }
    octets
}

/// Each byte's bit j as the highest bit of byte j of two words.
#[inline(always)]
fn spread(bytes: &[u32; LANES / OCTET]) -> [u32; LANES / 4] {
    let mut words = [0; LANES / 4];
    for i in 0..LANES / OCTET {
        (words[2 * i], words[2 * i + 1]) = (bytes[i] & 15, bytes[i] >> 4);
    }
    for word in &mut words {
        // No two of the four bits come to lie in one place.
        *word = (word.wrapping_mul(0x0020_4081) & 0x0101_0101) << 7;
    }
    words
}

/// The highest bit of byte j of two words as bit j of a byte.
#[inline(always)]
fn gathered(words: &[u32; LANES / 4]) -> [u32; LANES / OCTET] {
    let (mut halves, mut bytes) = (*words, [0; LANES / OCTET]);
    for half in &mut halves {
        *half = ((*half >> 7 & 0x0101_0101).wrapping_mul(0x0102_0408) >> 24) & 15;
    }
    for i in 0..LANES / OCTET {
        bytes[i] = halves[2 * i] | halves[2 * i + 1] << 4;
    }
    bytes
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::super::draw::mix;
    use super::*;

    fn encode_octet(values: &[f32; OCTET], random: &[u32; OCTET], signed: bool) -> [f32; 2] {
        let (mut words, mut halves) = ([0.0; 2], [0; LANES]);
        halves.iter_mut().zip(random).for_each(|(half, bits)| *half = *bits as u16);
        let encode = if signed { Q8::encode::<true> } else { Q8::encode::<false> };
        encode(&first(values), &bytemuck::cast(halves), &mut words);
        words
    }

    fn decode_octet(words: [f32; 2], signed: bool) -> [f32; OCTET] {
        first(&if signed { Q8::decode::<true>(&words) } else { Q8::decode::<false>(&words) })
    }

    /// Octets of all kinds, with and without sign.
    fn octets(signed: bool) -> impl Iterator<Item = [f32; OCTET]> {
        (0..20_000u32).map(move |number| {
            let range = number % 40;
            std::array::from_fn(|i| {
                let bits = mix(number * 8 + i as u32);
                let exponent = (number / 40 % 250 + 1).saturating_sub(bits % (range + 1)).max(1);
                let sign = if signed { bits & 0x8000_0000 } else { 0 };
                f32::from_bits(sign | exponent << 23 | (mix(bits) & 0x007f_ffff))
            })
        })
    }

    #[test]
    fn what_is_decoded_stays_the_same() {
        for signed in [true, false] {
            for octet in octets(signed) {
                for random in [[0; 8], [0xffff; 8], [0x8000; 8]] {
                    let decoded = decode_octet(encode_octet(&octet, &random, signed), signed);
                    for again in [[0; 8], [0xffff; 8]] {
                        let same = decode_octet(encode_octet(&decoded, &again, signed), signed);
                        assert_eq!(same.map(f32::to_bits), decoded.map(f32::to_bits), "{octet:?}, {decoded:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn neighbours_enclose_the_value() {
        for signed in [true, false] {
            for octet in octets(signed) {
                let [low, high] =
                    [0, 0xffff].map(|random| decode_octet(encode_octet(&octet, &[random; 8], signed), signed));
                let largest = octet.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                for ((value, low), high) in octet.iter().zip(low).zip(high) {
                    let (value, low, high) = (value.abs(), low.abs(), high.abs());
                    // A second moment is rounded up from below the first step. The smallest octaves end at 2⁻¹²⁶, the largest near
                    // the end of f32.
                    let floor = largest / if signed { 480.0 } else { 122_880.0 } + 4.0 * f32::MIN_POSITIVE;
                    let step = (value / 8.0).max(floor);
                    assert!(low <= value || low <= floor, "{low} for {value} of {octet:?}");
                    assert!(high >= value - 2e-5 * step.max(value) || value > 3e38, "{high} for {value} of {octet:?}");
                    assert!(high - low <= step, "{low} to {high} for {value} of {octet:?}");
                }
            }
        }
    }

    #[test]
    fn the_mean_over_all_random_numbers_is_the_value() {
        let octet = [1.0, 0.3, -0.123, 0.01, -0.004, 0.0011, 0.0004, 0.0];
        for (element, &value) in octet.iter().enumerate() {
            let sum: f64 = (0..=0xffff)
                .map(|random| {
                    let decoded = decode_octet(encode_octet(&octet, &[random; 8], true), true);
                    f64::from(decoded[element])
                })
                .sum();
            let mean = sum / 65_536.0;
            // A 65,536th of a step, half of it at the mean.
            assert!((mean - f64::from(value)).abs() <= 2e-6, "{mean} for {value}");
        }
    }

    #[test]
    fn the_ends_of_f32_are_kept_apart() {
        for signed in [true, false] {
            let of = |first: f32, second: f32| {
                let mut octet = [0.0; 8];
                (octet[0], octet[1]) = (first, second);
                decode_octet(encode_octet(&octet, &[0xffff; 8], signed), signed)
            };
            assert_eq!(of(f32::INFINITY, 1e-3)[0], f32::INFINITY);
            assert!(of(f32::NAN, 1e-3)[0].is_nan());
            assert_eq!(of(f32::NAN, f32::INFINITY)[1], f32::INFINITY);
            assert!(of(f32::MAX, 0.0)[0].is_finite() && of(f32::MAX, 0.0)[0] > 3e38);
            assert_eq!(of(f32::INFINITY, 0.0)[2..], [0.0; 6]);
            assert_eq!(decode_octet([0.0; 2], signed), [0.0; 8]);
            assert!(of(1.0, 1e-30)[1] > 0.0 || signed, "a second moment does not become 0");
        }
        assert_eq!(
            decode_octet(encode_octet(&[f32::NEG_INFINITY; 8], &[0x8000; 8], true), true),
            [f32::NEG_INFINITY; 8]
        );
    }
}
