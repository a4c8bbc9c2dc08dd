// philox: Philox2x32-10, random bits as a function of a counter and a key (Salmon, Moraes, Dror and Shaw, "Parallel
// random numbers: as easy as 1, 2, 3", SC 2011). Nothing is stored or shared between invocations, so that an
// element's bits do not depend on how work is split, and are the same on the CPU.
//
// Twin of src/math/philox.rs.

#import shared/words.wgsl

// 64 random bits for each counter and key: enough for a quad of bf16.
fn philox(counter: vec2<u32>, key: u32) -> vec2<u32> {
    return philox_rounds(philox_rounds(vec3(counter, key))).xy;
}

// Five rounds. Written out, as a loop would be compiled with a counter of its own to bound it.
fn philox_rounds(state: vec3<u32>) -> vec3<u32> {
    return philox_round(philox_round(philox_round(philox_round(philox_round(state)))));
}

// One round on the counter and, after it, the key.
fn philox_round(state: vec3<u32>) -> vec3<u32> {
    let product = multiply_words(state.x, 0xd256d193u);
    return vec3(product.x ^ state.z ^ state.y, product.y, state.z + 0x9e3779b9u);
}
