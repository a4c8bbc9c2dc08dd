//! The twin of `shaders/state/q8.wgsl` and `shaders/shared/q8.wgsl`: state in 8 bits.
//!
//! A block of 128 elements is eight rows of 16 columns. The eight elements of a column share a scale of 8 bits and lie in two words,
//! four rows in each. Byte j of a word has the code of row j in its upper seven bits, and a bit of the scale in its lowest:
//!
//! ```text
//!              word of                     byte 0      byte 1      byte 2      byte 3
//! words 0..16  column 0..16, rows 0..4     bit 0       bit 2       bit 4       bit 6     of the scale
//! words 16..   column 0..16, rows 4..8     bit 1       bit 3       bit 5       bit 7
//! ```
//!
//! So nothing moves from one column to another, neither on a processor, whose vectors are columns side by side, nor on a GPU, whose
//! invocations take four columns each.
//!
//! A scale is a power of two. A code is a number of equal steps, from -63 to 63, where elements can be negative: a column's largest
//! magnitude then has 31.5 steps at least. In a second moment it is a small float instead, of 4 bits of exponent and 3 of mantissa: each
//! element keeps a size of its own, beside neighbours that are much larger. Second moments more than 15 octaves below the largest
//! become the smallest float. One that is not 0 never becomes 0: its element's update would become m/ε.
//!
//! A finer scale has all the values of a coarser one: what is decoded and encoded again is the same. What is not finite becomes
//! infinity.

use super::codec::{BATCH, Codec, Random, first, put};

/// Columns of a block.
const COLUMNS: usize = 16;
/// Elements of a column.
const ROWS: usize = BATCH / COLUMNS;

/// A bit of the scale in each byte.
const SCALE_BITS: u32 = 0x0101_0101;
/// Turned around, bytes that count from -64 are signed bytes.
const SIGNS: u32 = 0x8080_8080;
const INFINITY: u32 = f32::INFINITY.to_bits();

/// [`StatePrecision::Q8`](crate::StatePrecision::Q8).
pub(crate) struct Q8;

impl Codec for Q8 {
    const WORDS: usize = BATCH / 4;

    #[inline(always)]
    fn decode<const SIGNED: bool>(words: &[f32]) -> [f32; BATCH] {
        let words: [f32; BATCH / 4] = first(words);
        let (words, mut values): ([u32; BATCH / 4], _) = (bytemuck::cast(words), [0.0; BATCH]);
        for column in 0..COLUMNS {
            let decoded = decode_column::<SIGNED>([words[column], words[COLUMNS + column]]);
            for row in 0..ROWS {
                values[COLUMNS * row + column] = decoded[row];
            }
        }
        values
    }

    #[inline(always)]
    fn rewrite<const SIGNED: bool>(words: &mut [f32], random: &Random, mut change: impl FnMut(usize, f32) -> f32) {
        let mut own: [u32; BATCH / 4] = bytemuck::cast::<[f32; BATCH / 4], _>(first(words));
        for column in 0..COLUMNS {
            let mut values = decode_column::<SIGNED>([own[column], own[COLUMNS + column]]);
            let mut bits = [0; ROWS];
            for (row, value) in values.iter_mut().enumerate() {
                *value = change(COLUMNS * row + column, *value);
            }
            for row in 0..ROWS / 2 {
                let both = random.words[COLUMNS * row + column].wrapping_mul(random.factor);
                (bits[row], bits[row + ROWS / 2]) = (both & 0xffff, both >> 16);
            }
            let [low, high] = if SIGNED { encode_signed(&values, &bits) } else { encode_unsigned(&values, &bits) };
            (own[column], own[COLUMNS + column]) = (low, high);
        }
        put(bytemuck::cast::<_, [f32; BATCH / 4]>(own), words);
    }
}

#[inline(always)]
fn decode_column<const SIGNED: bool>(words: [u32; 2]) -> [f32; ROWS] {
    if SIGNED { decode_signed(words) } else { decode_unsigned(words) }
}

