// dx[r, c] = scale[r]·(gain[c]·dout[r, c] - x[r, c]·scale[r]²·mean of gain·dout·x over the row)
// shape = (rows, width, -, -); a thread for each row.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> gain: array<f32>;
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> dout: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = shape.y;
    let row = id.x;
    if row >= shape.x {
        return;
    }
    let start = row * width;
    var sum = 0.0;
    for (var c = 0u; c < width; c++) {
        sum += gain[c] * dout[start + c] * x[start + c];
    }
    let factor = scale[row];
    let mean = factor * factor * sum / f32(width);
    for (var c = 0u; c < width; c++) {
        dx[start + c] = factor * (gain[c] * dout[start + c] - x[start + c] * mean);
    }
}
