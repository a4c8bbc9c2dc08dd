// ACCESS to whole, 16-byte aligned quads of f32.

#import shared/chunk.wgsl
#import WINDOWS

alias Word = vec4<f32>;

fn load_param(chunk: Chunk, quad: u32) -> vec4<f32> {
    return read_word(chunk, PARAM, chunk.param + quad);
}

fn load_grad(chunk: Chunk, quad: u32) -> vec4<f32> {
    return read_word(chunk, GRAD, chunk.grad + quad);
}

// Gives what is stored.
fn store_param(chunk: Chunk, quad: u32, value: vec4<f32>, step: u32) -> vec4<f32> {
    write_word(chunk, PARAM, chunk.param + quad, value);
    return value;
}

fn store_grad(chunk: Chunk, quad: u32, value: vec4<f32>) {
    write_word(chunk, GRAD, chunk.grad + quad, value);
}
