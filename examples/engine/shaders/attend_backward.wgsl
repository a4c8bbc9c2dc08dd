// dq[t] = Σ dscores[t, s]·k[s] over s ≤ t; dk[t] = Σ dscores[u, t]·q[u] and dv[t] = Σ weights[u, t]·dout[u] over u ≥ t
// shape = (sequences, context, heads, depth of a head), as in attend.wgsl; a thread for each element of out.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> dscores: array<f32>;
@group(0) @binding(4) var<storage, read_write> dout: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let context = shape.y;
    let width = shape.z * shape.w;
    let channel = id.x % width;
    let t = id.x / width % context;
    let sequence = id.x / width / context;
    if sequence >= shape.x {
        return;
    }
    let first = sequence * context;
    // Where the weights of this sequence and head begin.
    let square = (sequence * shape.z + channel / shape.w) * context * context;

    var dq = 0.0;
    for (var s = 0u; s <= t; s++) {
        dq += dscores[square + t * context + s] * qkv[(first + s) * 3u * width + width + channel];
    }
    var dk = 0.0;
    var dv = 0.0;
    for (var u = t; u < context; u++) {
        dk += dscores[square + u * context + t] * qkv[(first + u) * 3u * width + channel];
        dv += weights[square + u * context + t] * dout[(first + u) * width + channel];
    }
    let place = (first + t) * 3u * width + channel;
    dqkv[place] = dq;
    dqkv[place + width] = dk;
    dqkv[place + 2u * width] = dv;
}
