// half: f16 and bf16 to f32 and back, four at a time, with the bits of the `half` crate, NaN included.
//
// Most of it is integer arithmetic, since little else gives the same bits everywhere: `pack2x16float` may round either way,
// and floating-point arithmetic may flush subnormal numbers to 0 or be compiled as if there were no NaN and no infinity.
// Where floating-point arithmetic is used, its inputs and results are normal numbers or 0, and it is exact: products with a
// power of two, `round`, which goes to even by its definition, and sums of integers below 2²⁴. Otherwise values are f32 only
// in loads, stores and bitcasts, which keep all bits. A choice between two values is made before they become f32.
//
// Functions of `bits` take the low 16 bits of each and ignore the others; functions that return such bits leave the others 0.
// There are no branches: where lanes differ, both sides would run. Twin of src/math/half.rs.

const F32_INFINITY = vec4(0x7f800000u);
const F16_INFINITY = vec4(0x7c00u);
// The bits of an f32 that bf16 keeps.
const UPPER_HALF = vec4(0xffff0000u);

fn f16_to_f32(bits: vec4<u32>) -> vec4<f32> {
    let magnitude = bits & vec4(0x7fffu);
    // The exponent's bias grows by 112, and that of infinity and NaN by 112 again, to the largest exponent. NaN is made quiet.
    let bias = select(vec4(0x38000000u), vec4(0x70000000u), magnitude >= F16_INFINITY);
    let quiet_bit = select(vec4(0u), vec4(0x400000u), magnitude > F16_INFINITY);
    let normal = ((magnitude << vec4(13u)) + bias) | quiet_bit;
    // Below 2⁻¹⁴, a multiple of 2⁻²⁴, which is a normal f32.
    let small = bitcast<vec4<u32>>(vec4<f32>(vec4<i32>(magnitude)) * 0x1p-24f);
    let sign = (bits & vec4(0x8000u)) << vec4(16u);
    return bitcast<vec4<f32>>(select(normal, small, magnitude < vec4(0x400u)) | sign);
}

// Rounds to nearest even.
fn f32_to_f16(values: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(values);
    let magnitude = bits & vec4(0x7fffffffu);
    // The exponent's bias falls by 112 and 13 bits go: just below half of the last bit kept is added before, and as much as
    // half if that bit is odd.
    let odd = (magnitude >> vec4(13u)) & vec4(1u);
    let normal = (magnitude - vec4(0x38000000u - 0xfffu) + odd) >> vec4(13u);
    // Below 2⁻¹⁴, a multiple of 2⁻²⁴: an integer, which the last bits of 2²³ take up.
    let units = round(bitcast<vec4<f32>>(min(magnitude, vec4(0x38800000u))) * 0x1p24f);
    let small = bitcast<vec4<u32>>(units + vec4(0x1p23f)) - vec4(0x4b000000u);
    // Too large a number may come out anywhere above infinity.
    let rounded = min(select(normal, small, magnitude < vec4(0x38800000u)), F16_INFINITY);
    let nan = ((magnitude >> vec4(13u)) & vec4(0x3ffu)) | vec4(0x7e00u);
    let sign = (bits >> vec4(16u)) & vec4(0x8000u);
    return select(rounded, nan, magnitude > F32_INFINITY) | sign;
}

fn bf16_to_f32(bits: vec4<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(quiet(bits << vec4(16u)));
}

// Rounds to nearest even.
fn f32_to_bf16(values: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(values);
    let rounded = bits + vec4(0x7fffu) + ((bits >> vec4(16u)) & vec4(1u));
    let is_nan = (bits & vec4(0x7fffffffu)) > F32_INFINITY;
    return select(rounded, bits | vec4(0x400000u), is_nan) >> vec4(16u);
}

// The upper half of the bits are those of a bf16, once they are rounded up or down at random, by the 16 bits of `random`. The probability
// of rounding up is the distance to the lower neighbour in 65,536ths, so that the mean over all random numbers is the value. A value that
// bf16 can represent stays as it is. A finite value beyond the largest bf16 becomes the largest, never infinity. NaN has to be quiet, as
// all that arithmetic gives is: what makes it so lies in the upper half of its bits.
fn bf16_bits_stochastic(values: vec4<f32>, random: vec4<u32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(values);
    // The largest bf16, whose upper neighbour would be infinity, and all above.
    let stays = (bits & vec4(0x7fffffffu)) >= vec4(0x7f7f0000u);
    return bits + select(random, vec4(0u), stays);
}

// An f32's bits, with a signalling NaN made quiet.
fn quiet(bits: vec4<u32>) -> vec4<u32> {
    return bits | select(vec4(0u), vec4(0x400000u), (bits & vec4(0x7fffffffu)) > F32_INFINITY);
}

// Quads as they lie in memory, element 0 in the low half of the first word.

fn unpack_f16(words: vec2<u32>) -> vec4<f32> {
    return f16_to_f32(halves(words));
}

fn pack_f16(values: vec4<f32>) -> vec2<u32> {
    return words(f32_to_f16(values));
}

fn unpack_bf16(words: vec2<u32>) -> vec4<f32> {
    return bf16_to_f32(halves(words));
}

fn pack_bf16(values: vec4<f32>) -> vec2<u32> {
    return words(f32_to_bf16(values));
}

// `random` has each element's bits where the element's own will lie.
fn pack_bf16_stochastic(values: vec4<f32>, random: vec2<u32>) -> vec2<u32> {
    let bits = bf16_bits_stochastic(values, halves(random) & vec4(0xffffu));
    return (bits.xz >> vec2(16u)) | (bits.yw & UPPER_HALF.xy);
}

// Each half in the low 16 bits. Something else may stand above them.
fn halves(words: vec2<u32>) -> vec4<u32> {
    return words.xxyy >> vec4(0u, 16u, 0u, 16u);
}

fn words(halves: vec4<u32>) -> vec2<u32> {
    return halves.xz | (halves.yw << vec2(16u));
}
