use miadam::{Binding, Dtype, Error, HalfParams, Hyperparams, MiAdam, Param, ParamGroup, wgpu};

/// `weights` are 1000 elements of bf16, 2 bytes each; their gradients are `f32`.
pub fn half_precision(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    weights: &wgpu::Buffer,
    gradients: &wgpu::Buffer,
) -> Result<MiAdam, Error> {
    let hyperparams = Hyperparams { half_params: HalfParams::Stochastic { seed: 1 }, ..Hyperparams::default() };
    let group = ParamGroup::new(hyperparams, [Param::new("weights", 1000).with_dtype(Dtype::Bf16)]);
    let binding = Binding::new("weights", weights, gradients).with_grad_dtype(Dtype::F32);
    MiAdam::new(device, queue, [group], [binding])
}
