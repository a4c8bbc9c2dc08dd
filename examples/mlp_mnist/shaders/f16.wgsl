// Weights and gradients in f16, a quad at a time, by the conversions of the crate's own shaders/shared/half.wgsl.

@group(0) @binding(3) var<storage, read> params: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read_write> grads: array<vec2<u32>>;

fn param(i: u32) -> vec4<f32> {
    return unpack_f16(params[i]);
}

fn grad(i: u32) -> vec4<f32> {
    return unpack_f16(grads[i]);
}

fn write_grad(i: u32, value: vec4<f32>) {
    grads[i] = pack_f16(value);
}
