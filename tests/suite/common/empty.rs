use miadam::{Binding, Error, Hyperparams, MiAdam, Param, ParamGroup, cpu};

use super::Gpu;

/// Groups that only have to be there: each has one parameter, without elements.
pub fn empty_groups(hyperparams: impl IntoIterator<Item = Hyperparams>) -> Vec<ParamGroup> {
    let group = |(number, hyperparams): (usize, _)| ParamGroup::new(hyperparams, [Param::new(number.to_string(), 0)]);
    hyperparams.into_iter().enumerate().map(group).collect()
}

/// The GPU optimizer of such groups.
pub fn empty_on_gpu(gpu: &Gpu, groups: Vec<ParamGroup>) -> Result<MiAdam, Error> {
    let buffer = gpu.buffer_of(&[0.0]);
    let names: Vec<_> = groups.iter().map(|group| group.params[0].name.clone()).collect();
    let bindings = names.iter().map(|name| Binding::new(name, &buffer, &buffer));
    MiAdam::new(&gpu.device, &gpu.queue, groups, bindings)
}

/// A step of the CPU optimizer of such groups.
pub fn step_empty(optimizer: &mut cpu::MiAdam) {
    let names: Vec<_> = optimizer.params().map(|param| param.name.clone()).collect();
    let bindings = names.iter().map(|name| cpu::Binding::new(name, &mut [0.0; 0], &mut [0.0; 0]));
    optimizer.step(bindings).unwrap();
}
