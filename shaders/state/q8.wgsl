// STATE in 8 bits: a cell of a plane is four quads, and each two of them share a scale.
//
//     word       the codes of a quad, a byte each; the highest bit of byte j is bit j of half of the scale
//     code       signed: sign, 3 bits of exponent, 3 of mantissa; unsigned: 4 bits of exponent, 3 of mantissa
//     scale      the exponent of the octet's largest element
//
// Below its lowest octave a code goes on in equal steps down to 0. What is stored is rounded up or down at random. A second
// moment that is not 0 never becomes 0: its element's step would become m/ε.
//
// Magnitudes are compared as integers, and NaN and infinity are bits that go through sums of bits: a compiler may assume that no f32
// is either. Twin of src/math/packed.rs.

#import shared/chunk.wgsl
#import shared/draw.wgsl

alias Packed = vec4<u32>;

struct Cell {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// A scale of 0 stands for this exponent of the lowest octave. What lies below 2⁻¹²⁶ is then 0 on all devices.
const LOWEST = 3u;
const INFINITY = 0x7f800000u;

fn decode(packed: Packed, signed: bool) -> Cell {
    let halves = gathered(packed);
    let scales = halves.xz | (halves.yw << vec2(4u));
    return Cell(
        decode_quad(packed.x, scales.x, signed),
        decode_quad(packed.y, scales.x, signed),
        decode_quad(packed.z, scales.y, signed),
        decode_quad(packed.w, scales.y, signed),
    );
}

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

// What the quads of a cell are rounded by.
struct Random {
    a: vec2<u32>,
    b: vec2<u32>,
    c: vec2<u32>,
    d: vec2<u32>,
}

// `quad` is the number in its tensor of the cell's first quad.
fn random_of(chunk: Chunk, step: u32, quad: u32) -> Random {
    let key = draw_key(chunk, step);
    return Random(draw(key, quad), draw(key, quad + 1u), draw(key, quad + 2u), draw(key, quad + 3u));
}

fn encode(cell: Cell, signed: bool, random: Random, plane: u32) -> Packed {
    let scales = vec2(scale_of(cell.a, cell.b, signed), scale_of(cell.c, cell.d, signed));
    let codes = vec4(
        encode_quad(cell.a, scales.x, signed, of_plane(random.a, plane)),
        encode_quad(cell.b, scales.x, signed, of_plane(random.b, plane)),
        encode_quad(cell.c, scales.y, signed, of_plane(random.c, plane)),
        encode_quad(cell.d, scales.y, signed, of_plane(random.d, plane)),
    );
    return codes | spread(scales.xxyy >> vec4(0u, 4u, 0u, 4u));
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
    // What the last step of the highest octave does not reach is in the next.
    let exponent = clamp((largest + 0xfffffu) >> 23u, lowest, 254u);
    return select(exponent, 255u, largest >= INFINITY) - lowest;
}

// Bit j of the low half of a byte as the highest bit of byte j of a word. No two of them come to lie in one place.
fn spread(halves: vec4<u32>) -> vec4<u32> {
    return (((halves & vec4(15u)) * 0x00204081u) & vec4(0x01010101u)) << vec4(7u);
}

// The highest bit of byte j of a word as bit j.
fn gathered(words: vec4<u32>) -> vec4<u32> {
    return ((((words >> vec4(7u)) & vec4(0x01010101u)) * 0x01020408u) >> vec4(24u)) & vec4(15u);
}

// A quad of a plane that is always f32.
fn exact(packed: Packed) -> vec4<f32> {
    return bitcast<vec4<f32>>(packed);
}

fn packed_exact(quad: vec4<f32>) -> Packed {
    return bitcast<vec4<u32>>(quad);
}
