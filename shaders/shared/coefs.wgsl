// The coefficients of one clock, which advance.wgsl computes at each step and update.wgsl uses. They take 256 bytes, so
// that one clock's can be bound by itself on any device.

struct Coefs {
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    one_minus_kappa: f32,
    eps: f32,
    coupled_decay: f32,
    grad_factor: f32,
    grad_unit: f32,
    step_size: f32,
    root_scale: f32,
    decay: f32,
    cautious: u32,
    order: u32,
    amsgrad: u32,
    max_value: f32,
    skip: u32,
    average_rate: f32,
    @size(192) step: u32,
}
