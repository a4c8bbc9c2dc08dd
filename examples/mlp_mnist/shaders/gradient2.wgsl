// dW2[c, n] = Σ_b dz[b, c]·h[b, n]     db1[n] = Σ_b dh[b, n]     db2[c] = Σ_b dz[b, c]
//
// An invocation does four columns n; one more does db2. Rows that pad the batch have dz = 0 and dh = 0.

fn store(digit: u32, column: u32, sum: vec4<f32>) {
    store_gradient((W2 + digit) * QUADS + column, sum);
}

fn bias2() {
    var sum0 = vec4(0.0);
    var sum1 = vec4(0.0);
    var sum2 = vec4(0.0);
    for (var row = 0u; row < batch.len; row++) {
        sum0 += dlogits[row * CLASS_QUADS];
        sum1 += dlogits[row * CLASS_QUADS + 1u];
        sum2 += dlogits[row * CLASS_QUADS + 2u];
    }
    store_gradient(B2 * QUADS, sum0);
    store_gradient(B2 * QUADS + 1u, sum1);
    store_gradient(B2 * QUADS + 2u, sum2);
}

@compute @workgroup_size(8)
fn gradient2(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x;
    if column > QUADS {
        return;
    }
    if column == QUADS {
        bias2();
        return;
    }
    var bias1 = vec4(0.0);
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat2x4<f32>();
    for (var row = 0u; row < batch.len; row++) {
        let h = hidden[row * QUADS + column];
        let z0 = dlogits[row * CLASS_QUADS];
        let z1 = dlogits[row * CLASS_QUADS + 1u];
        let z2 = dlogits[row * CLASS_QUADS + 2u];
        a0 += mat4x4(h * z0.x, h * z0.y, h * z0.z, h * z0.w);
        a1 += mat4x4(h * z1.x, h * z1.y, h * z1.z, h * z1.w);
        a2 += mat2x4(h * z2.x, h * z2.y);
        bias1 += dhidden[row * QUADS + column];
    }
    store_gradient(B1 * QUADS + column, bias1);
    store(0u, column, a0[0]);
    store(1u, column, a0[1]);
    store(2u, column, a0[2]);
    store(3u, column, a0[3]);
    store(4u, column, a1[0]);
    store(5u, column, a1[1]);
    store(6u, column, a1[2]);
    store(7u, column, a1[3]);
    store(8u, column, a2[0]);
    store(9u, column, a2[1]);
}
