// Weights and gradients in f32, a quad at a time.

@group(0) @binding(3) var<storage, read> params: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> grads: array<vec4<f32>>;

fn param(i: u32) -> vec4<f32> {
    return params[i];
}

fn grad(i: u32) -> vec4<f32> {
    return grads[i];
}

fn write_grad(i: u32, value: vec4<f32>) {
    grads[i] = value;
}
