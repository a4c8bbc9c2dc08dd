// h[b, n] = max(Σ_k x[b, k]·W1[k, n] + b1[n], 0)
//
// An invocation computes 8 rows by 8 columns in registers. With four pixels k of four images as the columns of X and
// four rows k of W1 as those of W, four by four terms of the sum are the matrix product W·X.

// The parts are named by row and column.
struct Tile {
    a00: mat4x4<f32>,
    a04: mat4x4<f32>,
    a40: mat4x4<f32>,
    a44: mat4x4<f32>,
}

fn weights(i: u32) -> mat4x4<f32> {
    return mat4x4(param(i), param(i + QUADS), param(i + 2u * QUADS), param(i + 3u * QUADS));
}

// Adds the terms of four pixels of rows 0 to 3, `x`, and 4 to 7, `y`. Their weights start at `i`.
fn add_terms(tile: ptr<function, Tile>, x: mat4x4<f32>, y: mat4x4<f32>, i: u32) {
    let left = weights(i);
    (*tile).a00 += left * x;
    (*tile).a40 += left * y;
    let right = weights(i + 1u);
    (*tile).a04 += right * x;
    (*tile).a44 += right * y;
}

fn store(row: u32, column: u32, sums: mat4x4<f32>) {
    let bias = param(B1 * QUADS + column);
    let i = row * QUADS + column;
    hidden[i] = max(sums[0] * PIXEL + bias, vec4(0.0));
    hidden[i + QUADS] = max(sums[1] * PIXEL + bias, vec4(0.0));
    hidden[i + 2u * QUADS] = max(sums[2] * PIXEL + bias, vec4(0.0));
    hidden[i + 3u * QUADS] = max(sums[3] * PIXEL + bias, vec4(0.0));
}

@compute @workgroup_size(32)
fn forward(@builtin(global_invocation_id) id: vec3<u32>) {
    let columns = QUADS / 2u;
    let column = id.x % columns * 2u;
    let row = id.x / columns * 8u;
    if row >= batch.len {
        return;
    }
    let r = image_starts(row);
    let s = image_starts(row + 4u);

    var tile = Tile();
    for (var k = 0u; k < IMAGE; k++) {
        let p0 = images[r.x + k];
        let p1 = images[r.y + k];
        let p2 = images[r.z + k];
        let p3 = images[r.w + k];
        let p4 = images[s.x + k];
        let p5 = images[s.y + k];
        let p6 = images[s.z + k];
        let p7 = images[s.w + k];
        let i = (W1 + 16u * k) * QUADS + column;
        add_terms(&tile, pixels(p0.x, p1.x, p2.x, p3.x), pixels(p4.x, p5.x, p6.x, p7.x), i);
        add_terms(&tile, pixels(p0.y, p1.y, p2.y, p3.y), pixels(p4.y, p5.y, p6.y, p7.y), i + 4u * QUADS);
        add_terms(&tile, pixels(p0.z, p1.z, p2.z, p3.z), pixels(p4.z, p5.z, p6.z, p7.z), i + 8u * QUADS);
        add_terms(&tile, pixels(p0.w, p1.w, p2.w, p3.w), pixels(p4.w, p5.w, p6.w, p7.w), i + 12u * QUADS);
    }
    store(row, column, tile.a00);
    store(row, column + 1u, tile.a04);
    store(row + 4u, column, tile.a40);
    store(row + 4u, column + 1u, tile.a44);
}
