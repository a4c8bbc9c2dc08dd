// adopt: gives every parameter that has no master copy yet its master copy.
//
//     θ <- the parameter, where θ is 0
//
// State starts as 0, and what a checkpoint lacks is 0 as well. Where an update has made θ 0, the parameter is 0, too, so
// that nothing is lost. This is a kernel of its own, which is recorded until it has run once: as a branch of the update,
// a software driver would run its conversion at every step.
//
// Twin of src/math/adopt.rs.

#import shared/chunk.wgsl
#import shared/coefs.wgsl
#import GRID
#import ACCESS

@group(0) @binding(2) var<storage, read_write> moments: array<vec4<f32>>;

fn visit(chunk: Chunk, c: Coefs, quad: u32) {
    let at = first_master(chunk, c.amsgrad) + quad;
    let theta = moments[at];
    moments[at] = select(theta, load_param(chunk, quad), bitcast<vec4<u32>>(theta) == vec4(0u));
}
