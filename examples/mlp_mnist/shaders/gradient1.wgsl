// dW1[k, n] = Σ_b x[b, k]·dh[b, n]
//
// An invocation sums 16 pixels k by 8 columns n in registers. With four rows b of dh as the columns of D and four
// pixels of the same images as those of X, four by four terms are D·Xᵀ. Rows that pad the batch have dh = 0.

// Four pixels by eight columns.
struct Strip {
    left: mat4x4<f32>,
    right: mat4x4<f32>,
}

fn gradients(i: u32) -> mat4x4<f32> {
    return mat4x4(dhidden[i], dhidden[i + QUADS], dhidden[i + 2u * QUADS], dhidden[i + 3u * QUADS]);
}

// Adds the terms of four images.
fn add_terms(strip: ptr<function, Strip>, left: mat4x4<f32>, right: mat4x4<f32>, x: mat4x4<f32>) {
    let rows = transpose(x);
    (*strip).left += left * rows;
    (*strip).right += right * rows;
}

fn store_half(i: u32, sums: mat4x4<f32>) {
    store_gradient(i, sums[0] * PIXEL);
    store_gradient(i + QUADS, sums[1] * PIXEL);
    store_gradient(i + 2u * QUADS, sums[2] * PIXEL);
    store_gradient(i + 3u * QUADS, sums[3] * PIXEL);
}

fn store(k: u32, column: u32, strip: Strip) {
    let i = (W1 + k) * QUADS + column;
    store_half(i, strip.left);
    store_half(i + 1u, strip.right);
}

@compute @workgroup_size(32)
fn gradient1(@builtin(global_invocation_id) id: vec3<u32>) {
    let columns = QUADS / 2u;
    let column = id.x % columns * 2u;
    let k = id.x / columns;
    if k >= IMAGE {
        return;
    }
    var strip0 = Strip();
    var strip4 = Strip();
    var strip8 = Strip();
    var strip12 = Strip();
    for (var row = 0u; row < batch.len; row += 4u) {
        let r = image_starts(row);
        let p0 = images[r.x + k];
        let p1 = images[r.y + k];
        let p2 = images[r.z + k];
        let p3 = images[r.w + k];
        let left = gradients(row * QUADS + column);
        let right = gradients(row * QUADS + column + 1u);
        add_terms(&strip0, left, right, pixels(p0.x, p1.x, p2.x, p3.x));
        add_terms(&strip4, left, right, pixels(p0.y, p1.y, p2.y, p3.y));
        add_terms(&strip8, left, right, pixels(p0.z, p1.z, p2.z, p3.z));
        add_terms(&strip12, left, right, pixels(p0.w, p1.w, p2.w, p3.w));
    }
    store(16u * k, column, strip0);
    store(16u * k + 4u, column, strip4);
    store(16u * k + 8u, column, strip8);
    store(16u * k + 12u, column, strip12);
}
