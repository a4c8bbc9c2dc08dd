// STATE in f32: a cell of a plane is a quad.

#import shared/chunk.wgsl

alias Packed = vec4<f32>;

struct Cell {
    a: vec4<f32>,
}

// Nothing is rounded.
struct Random {
    none: u32,
}

fn random_of(chunk: Chunk, step: u32, quad: u32) -> Random {
    return Random(0u);
}

fn decode(packed: Packed, signed: bool) -> Cell {
    return Cell(packed);
}

fn of_plane(random: Random, plane: u32) -> Random {
    return random;
}

fn nearest() -> Random {
    return Random(0u);
}

fn encode(cell: Cell, signed: bool, random: Random) -> Packed {
    return cell.a;
}

// A quad of a plane that is always f32.
fn exact(packed: Packed) -> vec4<f32> {
    return packed;
}

fn packed_exact(quad: vec4<f32>) -> Packed {
    return quad;
}
