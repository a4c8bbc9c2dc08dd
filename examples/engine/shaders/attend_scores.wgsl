// The gradient of q[t]·k[s], through the softmax: dweight[t, s] = dout[t]·v[s];
// dscores[t, s] = weights[t, s]·(dweight[t, s] - Σ weights[t, ·]·dweight[t, ·]) / √depth
// shape = (sequences, context, heads, depth of a head), as in attend.wgsl; a thread for each sequence, head and t.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> dout: array<f32>;
@group(0) @binding(4) var<storage, read_write> dscores: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let context = shape.y;
    let depth = shape.w;
    let width = shape.z * depth;
    let t = id.x % context;
    let head = id.x / context % shape.z;
    let sequence = id.x / context / shape.z;
    if sequence >= shape.x {
        return;
    }
    let first = sequence * context;
    let row = id.x * context;

    var sum = 0.0;
    for (var s = 0u; s < context; s++) {
        var dweight = 0.0;
        if s <= t {
            let value = (first + s) * 3u * width + 2u * width + head * depth;
            for (var i = 0u; i < depth; i++) {
                dweight += dout[(first + t) * width + head * depth + i] * qkv[value + i];
            }
        }
        dscores[row + s] = dweight;
        sum += weights[row + s] * dweight;
    }
    for (var s = 0u; s < context; s++) {
        dscores[row + s] = weights[row + s] * (dscores[row + s] - sum) / sqrt(f32(depth));
    }
}
