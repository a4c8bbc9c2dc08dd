// draw: the random bits by which state is rounded, as a function of the parameter's name, the step, the plane and the element.
// Nothing is stored or shared between invocations.
//
// Twin of src/math/packed/draw.rs.

#import shared/chunk.wgsl

// The key of a parameter's random bits at a step.
fn draw_key(chunk: Chunk, step: u32) -> u32 {
    return mix(vec2(chunk.stream ^ mix(vec2(step)).x)).x;
}

// 64 bits for a quad: 16 for each element, in the order of a quad of bf16.
fn draw(key: u32, quad: u32) -> vec2<u32> {
    return mix(vec2(key + 2u * quad) + vec2(0u, 1u));
}

// The factor by which they become those of a plane. A product with an odd number is another order of all words.
fn draw_factor(plane: u32) -> u32 {
    return (2u * plane + 1u) * 0x9e3779b9u;
}

// Two halves, in the place of random ones, that round to nearest.
const NEAREST = 0x80008000u;

// Spreads every bit over all: the function lowbias32, which Chris Wellons found by search.
fn mix(bits: vec2<u32>) -> vec2<u32> {
    var x = bits;
    x = (x ^ (x >> vec2(16u))) * 0x7feb352du;
    x = (x ^ (x >> vec2(15u))) * 0x846ca68bu;
    return x ^ (x >> vec2(16u));
}
