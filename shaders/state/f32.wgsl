// STATE in f32: a bundle is a quad, and so is a cell of a plane.

#import shared/chunk.wgsl

alias Packed = vec4<f32>;

// Cells of a bundle.
const CELLS = 1u;

struct Cells {
    a: Packed,
}

struct Bundle {
    a: vec4<f32>,
}

// Nothing is rounded.
struct Random {
    none: u32,
}

fn random_of(chunk: Chunk, step: u32, quad: u32) -> Random {
    return Random(0u);
}

fn decode(cells: Cells, signed: bool, nothing: u32) -> Bundle {
    return Bundle(cells.a);
}

fn of_plane(random: Random, plane: u32) -> Random {
    return random;
}

fn nearest() -> Random {
    return Random(0u);
}

fn encode(bundle: Bundle, signed: bool, random: Random, nothing: u32) -> Cells {
    return Cells(bundle.a);
}

// A quad of a plane that is always f32.
fn exact(packed: Packed) -> vec4<f32> {
    return packed;
}

fn packed_exact(quad: vec4<f32>) -> Packed {
    return quad;
}
