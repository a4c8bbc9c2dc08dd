// out[r, c] = table[ids[r], c]
// shape = (rows, width, entries of the table, -); a thread for each element of out.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> ids: array<f32>;
@group(0) @binding(2) var<storage, read_write> table: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = shape.y;
    let row = id.x / width;
    if row >= shape.x {
        return;
    }
    out[id.x] = table[u32(ids[row]) * width + id.x % width];
}
