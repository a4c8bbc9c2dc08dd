// A run of elements with everything that a kernel needs to know of it. src/abi.rs describes each field.

#import shared/workgroup.wgsl

struct Chunk {
    param: u32,
    grad: u32,
    moments: u32,
    integrals: u32,
    stride: u32,
    len: u32,
    clock: u32,
    windows: u32,
    stream: u32,
    first: u32,
}

// Neighbours that read side by side, a cache line of a GPU at a time. Where invocations take several quads, each such team
// goes through a stretch of its own from end to end: a software driver, which runs one team after the other, would jump
// through memory otherwise.
const TEAM = 8u;
const_assert WORKGROUP_SIZE % TEAM == 0u;

// The first of the `each` quads that an invocation takes; each of them is TEAM after the one before.
fn first_quad(lane: u32, each: u32) -> u32 {
    return lane / TEAM * TEAM * each + lane % TEAM;
}

// The number of quads of a chunk. The last one may be cut short.
fn quads_of(chunk: Chunk) -> u32 {
    return (chunk.len + 3u) / 4u;
}

// The number of quads of a chunk that each invocation of a workgroup takes.
fn quads_each(chunk: Chunk) -> u32 {
    return (quads_of(chunk) + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
}

// The first quad of a chunk's master copy: after its two moments, and under amsgrad the largest second moment.
fn first_master(chunk: Chunk, amsgrad: u32) -> u32 {
    return chunk.moments + (2u + amsgrad) * chunk.stride;
}
