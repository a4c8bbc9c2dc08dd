// GRID for a single run: one bundle for each invocation. Chunk and coefficients lie at constant addresses, so that a driver
// reads them once for all invocations.

#import shared/bundle.wgsl
#import shared/chunk.wgsl
#import shared/coefs.wgsl

@group(0) @binding(0) var<storage, read> run: Chunk;
@group(0) @binding(1) var<storage, read> coefs: Coefs;

@compute @workgroup_size(WORKGROUP_SIZE)
fn each_bundle(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Read before the branch: inside it, a driver must not read for lanes that are switched off.
    let chunk = run;
    let c = coefs;
    let bundle = WORKGROUP_SIZE * (workgroup.y * workgroups.x + workgroup.x) + lane;
    if bundle < bundles_of(chunk) {
        visit(chunk, c, bundle);
    }
}
