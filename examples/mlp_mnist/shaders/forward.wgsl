// h[b, n] = max(Σ_k x[b, k]·W1[k, n] + b1[n], 0)
//
// An invocation computes 8 rows by 8 columns in registers. With four pixels k of four images as the columns of X and
// the four rows k of W1 as those of W, four by four terms of the sum are the matrix product W·X.

struct Tile {
    rows0: mat4x4<f32>,
    rows4: mat4x4<f32>,
}

fn weights(k: u32, column: u32) -> mat4x4<f32> {
    let i = k * QUADS + column;
    return mat4x4(params[i], params[i + QUADS], params[i + 2u * QUADS], params[i + 3u * QUADS]);
}

fn store(row: u32, column: u32, sums: mat4x4<f32>) {
    let bias = params[B1 * QUADS + column];
    let i = row * QUADS + column;
    hidden[i] = max(sums[0] + bias, vec4(0.0));
    hidden[i + QUADS] = max(sums[1] + bias, vec4(0.0));
    hidden[i + 2u * QUADS] = max(sums[2] + bias, vec4(0.0));
    hidden[i + 3u * QUADS] = max(sums[3] + bias, vec4(0.0));
}

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>) {
    let columns = QUADS / 2u;
    let column = id.x % columns * 2u;
    let row = id.x / columns * 8u;
    if row >= batch.len {
        return;
    }
    let r = image_starts(row);
    let s = image_starts(row + 4u);

    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    for (var k = 0u; k < IMAGE; k++) {
        let p0 = images[r.x + k];
        let p1 = images[r.y + k];
        let p2 = images[r.z + k];
        let p3 = images[r.w + k];
        let p4 = images[s.x + k];
        let p5 = images[s.y + k];
        let p6 = images[s.z + k];
        let p7 = images[s.w + k];
        {
            let x = pixels(p0.x, p1.x, p2.x, p3.x);
            let y = pixels(p4.x, p5.x, p6.x, p7.x);
            let w = weights(16u * k, column);
            a0 += w * x;
            a2 += w * y;
            let v = weights(16u * k, column + 1u);
            a1 += v * x;
            a3 += v * y;
        }
        {
            let x = pixels(p0.y, p1.y, p2.y, p3.y);
            let y = pixels(p4.y, p5.y, p6.y, p7.y);
            let w = weights(16u * k + 4u, column);
            a0 += w * x;
            a2 += w * y;
            let v = weights(16u * k + 4u, column + 1u);
            a1 += v * x;
            a3 += v * y;
        }
        {
            let x = pixels(p0.z, p1.z, p2.z, p3.z);
            let y = pixels(p4.z, p5.z, p6.z, p7.z);
            let w = weights(16u * k + 8u, column);
            a0 += w * x;
            a2 += w * y;
            let v = weights(16u * k + 8u, column + 1u);
            a1 += v * x;
            a3 += v * y;
        }
        {
            let x = pixels(p0.w, p1.w, p2.w, p3.w);
            let y = pixels(p4.w, p5.w, p6.w, p7.w);
            let w = weights(16u * k + 12u, column);
            a0 += w * x;
            a2 += w * y;
            let v = weights(16u * k + 12u, column + 1u);
            a1 += v * x;
            a3 += v * y;
        }
    }
    store(row, column, a0);
    store(row, column + 1u, a1);
    store(row + 4u, column, a2);
    store(row + 4u, column + 1u, a3);
}
