// STATE in bf16: a block is two rows of four quads, and a bundle is one quad of each row: four columns. Word i of its cell has column i,
// the element of the first row in its low half. Stored values are rounded up or down at random.
//
// Twin of src/math/packed/bf16.rs.

#import shared/chunk.wgsl
#import shared/draw.wgsl
#import shared/half.wgsl
#import shared/whole.wgsl

alias Packed = vec4<u32>;

// Cells of a bundle.
const CELLS = 1u;

struct Cells {
    a: Packed,
}

struct Bundle {
    a: vec4<f32>,
    b: vec4<f32>,
}

fn decode(cells: Cells, signed: bool, nothing: u32) -> Bundle {
    return Bundle(bitcast<vec4<f32>>(cells.a << vec4(16u)), bitcast<vec4<f32>>(cells.a & UPPER_HALF));
}

// The random bits that round the elements of a bundle.
struct Random {
    a: vec4<u32>,
}

// `quad` is the number in its tensor of the bundle's first quad.
fn random_of(chunk: Chunk, step: u32, quad: u32) -> Random {
    // Two words for each quad of the blocks before, and four for each bundle before in this row.
    return Random(draw(draw_key(chunk, step), 2u * quad + 2u * (quad % 4u)));
}

fn of_plane(random: Random, plane: u32) -> Random {
    return Random(random.a * draw_factor(plane));
}

// The bits, in the place of random ones, that round to nearest.
fn nearest() -> Random {
    return Random(vec4(NEAREST));
}

fn encode(bundle: Bundle, signed: bool, random: Random, nothing: u32) -> Cells {
    let low = bf16_bits_stochastic(bundle.a, random.a & LOWER_HALF) >> vec4(16u);
    let high = bf16_bits_stochastic(bundle.b, random.a >> vec4(16u)) & UPPER_HALF;
    return Cells(whole(low | high, nothing));
}

// A quad of a plane that is always f32.
fn exact(packed: Packed) -> vec4<f32> {
    return bitcast<vec4<f32>>(packed);
}

fn packed_exact(quad: vec4<f32>) -> Packed {
    return bitcast<vec4<u32>>(quad);
}