/// Steps of 2^(scale - 101).
#[inline(always)]
fn decode_signed(words: [u32; 2]) -> [f32; ROWS] {
    let unit = f32::from_bits((gathered(words) + 1) << 23);
    let mut values = [0.0; ROWS];
    for (row, value) in values.iter_mut().enumerate() {
        // As an integer the code is so many times 2²⁵, and the unit so much less than a step. Even an infinite product is one of
        // finite factors, so that a 0 beside it stays 0.
        *value = ((words[row / 4] << (24 - 8 * (row % 4))) & 0xfe00_0000).cast_signed() as f32 * unit;
    }
    values
}

#[inline(always)]
fn encode_signed(values: &[f32; ROWS], random: &[u32; ROWS]) -> [u32; 2] {
    // The exponent that the largest has once it is rounded up to a 32nd.
    let scale = ((largest(values) + 0x0003_ffff) >> 23).max(31) - 31;
    let steps = f32::from_bits((228 - scale) << 23);
    let [low, high] = spread(scale);
    let mut words = [low ^ SIGNS, high ^ SIGNS];
    for row in 0..ROWS {
        let value = values[row] * steps;
        // From 128 to 255 a step is 2¹⁶ units of the last place. What is not finite is above 255.
        let bits = (value + 192.0).to_bits().min(255.0_f32.to_bits());
        let code = (bits + random[row]) >> 16 & 0x7f;
        words[row / 4] ^= code << (8 * (row % 4) + 1);
    }
    words
}

/// Small floats, of which 8 has the exponent `scale + 2`.
#[inline(always)]
fn decode_unsigned(words: [u32; 2]) -> [f32; ROWS] {
    let base = (gathered(words) + 1) << 23;
    let mut values = [0.0; ROWS];
    for (row, value) in values.iter_mut().enumerate() {
        let code = words[row / 4] >> (8 * (row % 4) + 1) & 0x7f;
        *value = f32::from_bits(if code == 0 { 0 } else { base + (code << 20) });
    }
    values
}

#[inline(always)]
fn encode_unsigned(values: &[f32; ROWS], random: &[u32; ROWS]) -> [u32; 2] {
    // The exponent that the largest has once it is rounded up to an eighth.
    let scale = ((largest(values) + 0x000f_ffff) >> 23).max(16) - 16;
    let base = (scale + 1) << 23;
    let mut words = spread(scale);
    for row in 0..ROWS {
        let bits = values[row].to_bits().min(INFINITY);
        let code = ((bits + (random[row] << 4)).wrapping_sub(base).cast_signed() >> 20).max(1).cast_unsigned();
        let code = if bits == 0 { 0 } else { code };
        words[row / 4] |= code << (8 * (row % 4) + 1);
    }
    words
}

/// The bits of the largest magnitude, those of infinity for NaN.
#[inline(always)]
fn largest(values: &[f32; ROWS]) -> u32 {
    let mut largest = 0;
    for value in values {
        largest = largest.max(value.to_bits() & 0x7fff_ffff);
    }
    largest.min(INFINITY)
}

/// The bits of a scale in their places.
#[inline(always)]
fn spread(scale: u32) -> [u32; 2] {
    let halves = scale | scale << 6;
    let pairs = (halves | halves << 12) & 0x0303_0303;
    [pairs & SCALE_BITS, pairs >> 1 & SCALE_BITS]
}

