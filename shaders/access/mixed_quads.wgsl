// WORDS of 8 bytes: a whole quad in half precision, or half a quad of f32.

#import shared/chunk.wgsl
#import WINDOWS

alias Word = vec2<u32>;

fn load_single(chunk: Chunk, role: u32, start: u32, quad: u32) -> vec4<f32> {
    let at = start + 2u * quad;
    return bitcast<vec4<f32>>(vec4(read_word(chunk, role, at), read_word(chunk, role, at + 1u)));
}

fn load_half(chunk: Chunk, role: u32, start: u32, quad: u32) -> vec2<u32> {
    return read_word(chunk, role, start + quad);
}

fn store_single(chunk: Chunk, role: u32, start: u32, quad: u32, value: vec4<f32>) {
    let bits = bitcast<vec4<u32>>(value);
    let at = start + 2u * quad;
    write_word(chunk, role, at, bits.xy);
    write_word(chunk, role, at + 1u, bits.zw);
}

fn store_half(chunk: Chunk, role: u32, start: u32, quad: u32, words: vec2<u32>) {
    write_word(chunk, role, start + quad, words);
}
