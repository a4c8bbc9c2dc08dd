// STATE in bf16: a cell of a plane is two quads. What is stored is rounded up or down at random.
//
// Twin of src/math/packed/bf16.rs.

#import shared/chunk.wgsl
#import shared/draw.wgsl
#import shared/half.wgsl

alias Packed = vec4<u32>;

struct Cell {
    a: vec4<f32>,
    b: vec4<f32>,
}

fn decode(packed: Packed, signed: bool) -> Cell {
    return Cell(unpack_bf16(packed.xy), unpack_bf16(packed.zw));
}

// The random bits that round the quads of a cell.
struct Random {
    a: vec2<u32>,
    b: vec2<u32>,
}

// `quad` is the number in its tensor of the cell's first quad.
fn random_of(chunk: Chunk, step: u32, quad: u32) -> Random {
    let key = draw_key(chunk, step);
    return Random(draw(key, quad), draw(key, quad + 1u));
}

fn of_plane(random: Random, plane: u32) -> Random {
    let factor = draw_factor(plane);
    return Random(random.a * factor, random.b * factor);
}

// The bits, in the place of random ones, that round to nearest.
fn nearest() -> Random {
    return Random(vec2(NEAREST), vec2(NEAREST));
}

fn encode(cell: Cell, signed: bool, random: Random) -> Packed {
    return vec4(pack_bf16_stochastic(cell.a, random.a), pack_bf16_stochastic(cell.b, random.b));
}

// A quad of a plane that is always f32.
fn exact(packed: Packed) -> vec4<f32> {
    return bitcast<vec4<f32>>(packed);
}

fn packed_exact(quad: vec4<f32>) -> Packed {
    return bitcast<vec4<u32>>(quad);
}