/// The scale whose bits lie there.
#[inline(always)]
fn gathered([low, high]: [u32; 2]) -> u32 {
    let pairs = (low & SCALE_BITS) | (high & SCALE_BITS) << 1;
    // The four pairs of bits side by side on top; no two of the products' bits come to lie in one place.
    pairs.wrapping_mul(0x0104_1040) >> 24
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;
    use crate::math::draw::mix;

    /// The words of a column, whose neighbours are 0.
    fn encoded(values: &[f32; ROWS], random: u32, signed: bool) -> [f32; 2] {
        let (mut block, mut words) = ([0.0; BATCH], [0.0; BATCH / 4]);
        for (row, value) in values.iter().enumerate() {
            block[COLUMNS * row + 3] = *value;
        }
        let random = Random { words: &[random | random << 16; BATCH / 2], factor: 1 };
        if signed {
            Q8::rewrite::<true>(&mut words, &random, |at, _| block[at]);
        } else {
            Q8::rewrite::<false>(&mut words, &random, |at, _| block[at]);
        }
        [words[3], words[COLUMNS + 3]]
    }

    fn decoded(pair: [f32; 2], signed: bool) -> [f32; ROWS] {
        let mut words = [0.0; BATCH / 4];
        [words[3], words[COLUMNS + 3]] = pair;
        let block = if signed { Q8::decode::<true>(&words) } else { Q8::decode::<false>(&words) };
        std::array::from_fn(|row| block[COLUMNS * row + 3])
    }

    /// Columns of all kinds, with and without sign.
    fn columns(signed: bool) -> impl Iterator<Item = [f32; ROWS]> {
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
            for column in columns(signed) {
                for random in [0, 0xffff, 0x8000] {
                    let before = decoded(encoded(&column, random, signed), signed);
                    for again in [0, 0xffff] {
                        let same = decoded(encoded(&before, again, signed), signed);
                        assert_eq!(same.map(f32::to_bits), before.map(f32::to_bits), "{column:?}, {before:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn neighbours_enclose_the_value() {
        for signed in [true, false] {
            for column in columns(signed) {
                let [low, high] = [0, 0xffff].map(|random| decoded(encoded(&column, random, signed), signed));
                let largest = column.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                for ((&value, low), high) in column.iter().zip(low).zip(high) {
                    // The largest has 31.5 steps at least, of 2⁻¹⁰¹ at least. Small floats have an eighth of themselves, and a lowest one.
                    let (step, lowest) = if signed {
                        ((largest / 31.5).max(2.0f32.powi(-101)), f32::NEG_INFINITY)
                    } else {
                        (value / 8.0, (largest / 16_384.0).max(2.0 * f32::MIN_POSITIVE))
                    };
                    let context = format!("{low} to {high} for {value} of {column:?}");
                    if value < lowest {
                        assert!(low > 0.0 && high <= 1.125 * lowest, "{context}");
                        continue;
                    }
                    // Random numbers end a 65,536th below 1, and steps are rounded to 65,536ths.
                    assert!(low <= value + 1e-5 * step && high >= value - 2e-5 * step, "{context}");
                    assert!(high - low <= step * 1.000_001 || high.is_infinite(), "{context}");
                    assert!(high.is_finite() || value > 3e38, "{context}");
                }
            }
        }
    }

    #[test]
    fn the_mean_over_all_random_numbers_is_the_value() {
        let column = [1.0, 0.3, -0.123, 0.01, -0.004, 0.0011, 0.0004, 0.0];
        for (element, &value) in column.iter().enumerate() {
            let sum: f64 = (0..=0xffff)
                .map(|random| {
                    let before = decoded(encoded(&column, random, true), true);
                    f64::from(before[element])
                })
                .sum();
            let mean = sum / 65_536.0;
            // Half of a 65,536th of a step, which is a 32nd here.
            assert!((mean - f64::from(value)).abs() <= 0.5 / 65_536.0 / 32.0, "{mean} for {value}");
        }
    }

    #[test]
    fn the_ends_of_f32_are_kept_apart() {
        for signed in [true, false] {
            let of = |first: f32, second: f32| {
                let mut column = [0.0; 8];
                (column[0], column[1]) = (first, second);
                decoded(encoded(&column, 0xffff, signed), signed)
            };
            for none in [f32::INFINITY, f32::NAN, -f32::NAN, f32::NEG_INFINITY] {
                assert!(of(none, 1e-3)[0] == f32::INFINITY);
                assert_eq!(of(none, 0.0)[1..], [0.0; 7]);
            }
            assert!(of(3e38, 0.0)[0].is_finite() && of(3e38, 0.0)[0] > 2.9e38);
            assert_eq!(decoded([0.0; 2], signed), [0.0; 8]);
            assert!(of(1.0, 1e-30)[1] > 0.0 || signed, "a second moment does not become 0");
        }
    }
}
