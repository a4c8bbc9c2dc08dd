// RMS norm: scale[r] = 1 / √(mean of x[r, ·]² + ε); out[r, c] = gain[c]·x[r, c]·scale[r]
// shape = (rows, width, -, -); a thread for each row.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> gain: array<f32>;
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const EPSILON = 1e-5;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = shape.y;
    let row = id.x;
    if row >= shape.x {
        return;
    }
    let start = row * width;
    var squares = 0.0;
    for (var c = 0u; c < width; c++) {
        squares += x[start + c] * x[start + c];
    }
    let factor = 1.0 / sqrt(squares / f32(width) + EPSILON);
    for (var c = 0u; c < width; c++) {
        out[start + c] = gain[c] * x[start + c] * factor;
    }
    scale[row] = factor;
}
