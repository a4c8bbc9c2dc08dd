// dW1[k, n] = Σ_b x[b, k]·dh[b, n]
//
// An invocation sums 16 pixels k by four columns n in registers. With the four rows b of dh as the columns of D and
// four pixels of the same four images as those of X, four by four terms are D·Xᵀ. Rows that pad the batch have dh = 0.

fn store(k: u32, column: u32, sums: mat4x4<f32>) {
    let i = (W1 + k) * QUADS + column;
    grads[i] = sums[0];
    grads[i + QUADS] = sums[1];
    grads[i + 2u * QUADS] = sums[2];
    grads[i + 3u * QUADS] = sums[3];
}

@compute @workgroup_size(64)
fn gradient1(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x % QUADS;
    let k = id.x / QUADS;
    if k >= IMAGE {
        return;
    }
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    for (var row = 0u; row < batch.len; row += 4u) {
        let r = image_starts(row);
        let p0 = images[r.x + k];
        let p1 = images[r.y + k];
        let p2 = images[r.z + k];
        let p3 = images[r.w + k];
        let i = row * QUADS + column;
        let d = mat4x4(dhidden[i], dhidden[i + QUADS], dhidden[i + 2u * QUADS], dhidden[i + 3u * QUADS]);
        a0 += d * transpose(pixels(p0.x, p1.x, p2.x, p3.x));
        a1 += d * transpose(pixels(p0.y, p1.y, p2.y, p3.y));
        a2 += d * transpose(pixels(p0.z, p1.z, p2.z, p3.z));
        a3 += d * transpose(pixels(p0.w, p1.w, p2.w, p3.w));
    }
    store(16u * k, column, a0);
    store(16u * k + 4u, column, a1);
    store(16u * k + 8u, column, a2);
    store(16u * k + 12u, column, a3);
}
