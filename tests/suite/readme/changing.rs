use miadam::{Binding, Error, Hyperparams, MiAdam, Param, ParamGroup, Rows, Schedule, wgpu};

/// Fine-tuning: the body rests, and a new head takes the place of the old one.
pub fn fine_tune(optimizer: &mut MiAdam, head: &wgpu::Buffer, gradients: &wgpu::Buffer) -> Result<(), Error> {
    optimizer.remove_params(["head"])?;
    optimizer.freeze_group(0)?;
    let group = ParamGroup::new(Hyperparams { lr: 3e-3, ..Hyperparams::default() }, [Param::new("new head", 500)]);
    optimizer.add_group(group, [Binding::new("new head", head, gradients)])?;
    Ok(())
}

/// A mixture of experts: the loss of this step has not reached these.
pub fn step(optimizer: &mut MiAdam, encoder: &mut wgpu::CommandEncoder, idle: &[String]) -> Result<(), Error> {
    optimizer.skip(idle)?;
    optimizer.step(encoder)
}

/// Gaussian splatting: `rows` has, for each of `count` new points, the number of the old one that it comes from.
pub fn densify(
    optimizer: &mut MiAdam,
    encoder: &mut wgpu::CommandEncoder,
    places: [Binding<'_>; 2],
    rows: &wgpu::Buffer,
    [before, count]: [usize; 2],
) -> Result<(), Error> {
    optimizer.remap(encoder, places, &Rows::new(before, rows, count))
}

/// The training is to go on for longer.
pub fn prolong(optimizer: &mut MiAdam, steps: u32) -> Result<(), Error> {
    let present: Vec<_> = optimizer.hyperparams().cloned().collect();
    for (group, hyperparams) in present.into_iter().enumerate() {
        let schedule = Schedule::Cosine { steps, end_factor: 0.0 };
        optimizer.set_hyperparams(group, Hyperparams { schedule, ..hyperparams })?;
    }
    Ok(())
}
