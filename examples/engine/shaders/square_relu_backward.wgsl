// dx = 2·max(x, 0)·dout
// shape = (elements, -, -, -); a thread for each.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dout: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < shape.x {
        dx[id.x] = 2.0 * max(x[id.x], 0.0) * dout[id.x];
    }
}
