use miadam::{Error, Hyperparams, Param, ParamGroup, cpu};

pub fn on_the_cpu(weights: &mut [f32], gradients: &mut [f32]) -> Result<(), Error> {
    let group = ParamGroup::new(Hyperparams::default(), [Param::new("weights", weights.len())]);
    let mut optimizer = cpu::MiAdam::new([group])?;
    optimizer.step([cpu::Binding::new("weights", weights, gradients)])
}
