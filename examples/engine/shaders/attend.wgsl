// Causal attention, for each head: weights[t, ·] = softmax of q[t]·k[s] / √depth over s ≤ t; out[t] = Σ weights[t, s]·v[s]
// shape = (sequences, context, heads, depth of a head). A row of qkv is q, k and v of all heads, one after the other. A thread
// for each sequence, head and t.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

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
    let query = (first + t) * 3u * width + head * depth;
    let row = id.x * context;

    var largest = -3e38;
    for (var s = 0u; s <= t; s++) {
        let key = (first + s) * 3u * width + width + head * depth;
        var score = 0.0;
        for (var i = 0u; i < depth; i++) {
            score += qkv[query + i] * qkv[key + i];
        }
        score /= sqrt(f32(depth));
        weights[row + s] = score;
        largest = max(largest, score);
    }
    var sum = 0.0;
    for (var s = 0u; s <= t; s++) {
        let weight = exp(weights[row + s] - largest);
        weights[row + s] = weight;
        sum += weight;
    }
    for (var s = 0u; s < context; s++) {
        // What is later than t may hold anything.
        weights[row + s] = select(0.0, weights[row + s] / sum, s <= t);
    }
    for (var i = 0u; i < depth; i++) {
        var value = 0.0;
        for (var s = 0u; s <= t; s++) {
            value += weights[row + s] * qkv[(first + s) * 3u * width + 2u * width + head * depth + i];
        }
        out[(first + t) * width + head * depth + i] = value;
    }
}
