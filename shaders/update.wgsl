// update: one step of every element of a dispatch's chunks.
//
//     g      <- ±g + λ·θ                               gradient, coupled weight decay
//     m      <- β1·m + (1-β1)·g                        Eq. (5a); Algorithm 1, line 4
//     v      <- β2·v + (1-β2)·g²                       Eq. (5b); line 5
//     s⁽⁰⁾   <- m;  s⁽ʲ⁾ <- κ·s⁽ʲ⁾ + s⁽ʲ⁻¹⁾, j = 1..n     Eq. (12); lines 7 to 10; n = 0 from ζ on
//     θ      <- decay·θ - step_size · s⁽ⁿ⁾ / (√v · root_scale + ε)        lines 12 to 18
//
// Twin of src/cpu.rs. run.wgsl or table.wgsl call it for every quad; `load_param`, `load_grad` and `store_param`
// come from quads.wgsl or elements.wgsl: state always lies in whole quads, parameters and gradients wherever the
// caller has them.

struct Chunk {
    param: u32,
    grad: u32,
    moments: u32,
    integrals: u32,
    stride: u32,
    len: u32,
    group: u32,
    windows: u32,
}

// 256 bytes, so that one group's can be bound by itself on any device.
struct Coefs {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    kappa: f32,
    eps: f32,
    coupled_decay: f32,
    grad_sign: f32,
    step_size: f32,
    root_scale: f32,
    decay: f32,
    order: u32,
    @size(208) amsgrad: u32,
}

@group(0) @binding(2) var<storage, read_write> moments: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> integrals: array<vec4<f32>>;

fn update_quad(chunk: Chunk, c: Coefs, quad: u32) {
    let theta = load_param(chunk, quad);
    let g = c.grad_sign * load_grad(chunk, quad) + c.coupled_decay * theta;
    let first = chunk.moments + quad;
    let second = first + chunk.stride;
    let m = c.beta1 * moments[first] + c.one_minus_beta1 * g;
    let v = c.beta2 * moments[second] + c.one_minus_beta2 * (g * g);
    moments[first] = m;
    moments[second] = v;

    var root = v;
    if c.amsgrad == 1u {
        let largest = second + chunk.stride;
        // Not `max`: a NaN second moment must stay seen.
        root = select(v, moments[largest], v <= moments[largest]);
        moments[largest] = root;
    }

    var num = m;
    var plane = chunk.integrals + quad;
    for (var j = 0u; j < c.order; j += 1u) {
        num += c.kappa * integrals[plane];
        integrals[plane] = num;
        plane += chunk.stride;
    }

    let denominator = sqrt(root) * c.root_scale + c.eps;
    store_param(chunk, quad, c.decay * theta - c.step_size * (num / denominator));
}
