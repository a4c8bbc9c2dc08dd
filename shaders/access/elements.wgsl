// ACCESS to single elements of f32, at any offset. Nothing past the tensor's end is written, not even with its own value:
// a neighbour may lie there.

#import shared/chunk.wgsl
#import WINDOWS

alias Word = f32;

fn load_param(chunk: Chunk, quad: u32) -> vec4<f32> {
    return load(chunk, PARAM, chunk.param, quad);
}

fn load_grad(chunk: Chunk, quad: u32) -> vec4<f32> {
    return load(chunk, GRAD, chunk.grad, quad);
}

// Gives what is stored.
fn store_param(chunk: Chunk, quad: u32, value: vec4<f32>, step: u32) -> vec4<f32> {
    store(chunk, PARAM, chunk.param, quad, value);
    return value;
}

fn store_grad(chunk: Chunk, quad: u32, value: vec4<f32>) {
    store(chunk, GRAD, chunk.grad, quad, value);
}

// Past the tensor's end, the last element is repeated.
fn load(chunk: Chunk, role: u32, start: u32, quad: u32) -> vec4<f32> {
    let at = start + 4u * quad;
    let last = start + chunk.len - 1u;
    return vec4(
        read_word(chunk, role, min(at, last)),
        read_word(chunk, role, min(at + 1u, last)),
        read_word(chunk, role, min(at + 2u, last)),
        read_word(chunk, role, min(at + 3u, last)),
    );
}

fn store(chunk: Chunk, role: u32, start: u32, quad: u32, value: vec4<f32>) {
    if 4u * quad >= chunk.len {
        return;
    }
    let at = start + 4u * quad;
    let left = chunk.len - 4u * quad;
    write_word(chunk, role, at, value.x);
    if left > 1u {
        write_word(chunk, role, at + 1u, value.y);
    }
    if left > 2u {
        write_word(chunk, role, at + 2u, value.z);
    }
    if left > 3u {
        write_word(chunk, role, at + 3u, value.w);
    }
}
