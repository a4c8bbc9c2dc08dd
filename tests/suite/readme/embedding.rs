use miadam::{Binding, Error, Hyperparams, MiAdam, Param, ParamGroup, wgpu};

/// `pool` holds 1000 weights, their gradients, 10 biases and their gradients.
pub fn optimizer(device: &wgpu::Device, queue: &wgpu::Queue, pool: &wgpu::Buffer) -> Result<MiAdam, Error> {
    let integrating = Hyperparams { order: 1, kappa: 0.5, switch_step: 5_000, ..Hyperparams::default() };
    let weights = ParamGroup::new(integrating, [Param::new("weights", 1000)]);
    let biases = ParamGroup::new(Hyperparams { order: 0, ..Hyperparams::default() }, [Param::new("biases", 10)]);
    let places = [Binding::new("weights", pool, (pool, 4000)), Binding::new("biases", (pool, 8000), (pool, 8040))];
    MiAdam::new(device, queue, [weights, biases], places)
}

pub fn step(device: &wgpu::Device, queue: &wgpu::Queue, optimizer: &mut MiAdam) -> Result<(), Error> {
    let mut encoder = device.create_command_encoder(&Default::default());
    // … record the kernels that compute the gradients, then the step; as often as you like before a submit.
    optimizer.step(&mut encoder)?;
    queue.submit([encoder.finish()]);
    Ok(())
}
