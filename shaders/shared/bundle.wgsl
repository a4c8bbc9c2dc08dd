// A bundle is the quads that an invocation visits at once. The bundles of a block take turns at its quads, so that neighbours read
// side by side. A block is never cut.
//
//     f32     a quad
//     bf16    two quads; a block has four bundles
//     q8      eight quads; a block has four bundles

#import shared/chunk.wgsl

// Quads of a bundle, and bundles of a block.
override WIDTH: u32 = 1u;
override BUNDLES: u32 = 1u;

// The number of quad i of a bundle.
fn quad_of(bundle: u32, i: u32) -> u32 {
    return bundle / BUNDLES * (BUNDLES * WIDTH) + bundle % BUNDLES + BUNDLES * i;
}

// The number of cell i, of so many, of a bundle. A cell is 16 bytes of a plane.
fn cell_of(bundle: u32, i: u32, cells: u32) -> u32 {
    return bundle / BUNDLES * (BUNDLES * cells) + bundle % BUNDLES + BUNDLES * i;
}

// The number of bundles of a chunk.
fn bundles_of(chunk: Chunk) -> u32 {
    let block = BUNDLES * WIDTH;
    return (quads_of(chunk) + block - 1u) / block * BUNDLES;
}
