// limit: loads and stores the bytes of an update, through as many bindings, and computes next to nothing.

@group(0) @binding(0) var<storage, read_write> params: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> grads: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> moments: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> integrals: array<vec4<f32>>;

override ORDER: u32;
// Planes of moments.
override MOMENTS: u32;
// Quads of parameters for each 16 bytes of a plane.
override WIDTH: u32;

@compute @workgroup_size(256)
fn limit(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let cell = (workgroup.y * workgroups.x + workgroup.x) * 256u + lane;
    let count = arrayLength(&params) / WIDTH;
    if cell >= count {
        return;
    }
    var g = grads[WIDTH * cell];
    if WIDTH > 1u {
        g += grads[WIDTH * cell + 1u];
        params[WIDTH * cell + 1u] += g;
    }
    if WIDTH > 2u {
        g += grads[WIDTH * cell + 2u] + grads[WIDTH * cell + 3u];
        params[WIDTH * cell + 2u] += g;
        params[WIDTH * cell + 3u] += g;
    }
    for (var j = 0u; j < MOMENTS; j += 1u) {
        moments[cell + j * count] += g;
    }
    for (var j = 0u; j < ORDER; j += 1u) {
        integrals[cell + j * count] += g;
    }
    params[WIDTH * cell] += g;
}
