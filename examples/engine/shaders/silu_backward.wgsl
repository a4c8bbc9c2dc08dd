// σ = 1 / (1 + exp(-x)); dx = dout·σ·(1 + x·(1 - σ))
// shape = (elements, -, -, -); a thread for each.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dout: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= shape.x {
        return;
    }
    let sigma = 1.0 / (1.0 + exp(min(-x[id.x], 80.0)));
    dx[id.x] = dout[id.x] * sigma * (1.0 + x[id.x] * (1.0 - sigma));
}
