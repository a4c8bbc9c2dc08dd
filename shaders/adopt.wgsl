// adopt: makes the master copies anew whose parameters have been written by others.
//
//     θ <- the parameter, where the parameter is not θ rounded
//
// State starts as 0, and what a checkpoint lacks is 0 as well, so that this also makes the first copies. A copy that rounds
// to its parameter keeps its bits. This is a kernel of its own, which is recorded until it is known to have run: as a branch
// of the update, a software driver would run its conversions at every step.
//
// Twin of src/math/adopt.rs.

#import shared/chunk.wgsl
#import shared/coefs.wgsl
#import GRID
#import ACCESS

@group(0) @binding(2) var<storage, read_write> moments: array<vec4<f32>>;

fn visit(chunk: Chunk, c: Coefs, quad: u32) {
    let at = chunk.master + quad;
    let theta = moments[at];
    let param = load_param(chunk, quad);
    moments[at] = select(theta, param, bitcast<vec4<u32>>(param) != bitcast<vec4<u32>>(rounded_param(theta)));
}
