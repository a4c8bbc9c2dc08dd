// STATE in 8 bits: a block is eight rows of four quads, and a bundle is one quad of each row: four columns, each of which has a scale.
// A cell has four rows of a bundle: byte j of component i is row j of column i. shared/q8.wgsl says what is in a byte.
//
// Twin of src/math/packed/q8.rs.

#import shared/chunk.wgsl
#import shared/draw.wgsl
#import shared/q8.wgsl
#import shared/whole.wgsl

alias Packed = vec4<u32>;

// Cells of a bundle: rows 0 to 3, and rows 4 to 7.
const CELLS = 2u;

struct Cells {
    a: Packed,
    b: Packed,
}

struct Bundle {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
    g: vec4<f32>,
    h: vec4<f32>,
}

fn decode(cells: Cells, signed: bool, nothing: u32) -> Bundle {
    let scales = gathered(cells.a, cells.b);
    return Bundle(
        decode_row(cells.a, 0u, scales, signed, nothing),
        decode_row(cells.a, 1u, scales, signed, nothing),
        decode_row(cells.a, 2u, scales, signed, nothing),
        decode_row(cells.a, 3u, scales, signed, nothing),
        decode_row(cells.b, 0u, scales, signed, nothing),
        decode_row(cells.b, 1u, scales, signed, nothing),
        decode_row(cells.b, 2u, scales, signed, nothing),
        decode_row(cells.b, 3u, scales, signed, nothing),
    );
}

// The random bits that round the elements of a bundle: those of rows 0 to 3 in low halves, of rows 4 to 7 in high ones.
struct Random {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

// `quad` is the number in its tensor of the bundle's first quad.
fn random_of(chunk: Chunk, step: u32, quad: u32) -> Random {
    let key = draw_key(chunk, step);
    // Two words for each quad of the blocks before, and four for each bundle before in this row.
    let number = 2u * quad + 2u * (quad % 4u);
    return Random(draw(key, number), draw(key, number + 16u), draw(key, number + 32u), draw(key, number + 48u));
}

fn of_plane(random: Random, plane: u32) -> Random {
    let factor = draw_factor(plane);
    return Random(random.a * factor, random.b * factor, random.c * factor, random.d * factor);
}

// The bits, in the place of random ones, that round to nearest.
fn nearest() -> Random {
    return Random(vec4(NEAREST), vec4(NEAREST), vec4(NEAREST), vec4(NEAREST));
}

fn encode(bundle: Bundle, signed: bool, random: Random, nothing: u32) -> Cells {
    let low = max(max(magnitude(bundle.a), magnitude(bundle.b)), max(magnitude(bundle.c), magnitude(bundle.d)));
    let high = max(max(magnitude(bundle.e), magnitude(bundle.f)), max(magnitude(bundle.g), magnitude(bundle.h)));
    let scales = scales_of(max(low, high), signed);
    let a = (encode_row(bundle.a, 0u, random.a & LOWER_HALF, scales, signed)
        | encode_row(bundle.b, 1u, random.b & LOWER_HALF, scales, signed))
        | (encode_row(bundle.c, 2u, random.c & LOWER_HALF, scales, signed)
        | encode_row(bundle.d, 3u, random.d & LOWER_HALF, scales, signed));
    let b = (encode_row(bundle.e, 0u, random.a >> vec4(16u), scales, signed)
        | encode_row(bundle.f, 1u, random.b >> vec4(16u), scales, signed))
        | (encode_row(bundle.g, 2u, random.c >> vec4(16u), scales, signed)
        | encode_row(bundle.h, 3u, random.d >> vec4(16u), scales, signed));
    let pairs = spread(scales);
    return Cells(whole(a ^ (pairs & SCALE_BITS), nothing), whole(b ^ ((pairs >> vec4(1u)) & SCALE_BITS), nothing));
}

// A quad of a plane that is always f32.
fn exact(packed: Packed) -> vec4<f32> {
    return bitcast<vec4<f32>>(packed);
}

fn packed_exact(quad: vec4<f32>) -> Packed {
    return bitcast<vec4<u32>>(quad);
}
