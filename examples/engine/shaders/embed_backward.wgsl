// dtable[e, c] = Σ dout[r, c] over the rows r with ids[r] = e
// shape = (rows, width, entries of the table, -); a thread for each element of dtable. Each sums its own rows, in order: atomic
// additions would be faster, but not the same bits from run to run.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> ids: array<f32>;
@group(0) @binding(2) var<storage, read_write> dout: array<f32>;
@group(0) @binding(3) var<storage, read_write> dtable: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = shape.y;
    let entry = id.x / width;
    if entry >= shape.z {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < shape.x; row++) {
        if u32(ids[row]) == entry {
            sum += dout[row * width + id.x % width];
        }
    }
    dtable[id.x] = sum;
}
