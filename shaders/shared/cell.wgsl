// A cell is the quads that an invocation visits at once: one, or as many as 16 bytes of a plane keep.

#import shared/chunk.wgsl

// Quads of a cell.
override WIDTH: u32 = 1u;

// The cells of a chunk, and of them those that each invocation of a workgroup takes.
fn cells_of(chunk: Chunk) -> u32 {
    return (quads_of(chunk) + WIDTH - 1u) / WIDTH;
}

fn cells_each(chunk: Chunk) -> u32 {
    return share(cells_of(chunk));
}
