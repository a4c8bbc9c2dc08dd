// adopt: a master copy of every parameter that has none yet.
//
//     θ <- the parameter, where θ is 0
//
// State starts as 0, and so does what a checkpoint lacks. A θ that an update has made 0 has a parameter of 0, so that
// nothing is lost. It is a kernel of its own, recorded until one has run, since a software driver would go through its
// conversion at every step if it were a branch of the update's.
//
// Twin of `adopt` in src/cpu/update.rs. run.wgsl or table.wgsl call `visit` for every quad; `load_param` comes from
// mixed.wgsl, `Chunk` and `first_master` from chunk.wgsl, `Coefs` from coefs.wgsl.

@group(0) @binding(2) var<storage, read_write> moments: array<vec4<f32>>;

fn visit(chunk: Chunk, c: Coefs, quad: u32) {
    let at = first_master(chunk, c.amsgrad) + quad;
    let theta = moments[at];
    moments[at] = select(theta, load_param(chunk, quad), bitcast<vec4<u32>>(theta) == vec4(0u));
}
