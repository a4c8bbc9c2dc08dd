// z[b, c] = Σ_n h[b, n]·W2[c, n] + b2[c]
// p = softmax(z),  loss = -ln p[label],  dz = (p - onehot(label)) · loss_scale / len
//
// An invocation does one row. The rows that pad the batch get dz = 0 and do not count.

@compute @workgroup_size(8)
fn classify(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    var z0 = param(B2 * QUADS);
    var z1 = param(B2 * QUADS + 1u);
    var z2 = param(B2 * QUADS + 2u).xy;
    for (var quad = 0u; quad < QUADS; quad++) {
        let h = hidden[row * QUADS + quad];
        z0 += h * mat4x4(class_weights(0u, quad), class_weights(1u, quad), class_weights(2u, quad), class_weights(3u, quad));
        z1 += h * mat4x4(class_weights(4u, quad), class_weights(5u, quad), class_weights(6u, quad), class_weights(7u, quad));
        z2 += h * mat2x4(class_weights(8u, quad), class_weights(9u, quad));
    }

    let m = max(z0, z1);
    let largest = max(max(max(m.x, m.y), max(m.z, m.w)), max(z2.x, z2.y));
    let e0 = exp(z0 - largest);
    let e1 = exp(z1 - largest);
    let e2 = exp(z2 - largest);
    let sum = dot(e0, vec4(1.0)) + dot(e1, vec4(1.0)) + e2.x + e2.y;

    let is_row = vec4<u32>(vec4(row % 4u) == vec4(0u, 1u, 2u, 3u));
    let label = dot(samples[(batch.first + row) / 4u], is_row) % 16u;
    let hot0 = vec4<f32>(vec4(label) == vec4(0u, 1u, 2u, 3u));
    let hot1 = vec4<f32>(vec4(label) == vec4(4u, 5u, 6u, 7u));
    let hot2 = vec2<f32>(vec2(label) == vec2(8u, 9u));
    let at_label = dot(z0, hot0) + dot(z1, hot1) + dot(z2, hot2);

    let counts = row < batch.len;
    let scale = select(0.0, loss_scale / f32(batch.len), counts);
    let i = row * CLASS_QUADS;
    dlogits[i] = (e0 / sum - hot0) * scale;
    dlogits[i + 1u] = (e1 / sum - hot1) * scale;
    dlogits[i + 2u] = vec4((e2 / sum - hot2) * scale, 0.0, 0.0);
    if counts {
        totals[row] += vec2(log(sum) + largest - at_label, f32(at_label == largest));
    }
}
