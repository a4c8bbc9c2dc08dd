// The small floats of 8-bit state, of a quad at once.
//
//     code       signed: sign, 3 bits of exponent, 3 of mantissa; unsigned: 4 bits of exponent, 3 of mantissa
//     scale      the exponent of the octet's largest element
//
// Below its lowest octave a code goes on in equal steps down to 0. What is stored is rounded up or down at random. A second
// moment that is not 0 never becomes 0: its element's step would become m/ε.
//
// Magnitudes are compared as integers, and NaN and infinity are bits that go through sums of bits: a compiler may assume that no f32
// is either. Twin of src/math/packed/q8.rs.

// A scale of 0 stands for this exponent of the lowest octave. What lies below 2⁻¹²⁶ is then 0 on all devices.
const LOWEST = 3u;
const INFINITY = 0x7f800000u;

fn decode_quad(word: u32, scale: u32, signed: bool) -> vec4<f32> {
    let codes = (vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(0x7fu);
    let magnitude = select(codes, codes & vec4(63u), signed);
    let small = select(vec4(0u), vec4(1u), magnitude < vec4(8u));
    let stepped = (magnitude << vec4(20u)) + ((vec4(scale + LOWEST) + small) << vec4(23u));
    // Added to the threshold, a small value's steps are those of the lowest octave.
    let threshold = bitcast<f32>((scale + LOWEST + 1u) << 23u);
    let low = bitcast<vec4<u32>>(bitcast<vec4<f32>>(stepped) - vec4(threshold));
    let bits = select(stepped, low, small == vec4(1u));
    let sign = select(vec4(0u), (codes >> vec4(6u)) << vec4(31u), signed);
    return bitcast<vec4<f32>>(bits | sign);
}

fn encode_quad(values: vec4<f32>, scale: u32, signed: bool, random: vec2<u32>) -> u32 {
    let bits = bitcast<vec4<u32>>(values);
    let magnitude = bits & vec4(0x7fffffffu);
    let threshold = (scale + LOWEST + 1u) << 23u;
    let is_small = magnitude < vec4(threshold);
    let raised = bitcast<vec4<u32>>(bitcast<vec4<f32>>(min(magnitude, vec4(threshold))) + vec4(bitcast<f32>(threshold)));
    let stepped = select(magnitude, raised, is_small);
    let base = (vec4(scale + LOWEST) + select(vec4(0u), vec4(1u), is_small)) << vec4(3u);
    let halves = (random.xxyy >> vec4(0u, 16u, 0u, 16u)) & vec4(0xffffu);
    let code = ((stepped + (halves << vec4(4u))) >> vec4(20u)) - base;
    let signed_code = min(code, vec4(63u)) | ((bits >> vec4(31u)) << vec4(6u));
    let unsigned_code = max(min(code, vec4(127u)), min(magnitude, vec4(1u)));
    let placed = select(unsigned_code, signed_code, signed) << vec4(0u, 8u, 16u, 24u);
    return (placed.x | placed.y) | (placed.z | placed.w);
}

// The scale of an octet.
fn scale_of(a: vec4<f32>, b: vec4<f32>, signed: bool) -> u32 {
    let four = max(bitcast<vec4<u32>>(a) & vec4(0x7fffffffu), bitcast<vec4<u32>>(b) & vec4(0x7fffffffu));
    let largest = max(max(four.x, four.y), max(four.z, four.w));
    let lowest = LOWEST + select(15u, 7u, signed);
    // A value that the last step of the highest octave does not reach is in the next octave.
    let exponent = clamp((largest + 0xfffffu) >> 23u, lowest, 254u);
    return select(exponent, 255u, largest >= INFINITY) - lowest;
}

// The scales of the octets in 16 bytes.
fn scales_of(words: vec4<u32>) -> vec2<u32> {
    let halves = gathered(words);
    return halves.xz | (halves.yw << vec2(4u));
}

// Bit j of the low half of a byte as the highest bit of byte j of a word. No two of them come to lie in one place.
fn spread(halves: vec4<u32>) -> vec4<u32> {
    return (((halves & vec4(15u)) * 0x00204081u) & vec4(0x01010101u)) << vec4(7u);
}

// The highest bit of byte j of a word as bit j.
fn gathered(words: vec4<u32>) -> vec4<u32> {
    return ((((words >> vec4(7u)) & vec4(0x01010101u)) * 0x01020408u) >> vec4(24u)) & vec4(15u);
}
