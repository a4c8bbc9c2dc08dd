/// What [`load_with`](crate::Optimizer::load_with) takes of a checkpoint. By default it is all of it, as with
/// [`load`](crate::Optimizer::load).
///
/// It has the form of all options here, fields and a default. Names are no part of it, because
/// [`write_params`](crate::MiAdam::write_params) and [`copy_param`](crate::Checkpoint::copy_param) need the same names: the
/// checkpoint itself is [renamed](crate::Checkpoint::rename_params).
///
/// **Prolonging a cosine.** The state and the number of recorded steps come from the file, the schedule from the program:
///
/// ```
/// use miadam::{Hyperparams, LoadOptions, Param, ParamGroup, Schedule, cpu};
///
/// let run = |steps| {
///     let schedule = Schedule::Cosine { steps, end_factor: 0.0 };
///     cpu::MiAdam::new([ParamGroup::new(Hyperparams { schedule, ..Hyperparams::default() }, [Param::new("w", 2)])])
/// };
/// let saved = run(1000)?.read_checkpoint();
///
/// let mut longer = run(5000)?;
/// longer.load_with(&saved, &LoadOptions { own_hyperparams: true, ..LoadOptions::default() })?;
/// assert_eq!(longer.hyperparams().next().unwrap().lr_at(5000), 0.0);
/// # Ok::<(), miadam::Error>(())
/// ```
///
/// **Going on from Adam.** Its moments go on; the integrals start at 0, which is listed:
///
/// ```
/// use miadam::{Hyperparams, LoadOptions, Param, ParamGroup, Plane, cpu};
///
/// let run = |order| cpu::MiAdam::new([ParamGroup::new(Hyperparams { order, ..Hyperparams::default() }, [Param::new("w", 1)])]);
/// let mut adam = run(0)?;
/// adam.step([cpu::Binding::new("w", &mut [1.0], &mut [0.5])])?;
///
/// let mut optimizer = run(1)?;
/// let options = LoadOptions { own_hyperparams: true, lenient: true, ..LoadOptions::default() };
/// let listed = optimizer.load_with(&adam.read_checkpoint(), &options)?;
/// assert_eq!(listed.len(), 1);
/// assert_eq!(listed[0].to_string(), "`integral/1/w`: it starts at 0: the checkpoint has 0 of 1 integrals");
/// let state = optimizer.read_state();
/// assert_eq!(state.params[0].plane(Plane::FirstMoment), adam.read_state().params[0].plane(Plane::FirstMoment));
/// # Ok::<(), miadam::Error>(())
/// ```
///
/// **A new head for an old body**, from a file whose names have a prefix. The schedule starts with the new run:
///
/// ```
/// use miadam::{Hyperparams, LoadOptions, Param, ParamGroup, cpu};
///
/// let group = |params: &[(&str, usize)]| {
///     ParamGroup::new(Hyperparams::default(), params.iter().map(|&(name, len)| Param::new(name, len)))
/// };
/// let saved = cpu::MiAdam::new([group(&[("model.body", 3), ("model.head", 2)])])?;
/// let mut checkpoint = saved.read_checkpoint();
/// checkpoint.strip_prefix("model.")?;
///
/// let mut optimizer = cpu::MiAdam::new([group(&[("body", 3), ("new head", 4)])])?;
/// let options = LoadOptions { own_hyperparams: true, own_recorded: true, lenient: true, ..LoadOptions::default() };
/// for listed in optimizer.load_with(&checkpoint, &options)? {
///     println!("{listed}"); // `new head`: the checkpoint has no such parameter …
/// }
/// # Ok::<(), miadam::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// Whether the optimizer keeps its own hyperparameters, schedules included. Groups may then be divided otherwise than in
    /// the file. By default the file's win, and order, amsgrad and half precision become what they are there.
    pub own_hyperparams: bool,
    /// Whether the optimizer keeps its own [`GradOptions`](crate::GradOptions). The loss scale is then as if they were set
    /// after the loading: where both sides scale the loss it is the file's, else it starts anew. By default the options and
    /// the scale are the file's.
    pub own_grad_options: bool,
    /// Whether the optimizer keeps its own count of [recorded](crate::Optimizer::recorded) steps, by which schedules go: 0 in
    /// a new one, whose schedules so start at their beginning. By default they go on where the file's run was. The counts of
    /// the parameters, by which bias corrections and ζ go, always come with their moments.
    pub own_recorded: bool,
    /// Whether the optimizer may have a part of the checkpoint's parameters, as a rank does that owns some of them
    /// ([`shard`](crate::shard)). The others are passed over, and are not listed. All that it has must be there, in groups of
    /// the same hyperparameters for each of its own groups; how many groups those are does not matter. By default the
    /// checkpoint's parameters and groups have to be the optimizer's.
    pub partial: bool,
    /// Whether what does not fit is listed. By default it is an error.
    pub lenient: bool,
}
