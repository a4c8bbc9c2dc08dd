// WORDS of 4 bytes, at any offset: one f32, or two elements in half precision. Nothing past the tensor's end changes: where
// a tensor ends with half a word, the other half is kept.

#import shared/chunk.wgsl
#import WINDOWS

alias Word = u32;

fn load_single(chunk: Chunk, role: u32, start: u32, quad: u32) -> vec4<f32> {
    let at = start + 4u * quad;
    let last = start + chunk.len - 1u;
    return bitcast<vec4<f32>>(vec4(
        read_word(chunk, role, min(at, last)),
        read_word(chunk, role, min(at + 1u, last)),
        read_word(chunk, role, min(at + 2u, last)),
        read_word(chunk, role, min(at + 3u, last)),
    ));
}

fn load_half(chunk: Chunk, role: u32, start: u32, quad: u32) -> vec2<u32> {
    let at = start + 2u * quad;
    let last = start + (chunk.len - 1u) / 2u;
    return vec2(read_word(chunk, role, min(at, last)), read_word(chunk, role, min(at + 1u, last)));
}

fn store_single(chunk: Chunk, role: u32, start: u32, quad: u32, value: vec4<f32>) {
    if 4u * quad >= chunk.len {
        return;
    }
    let bits = bitcast<vec4<u32>>(value);
    let at = start + 4u * quad;
    let left = chunk.len - 4u * quad;
    write_word(chunk, role, at, bits.x);
    if left > 1u {
        write_word(chunk, role, at + 1u, bits.y);
    }
    if left > 2u {
        write_word(chunk, role, at + 2u, bits.z);
    }
    if left > 3u {
        write_word(chunk, role, at + 3u, bits.w);
    }
}

fn store_half(chunk: Chunk, role: u32, start: u32, quad: u32, words: vec2<u32>) {
    if 4u * quad >= chunk.len {
        return;
    }
    let at = start + 2u * quad;
    let left = chunk.len - 4u * quad;
    store_pair(chunk, role, at, words.x, left);
    if left > 2u {
        store_pair(chunk, role, at + 1u, words.y, left - 2u);
    }
}

fn store_pair(chunk: Chunk, role: u32, at: u32, word: u32, left: u32) {
    var whole = word;
    if left == 1u {
        whole = (read_word(chunk, role, at) & 0xffff0000u) | (word & 0xffffu);
    }
    write_word(chunk, role, at, whole);
}
