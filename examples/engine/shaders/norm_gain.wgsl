// dgain[c] = Σ dout[r, c]·x[r, c]·scale[r] over the rows
// shape = (rows, width, -, -); a thread for each column.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> dout: array<f32>;
@group(0) @binding(4) var<storage, read_write> dgain: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = shape.y;
    let column = id.x;
    if column >= width {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < shape.x; row++) {
        let place = row * width + column;
        sum += dout[place] * x[place] * scale[row];
    }
    dgain[column] = sum;
}
