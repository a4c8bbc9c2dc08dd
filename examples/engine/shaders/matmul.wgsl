// out[r, c] = Σ a[r, i]·b[i, c]
// shape = (rows, columns, inner, transposes): with bit 0, a lies in memory as its transpose, with bit 1, b does. A thread for
// each tile of 4 by 4 elements of out, so that eight loads serve sixteen products.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const TILE = vec4<u32>(0u, 1u, 2u, 3u);

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let rows = shape.x;
    let columns = shape.y;
    let inner = shape.z;
    let tiles = (columns + 3u) / 4u;
    let row = id.x / tiles * 4u;
    let column = id.x % tiles * 4u;
    if row >= rows {
        return;
    }
    let a_strides = select(vec2(inner, 1u), vec2(1u, rows), (shape.w & 1u) != 0u);
    let b_strides = select(vec2(columns, 1u), vec2(1u, inner), (shape.w & 2u) != 0u);
    // A tile at the edge reads the last row or column again, and does not store it.
    var left = min(row + TILE, vec4(rows - 1u)) * a_strides.x;
    var right = min(column + TILE, vec4(columns - 1u)) * b_strides.y;
    var sum0 = vec4(0.0);
    var sum1 = vec4(0.0);
    var sum2 = vec4(0.0);
    var sum3 = vec4(0.0);
    for (var i = 0u; i < inner; i++) {
        let factors = vec4(b[right.x], b[right.y], b[right.z], b[right.w]);
        sum0 += a[left.x] * factors;
        sum1 += a[left.y] * factors;
        sum2 += a[left.z] * factors;
        sum3 += a[left.w] * factors;
        left += a_strides.y;
        right += b_strides.x;
    }
    store(row, column, sum0);
    store(row + 1u, column, sum1);
    store(row + 2u, column, sum2);
    store(row + 3u, column, sum3);
}

fn store(row: u32, column: u32, sums: vec4<f32>) {
    if row >= shape.x {
        return;
    }
    let start = row * shape.y + column;
    let left = shape.y - column;
    out[start] = sums.x;
    if left > 1u {
        out[start + 1u] = sums.y;
    }
    if left > 2u {
        out[start + 2u] = sums.z;
    }
    if left > 3u {
        out[start + 3u] = sums.w;
    }
}
