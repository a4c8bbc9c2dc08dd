// Arithmetic on words that WGSL lacks.

// The full product of two words, as (high, low).
fn multiply_words(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle1 = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let middle2 = (a & 0xffffu) * (b >> 16u) + (middle1 & 0xffffu);
    return vec2((a >> 16u) * (b >> 16u) + (middle1 >> 16u) + (middle2 >> 16u), a * b);
}
