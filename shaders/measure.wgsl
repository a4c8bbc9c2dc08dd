// measure: what a step has to know of all gradients before it uses the first.
//
//     squares = Σ g²,  largest = max |g|
//
// Each workgroup leaves one partial; advance.wgsl puts the partials together. Infinities and NaN are found by their bits,
// since a compiler may assume that there are none. Squares past either end of the normal range of f32 are in the sums over
// multiples.
//
// Twin of src/math/measure.rs, which sums in f64 and needs no sums over multiples.

#import shared/chunk.wgsl
#import shared/partial.wgsl
#import ACCESS

// True if the dispatch lists many chunks, one for each workgroup, or is a single run.
override TABLE: bool = false;

// Quads of a run that one invocation takes. src/abi/mod.rs has the same number, and why it is this one.
const MEASURED_QUADS = 64u;

// As the bits of an f32.
const TWO_TO_18 = 0x48800000u;

// What 80 adds to an exponent. A product with 2⁸⁰ would do as well, but where the square is taken a compiler may reorder the
// products, and 2¹⁶⁰ is past the range of f32.
const EXPONENT_80 = 80u << 23u;

@group(0) @binding(0) var<storage, read> chunks: array<Chunk>;
@group(0) @binding(1) var<storage, read_write> partials: array<Partial>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn measure(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * workgroups.x + workgroup.x;
    var chunk = chunks[0];
    var start = index * WORKGROUP_SIZE * MEASURED_QUADS;
    var each = MEASURED_QUADS;
    if TABLE {
        chunk = chunks[index];
        start = 0u;
        each = quads_each(chunk);
    }
    let first = start + first_quad(lane, each);
    let end = min(first + TEAM * each, quads_of(chunk));
    var squares = vec4(0.0);
    var small_squares = vec4(0.0);
    var large_squares = vec4(0.0);
    var largest = vec4(0u);
    for (var quad = first; quad < end; quad += TEAM) {
        // Past the end of a tensor, `load_grad` repeats its last element.
        let live = vec4(0u, 1u, 2u, 3u) < vec4(chunk.len - 4u * quad);
        let magnitude = select(vec4(0u), bitcast<vec4<u32>>(load_grad(chunk, quad)) & vec4(0x7fffffffu), live);
        largest = max(largest, magnitude);
        let g = bitcast<vec4<f32>>(magnitude);
        squares += g * g;
        // Up to 2¹⁸ they count as 2¹⁸, which does not show beside squares past the range of f32: theirs would be subnormal,
        // which takes a processor longer.
        let small = bitcast<vec4<f32>>(max(magnitude, vec4(TWO_TO_18)) - vec4(EXPONENT_80));
        small_squares += small * small;
        // Subnormal numbers count as 0, as on a device that has none.
        let little = min(magnitude, vec4(LITTLE)) + vec4(EXPONENT_80);
        let large = bitcast<vec4<f32>>(select(vec4(0u), little, magnitude >= vec4(0x00800000u)));
        large_squares += large * large;
    }
    let own = Partial(
        (squares.x + squares.y) + (squares.z + squares.w),
        (small_squares.x + small_squares.y) + (small_squares.z + small_squares.w),
        (large_squares.x + large_squares.y) + (large_squares.z + large_squares.w),
        max(max(largest.x, largest.y), max(largest.z, largest.w)),
    );
    let all = gather(lane, own);
    // More workgroups than work, where they do not fit one dimension, have no partial. To return early would cost a software
    // driver, which from there on asks for every lane whether it is still on.
    if lane == 0u && index < arrayLength(&partials) {
        partials[index] = all;
    }
}
