// GRID for a table of chunks: each workgroup looks up its chunk and loops over it, so that several bundles share the
// look-up.

#import shared/bundle.wgsl
#import shared/chunk.wgsl
#import shared/coefs.wgsl

// Invocations of a workgroup. They are fewer than elsewhere, since each of them looks up the chunk: each takes four times as many bundles
// for it, and in a small tensor's workgroup fewer are left without work. src/abi/mod.rs has the same number.
const TABLE_SIZE = 64u;
const_assert TABLE_SIZE % TEAM == 0u;

@group(0) @binding(0) var<storage, read> chunks: array<Chunk>;
@group(0) @binding(1) var<storage, read> coefs: array<Coefs>;

@compute @workgroup_size(TABLE_SIZE)
fn each_bundle(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * workgroups.x + workgroup.x;
    if index >= arrayLength(&chunks) {
        return;
    }
    let chunk = chunks[index];
    let c = coefs[chunk.clock];
    let bundles = bundles_of(chunk);
    let each = (bundles + TABLE_SIZE - 1u) / TABLE_SIZE;
    let first = first_quad(lane, each);
    let end = min(first + TEAM * each, bundles);
    for (var bundle = first; bundle < end; bundle += TEAM) {
        visit(chunk, c, bundle);
    }
}
