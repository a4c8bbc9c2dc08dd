// draw: the random bits by which state and bf16 parameters are rounded, as a function of the parameter's name, the step, the plane and
// the element.
// Nothing is stored or shared between invocations.
//
// Twin of src/math/draw.rs.

#import shared/chunk.wgsl

// The key of a parameter's random bits at a step.
fn draw_key(chunk: Chunk, step: u32) -> u32 {
    return mix(vec4(chunk.stream ^ mix(vec4(step)).x)).x;
}

// Four words from this number on, with 16 bits for each of eight elements.
fn draw(key: u32, number: u32) -> vec4<u32> {
    return mix(vec4(key + number) + vec4(0u, 1u, 2u, 3u));
}

// The factor by which they become those of a plane; a parameter takes them as they are. A product with an odd number is another order
// of all words. The factors have nothing in common, such as a small ratio, by which planes would be rounded alike.
fn draw_factor(plane: u32) -> u32 {
    return mix(vec4(plane + 1u)).x | 1u;
}

// The random bits of the first of a word's two elements.
const LOWER_HALF = vec4(0xffffu);

// Two halves, in the place of random ones, that round to nearest.
const NEAREST = 0x80008000u;

// Spreads every bit over all: the function lowbias32, which Chris Wellons found by search.
fn mix(bits: vec4<u32>) -> vec4<u32> {
    var x = bits;
    x = (x ^ (x >> vec4(16u))) * 0x7feb352du;
    x = (x ^ (x >> vec4(15u))) * 0x846ca68bu;
    return x ^ (x >> vec4(16u));
}
