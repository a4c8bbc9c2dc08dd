// dh[b, n] = [h[b, n] > 0] · Σ_c dz[b, c]·W2[c, n]
//
// An invocation does four columns of four rows.

@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x % QUADS;
    let row = id.x / QUADS * 4u;
    if row >= batch.len {
        return;
    }
    let w0 = mat4x4(class_weights(0u, column), class_weights(1u, column), class_weights(2u, column), class_weights(3u, column));
    let w1 = mat4x4(class_weights(4u, column), class_weights(5u, column), class_weights(6u, column), class_weights(7u, column));
    let w2 = mat2x4(class_weights(8u, column), class_weights(9u, column));
    for (var r = row; r < row + 4u; r++) {
        let i = r * CLASS_QUADS;
        let dh = w0 * dlogits[i] + w1 * dlogits[i + 1u] + w2 * dlogits[i + 2u].xy;
        let h = hidden[r * QUADS + column];
        dhidden[r * QUADS + column] = select(vec4(0.0), dh, h > vec4(0.0));
    }
}
