// The bytes of 8-bit state, those of four columns at once. A column is eight elements that share a scale, in two words:
//
//     code       the upper seven bits of a byte. Signed: a number of equal steps, from -63 to 63. Unsigned: a small float of 4 bits of
//                exponent and 3 of mantissa, and 0
//     scale      the lowest bits: bit 2j of the scale in byte j of the first word, bit 2j+1 in byte j of the second
//
// Stored values are rounded up or down at random. A second moment that is not 0 never becomes 0: its element's step would become m/ε.
//
// Magnitudes are compared as integers, and NaN and infinity are bits that go through sums of bits: a compiler may assume that no f32
// is either. Twin of src/math/packed/q8.rs.

const INFINITY = vec4(0x7f800000u);
// A bit of the scale in each byte.
const SCALE_BITS = vec4(0x01010101u);

// Row `row` of a word's four. `nothing` is 0, which no compiler may know: else it may draw the product into the sums that follow, and
// round those in another way.
fn decode_row(words: vec4<u32>, row: u32, scales: vec4<u32>, signed: bool, nothing: u32) -> vec4<f32> {
    let base = (scales + vec4(1u)) << vec4(23u);
    if signed {
        // As an integer the code is so many times 2²⁵, and the base so much less than a step. Even an infinite product is one of finite
        // factors, so that a 0 beside it stays 0. The codes of 0 are all 0 in memory.
        let code = (words << vec4(24u - 8u * row)) & vec4(0xfe000000u);
        let product = vec4<f32>(bitcast<vec4<i32>>(code)) * bitcast<vec4<f32>>(base);
        return bitcast<vec4<f32>>(bitcast<vec4<u32>>(product) | vec4(nothing));
    }
    let code = (words >> vec4(8u * row + 1u)) & vec4(0x7fu);
    return bitcast<vec4<f32>>(select(base + (code << vec4(20u)), vec4(0u), code == vec4(0u)));
}

// The codes of a row, in its place in their words. A random number has 16 bits.
fn encode_row(values: vec4<f32>, row: u32, random: vec4<u32>, scales: vec4<u32>, signed: bool) -> vec4<u32> {
    let place = vec4(8u * row + 1u);
    if signed {
        let steps = bitcast<vec4<f32>>((vec4(228u) - scales) << vec4(23u));
        // From 128 to 255 a step is 2¹⁶ units of the last place. What is not finite is above 255.
        let bits = min(bitcast<vec4<u32>>(values * steps + vec4(192.0)), vec4(0x437f0000u));
        return ((((bits + random) >> vec4(16u)) ^ vec4(0x40u)) & vec4(0x7fu)) << place;
    }
    let bits = min(bitcast<vec4<u32>>(values), INFINITY);
    let base = (scales + vec4(1u)) << vec4(23u);
    let code = bitcast<vec4<i32>>(bits + (random << vec4(4u)) - base) >> vec4(20u);
    return select(bitcast<vec4<u32>>(max(code, vec4(1))), vec4(0u), bits == vec4(0u)) << place;
}

fn magnitude(values: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(values) & vec4(0x7fffffffu);
}

// The scales of columns with these largest magnitudes. Signed: a step is 2^(scale - 101). Unsigned: 8 has the exponent scale + 2.
fn scales_of(largest: vec4<u32>, signed: bool) -> vec4<u32> {
    let bits = min(largest, INFINITY);
    // The exponent that the largest has once it is rounded up to a 32nd, or to an eighth.
    if signed {
        return max((bits + vec4(0x3ffffu)) >> vec4(23u), vec4(31u)) - vec4(31u);
    }
    return max((bits + vec4(0xfffffu)) >> vec4(23u), vec4(16u)) - vec4(16u);
}

// The bits of scales: of each pair, the lower is for the first word.
fn spread(scales: vec4<u32>) -> vec4<u32> {
    let halves = scales | (scales << vec4(6u));
    return (halves | (halves << vec4(12u))) & vec4(0x03030303u);
}

// The scales whose bits lie in these words.
fn gathered(first: vec4<u32>, second: vec4<u32>) -> vec4<u32> {
    let pairs = (first & SCALE_BITS) | ((second & SCALE_BITS) << vec4(1u));
    // The four pairs of bits side by side on top; no two of the products' bits come to lie in one place.
    return (pairs * 0x01041040u) >> vec4(24u);
}
