// A run of elements with everything that a kernel needs to know of it. src/abi/structs.rs describes each field.

#import shared/workgroup.wgsl

struct Chunk {
    param: u32,
    grad: u32,
    moments: u32,
    integrals: u32,
    stride: u32,
    master: u32,
    average: u32,
    len: u32,
    clock: u32,
    windows: u32,
    stream: u32,
    first: u32,
}

// The number of quads of a chunk. The last one may be cut short.
fn quads_of(chunk: Chunk) -> u32 {
    return (chunk.len + 3u) / 4u;
}

// The number of quads of a chunk that each invocation of a workgroup takes.
fn quads_each(chunk: Chunk) -> u32 {
    return share(quads_of(chunk));
}
