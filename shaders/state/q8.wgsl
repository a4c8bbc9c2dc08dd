// STATE in 8 bits: a cell of a plane is four quads, and each two of them share a scale.
//
//     word       the codes of a quad, a byte each; the highest bit of byte j is bit j of half of the scale
//
// Twin of src/math/packed/q8.rs.

#import shared/chunk.wgsl
#import shared/draw.wgsl
#import shared/q8.wgsl

alias Packed = vec4<u32>;

struct Cell {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

fn decode(packed: Packed, signed: bool) -> Cell {
    let scales = scales_of(packed);
    return Cell(
        decode_quad(packed.x, scales.x, signed),
        decode_quad(packed.y, scales.x, signed),
        decode_quad(packed.z, scales.y, signed),
        decode_quad(packed.w, scales.y, signed),
    );
}

// The random bits that round the quads of a cell.
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

fn of_plane(random: Random, plane: u32) -> Random {
    let factor = draw_factor(plane);
    return Random(random.a * factor, random.b * factor, random.c * factor, random.d * factor);
}

// The bits, in the place of random ones, that round to nearest.
fn nearest() -> Random {
    return Random(vec2(NEAREST), vec2(NEAREST), vec2(NEAREST), vec2(NEAREST));
}

fn encode(cell: Cell, signed: bool, random: Random) -> Packed {
    let scales = vec2(scale_of(cell.a, cell.b, signed), scale_of(cell.c, cell.d, signed));
    let codes = vec4(
        encode_quad(cell.a, scales.x, signed, random.a),
        encode_quad(cell.b, scales.x, signed, random.b),
        encode_quad(cell.c, scales.y, signed, random.c),
        encode_quad(cell.d, scales.y, signed, random.d),
    );
    return codes | spread(scales.xxyy >> vec4(0u, 4u, 0u, 4u));
}

// A quad of a plane that is always f32.
fn exact(packed: Packed) -> vec4<f32> {
    return bitcast<vec4<f32>>(packed);
}

fn packed_exact(quad: vec4<f32>) -> Packed {
    return bitcast<vec4<u32>>(quad);
}
