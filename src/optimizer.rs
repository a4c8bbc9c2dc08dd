//! The optimizer on any device.

use std::fmt;

use crate::course::{Change, Course};
use crate::error::Error;
use crate::options::{GradOptions, Hyperparams};
use crate::param::Param;

/// MIAdam on a device. [`Hyperparams`] says what a step computes.
///
/// [`MiAdam`](crate::MiAdam) is `Optimizer<Gpu>`, and [`cpu::MiAdam`](crate::cpu::MiAdam) is `Optimizer<Cpu>`. Each has its own
/// `new`, `step` and readbacks. The rest is the same for both: a host that falls back to the CPU writes it once, as functions
/// of any `Optimizer<D>`.
///
/// ```
/// use miadam::{Error, GradOptions, Hyperparams, OnDevice, Optimizer, Param, ParamGroup, Report, cpu};
///
/// fn prepare<D: OnDevice>(optimizer: &mut Optimizer<D>) -> Result<(), Error> {
///     optimizer.set_grad_options(GradOptions { clip_norm: Some(1.0), ..GradOptions::default() })?;
///     optimizer.set_lr(0, 3e-4)
/// }
///
/// fn log<D: OnDevice>(optimizer: &Optimizer<D>, report: &Report) {
///     println!("recorded {}, taken {}, norm {:?}", optimizer.recorded(), report.step, report.grad_norm);
/// }
///
/// let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("w", 2)])])?;
/// prepare(&mut optimizer)?;
/// log(&optimizer, &optimizer.read_report());
/// # Ok::<(), miadam::Error>(())
/// ```
#[derive(Clone)]
pub struct Optimizer<D> {
    pub(crate) course: Course,
    pub(crate) device: D,
}

impl<D: OnDevice> fmt::Debug for Optimizer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Optimizer")
            .field("groups", &self.course.groups.len())
            .field("params", &self.course.members.len())
            .field("state_bytes", &self.state_bytes())
            .field("recorded", &self.recorded())
            .field("known_step", &self.known_step())
            .finish_non_exhaustive()
    }
}

/// A device that keeps the state of an [`Optimizer`]: [`Gpu`](crate::Gpu) or [`Cpu`](crate::cpu::Cpu).
pub trait OnDevice: backend::Backend {}

impl<D: backend::Backend> OnDevice for D {}

/// The device's part of what both optimizers do. It is sealed: only this crate has devices.
pub(crate) mod backend {
    use crate::course::resumed::Resumed;
    use crate::course::{Change, Course};
    use crate::error::Error;

    pub trait Backend {
        /// Steps that are known to be taken.
        fn known_step(&self) -> u32;

        /// Steps that the parameters of a clock are known to have taken.
        fn known_clock(&self, clock: usize) -> u32;

        /// Steps that are known to be skipped.
        fn known_skipped(&self) -> u32;

        /// Starts loss scaling anew.
        fn set_scale(&mut self, scale: f32) -> Result<(), Error>;

        /// Takes the state and the counts of a checkpoint. On an error nothing has changed.
        fn resume(&mut self, resumed: &Resumed<'_>) -> Result<(), Error>;

        /// Frees the integrals; gives their bytes. On an error nothing has changed.
        fn release_integrals(&mut self) -> Result<u64, Error>;

        /// Takes note that others have written parameters.
        fn params_written(&mut self);

        /// Takes note that others take part in the next step.
        fn parts_changed(&mut self, course: &Course);

        /// Takes note that the course has other options, groups or planes, or that others take part in the next step.
        fn course_changed(&mut self, course: &Course);

        /// Goes on with other parameters, groups or clocks, none of which is new. On an error nothing has changed.
        fn change(&mut self, before: &Course, after: &Course, change: &Change) -> Result<(), Error>;

        /// Bytes that hold moments and integrals.
        fn state_bytes(&self) -> u64;
    }
}

impl<D: OnDevice> Optimizer<D> {
    /// The hyperparameters of each group, in order.
    #[must_use]
    pub fn hyperparams(&self) -> impl ExactSizeIterator<Item = &Hyperparams> {
        self.course.groups.iter()
    }

    /// The parameters, in the order of the groups.
    #[must_use]
    pub fn params(&self) -> impl ExactSizeIterator<Item = &Param> {
        self.course.members.iter().map(|member| &member.param)
    }

    /// Steps recorded so far, those that were skipped or never submitted included. Schedules go by this number.
    #[must_use]
    pub fn recorded(&self) -> u32 {
        self.course.recorded
    }

    /// Steps that are known to be taken. The CPU always knows; the GPU counts by itself, so that this is the count of the last
    /// readback that has come, or of the checkpoint that was loaded.
    #[must_use]
    pub fn known_step(&self) -> u32 {
        self.device.known_step()
    }

    /// Steps that are known to be skipped, likewise.
    #[must_use]
    pub fn known_skipped(&self) -> u32 {
        self.device.known_skipped()
    }

    /// Sets `lr` of a group for the steps recorded from now on: the number that the group's schedule multiplies. Under
    /// [`Schedule::Constant`](crate::Schedule::Constant) it is the learning rate itself, so that a host can set one of its
    /// own for each step.
    ///
    /// # Errors
    /// If there is no such group, or the learning rate is out of range. A learning rate near 0 is allowed here: where its
    /// step scale underflows, the parameters stand still.
    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        self.course.set_lr(group, lr)
    }

    /// Leaves parameters out of the steps recorded from now on, until they [thaw](Self::thaw).
    ///
    /// Such a parameter keeps every bit of itself and of its state. It does not decay and does not count steps. Its gradient
    /// is neither read nor reset, is not in the global norm, and makes no step be skipped. Once it thaws, it goes on as if the
    /// steps in between had not been: bias corrections and ζ go by the number of its own steps, as in PyTorch, where a
    /// parameter without a gradient is left out. Schedules go by recorded steps, as there.
    ///
    /// A checkpoint remembers who is frozen.
    ///
    /// ```
    /// use miadam::{Hyperparams, Param, ParamGroup, cpu};
    ///
    /// let params = [Param::new("body", 1), Param::new("head", 1)];
    /// let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), params)])?;
    /// let (mut body, mut head) = ([1.0], [1.0]);
    /// optimizer.freeze(["body"])?;
    /// optimizer.step([cpu::Binding::new("head", &mut head, &mut [0.5])])?;
    /// optimizer.thaw(["body"])?;
    /// optimizer.step([
    ///     cpu::Binding::new("body", &mut body, &mut [0.5]),
    ///     cpu::Binding::new("head", &mut head, &mut [0.5]),
    /// ])?;
    /// let steps = optimizer.read_state().params.iter().map(|param| param.step()).collect::<Vec<_>>();
    /// assert_eq!(steps, [1, 2]);
    /// # Ok::<(), miadam::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no parameter of such a name, or one is named twice. Nothing is changed then.
    pub fn freeze(&mut self, names: impl IntoIterator<Item: AsRef<str>>) -> Result<(), Error> {
        self.course.each_named(names, |member| member.is_frozen = true)?;
        self.device.parts_changed(&self.course);
        Ok(())
    }

    /// Lets frozen parameters take part again in the steps recorded from now on. Others are not changed.
    ///
    /// # Errors
    /// As for [`freeze`](Self::freeze).
    pub fn thaw(&mut self, names: impl IntoIterator<Item: AsRef<str>>) -> Result<(), Error> {
        self.course.each_named(names, |member| member.is_frozen = false)?;
        self.device.parts_changed(&self.course);
        Ok(())
    }

    /// [`freeze`](Self::freeze) for all parameters that a group has now.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn freeze_group(&mut self, group: usize) -> Result<(), Error> {
        self.course.each_of_group(group, |member| member.is_frozen = true)?;
        self.device.parts_changed(&self.course);
        Ok(())
    }

    /// [`thaw`](Self::thaw) for all parameters that a group has now.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn thaw_group(&mut self, group: usize) -> Result<(), Error> {
        self.course.each_of_group(group, |member| member.is_frozen = false)?;
        self.device.parts_changed(&self.course);
        Ok(())
    }

    /// Leaves parameters out of the next recorded step alone, as [`freeze`](Self::freeze) does for longer. A loss that does not
    /// reach every parameter, as in a mixture of experts, calls it before each step.
    ///
    /// ```
    /// # use miadam::{Hyperparams, Param, ParamGroup, cpu};
    /// # let params = [Param::new("expert 0", 1), Param::new("expert 1", 1)];
    /// # let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), params)])?;
    /// # let mut expert = [1.0];
    /// optimizer.skip(["expert 0"])?;
    /// optimizer.step([cpu::Binding::new("expert 1", &mut expert, &mut [0.5])])?;
    /// # Ok::<(), miadam::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`freeze`](Self::freeze).
    pub fn skip(&mut self, names: impl IntoIterator<Item: AsRef<str>>) -> Result<(), Error> {
        self.course.each_named(names, |member| member.is_skipped = true)?;
        self.device.parts_changed(&self.course);
        Ok(())
    }

    /// Takes back every [`skip`](Self::skip) since the last recorded step, for a host whose step was refused.
    ///
    /// ```
    /// # use miadam::{Hyperparams, Param, ParamGroup, cpu};
    /// # let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("w", 1)])])?;
    /// let mut w = [1.0];
    /// optimizer.skip(["w"])?;
    /// optimizer.skip_none();
    /// optimizer.step([cpu::Binding::new("w", &mut w, &mut [0.5])])?;
    /// assert_ne!(w, [1.0]);
    /// # Ok::<(), miadam::Error>(())
    /// ```
    pub fn skip_none(&mut self) {
        self.course.skip_none();
        self.device.parts_changed(&self.course);
    }

    /// The names of the parameters that are frozen, in the order of the groups.
    pub fn frozen(&self) -> impl Iterator<Item = &str> {
        self.course.members.iter().filter(|member| member.is_frozen).map(|member| &member.param.name[..])
    }

    /// Takes parameters out, with their state. All others keep theirs to the bit. Their groups stay, even if they are empty
    /// then, so that the others keep their numbers.
    ///
    /// The memory of the state is freed. On the GPU the rest moves together with the next step, as
    /// [`add_params`](crate::MiAdam::add_params) says. Steps recorded before keep what they use.
    ///
    /// ```
    /// use miadam::{Hyperparams, Param, ParamGroup, cpu};
    ///
    /// let params = [Param::new("body", 1), Param::new("old head", 1)];
    /// let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), params)])?;
    /// optimizer.remove_params(["old head"])?;
    /// optimizer.add_params(0, [Param::new("head", 2)])?;
    /// assert_eq!(optimizer.params().map(|param| &param.name[..]).collect::<Vec<_>>(), ["body", "head"]);
    /// # Ok::<(), miadam::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no parameter of such a name, or one is named twice; if none would be left; or if the device has no memory,
    /// or is lost. Nothing is changed then.
    /// [`Error::AveragesIn`] while averages are in the parameters' place.
    pub fn remove_params(&mut self, names: impl IntoIterator<Item: AsRef<str>>) -> Result<(), Error> {
        let (course, change) = self.course.without_params(names)?;
        self.take(course, &change)
    }

    /// Moves parameters to another group, from the next recorded step on. They keep their counts and their state. Where the
    /// group has another order, amsgrad, average or way with half precision, the state changes as
    /// [`set_hyperparams`](Self::set_hyperparams) says.
    ///
    /// # Errors
    /// If there is no such group, or no parameter of such a name, or one is named twice; if an `f16` parameter comes to a group
    /// with stochastic rounding; or if the device has no memory, or is lost. Nothing is changed then.
    /// [`Error::StatePrecision`] if a parameter's state would be kept in another precision.
    /// [`Error::AveragesIn`] while averages are in the parameters' place.
    pub fn set_group(&mut self, names: impl IntoIterator<Item: AsRef<str>>, group: usize) -> Result<(), Error> {
        let (course, change) = self.course.with_moved(names, group, |clock| self.device.known_clock(clock))?;
        self.take(course, &change)
    }

    /// Sets the hyperparameters of a group for the steps recorded from now on: all of them, the schedule included. Counts and
    /// state stay. [`hyperparams`](Self::hyperparams) has the present ones, to be changed in part.
    ///
    /// Some of them decide on the state. With a lower `order` the last integrals are freed. With a higher one the new integrals
    /// start at 0, as do those that were released, if ζ is moved so that they are needed again. Under `amsgrad` the largest second
    /// moment starts with that of the next step. A master copy is made from the parameter by the next step.
    ///
    /// ```
    /// use miadam::{Hyperparams, Param, ParamGroup, Schedule, cpu};
    ///
    /// let cosine = |steps| Schedule::Cosine { steps, end_factor: 0.0 };
    /// let hyperparams = Hyperparams { schedule: cosine(1000), ..Hyperparams::default() };
    /// let mut optimizer = cpu::MiAdam::new([ParamGroup::new(hyperparams.clone(), [Param::new("w", 1)])])?;
    /// // The training is to go on for longer.
    /// optimizer.set_hyperparams(0, Hyperparams { schedule: cosine(2000), ..hyperparams })?;
    /// # Ok::<(), miadam::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such group, or a value is out of range; if it has an `f16` parameter and stochastic rounding is asked for;
    /// or if the device has no memory, or is lost. Nothing is changed then.
    /// [`Error::StatePrecision`] if a parameter's state would be kept in another precision.
    /// [`Error::AveragesIn`] while averages are in the parameters' place.
    pub fn set_hyperparams(&mut self, group: usize, hyperparams: Hyperparams) -> Result<(), Error> {
        let (course, change) =
            self.course.with_hyperparams(group, hyperparams, |clock| self.device.known_clock(clock))?;
        self.take(course, &change)
    }

    /// Goes on with a course that follows from the present one by a change.
    fn take(&mut self, course: Course, change: &Change) -> Result<(), Error> {
        self.course.check_averages_out()?;
        self.device.change(&self.course, &course, change)?;
        self.course.replace(course);
        Ok(())
    }

    /// Before a step: splits the clocks of which only some parameters take part in it.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.course.check_averages_out()?;
        if let Some((course, change)) = self.course.settle() {
            self.device.change(&self.course, &course, &change)?;
            self.course = course;
        }
        Ok(())
    }

    /// The options for the gradients.
    #[must_use]
    pub fn grad_options(&self) -> &GradOptions {
        &self.course.grad_options
    }

    /// Sets what happens to the gradients of the steps recorded from now on. Options may change at every step. New numbers
    /// cost nothing; when an option comes or goes, the next step plans anew.
    ///
    /// The loss scale starts at `init_scale` when a scaler comes where there was none. Options set later go on with the
    /// scale as it is. Without a scaler it is 1. On the GPU the scale changes before the queue's next submission, so submit
    /// what is recorded before a scaler comes or goes.
    ///
    /// # Errors
    /// If a value is out of range, or a scaler comes or goes and the device is lost. Nothing is changed then.
    pub fn set_grad_options(&mut self, options: GradOptions) -> Result<(), Error> {
        options.validate()?;
        self.course.check_options(&options)?;
        if let Some(scale) = self.course.fresh_scale(&options) {
            self.device.set_scale(scale)?;
        }
        self.course.grad_options = options;
        self.device.course_changed(&self.course);
        Ok(())
    }

    /// Tells that others have written parameters since the last recorded step: the host set them, or copied them from
    /// elsewhere. The next recorded step then starts from what is in them.
    ///
    /// Only parameters in half precision with [master copies](crate::HalfParams::Master) need it, because a step starts from
    /// the copy. A copy whose rounding is the parameter keeps its bits, so that parameters that nobody has written lose
    /// nothing. [`MiAdam::write_params`](crate::MiAdam::write_params) tells it by itself. On the GPU, submit what is recorded
    /// before the parameters are written.
    ///
    /// ```
    /// use half::bf16;
    /// use miadam::{Dtype, Hyperparams, Param, ParamGroup, cpu};
    ///
    /// let param = Param::new("w", 1).with_dtype(Dtype::Bf16);
    /// let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [param])])?;
    /// let (mut w, mut gradient) = ([bf16::ONE], [0.0_f32]);
    /// optimizer.step([cpu::Binding::new("w", &mut w, &mut gradient)])?;
    ///
    /// w = [bf16::from_f32(5.0)];
    /// optimizer.params_written();
    /// optimizer.step([cpu::Binding::new("w", &mut w, &mut gradient)])?;
    /// assert_eq!(w[0].to_f32(), 5.0);
    /// # Ok::<(), miadam::Error>(())
    /// ```
    pub fn params_written(&mut self) {
        self.device.params_written();
    }

    /// Frees the integrals' memory once no group needs them any more, and gives the bytes freed. Nothing is copied. From
    /// then on [`State`](crate::State) has no integrals. Steps recorded before keep what they use.
    ///
    /// The GPU counts its steps itself, so that only a readback shows how far it is: first await the report or the state of
    /// step ζ - 1 or a later one.
    ///
    /// # Errors
    /// [`Error::IntegralsInUse`] as long as a group may need its integrals, or if the device has no memory for new
    /// bindings, or is lost. Nothing is freed then.
    pub fn release_integrals(&mut self) -> Result<u64, Error> {
        self.course.check_releasable(|clock| self.device.known_clock(clock))?;
        let freed = self.device.release_integrals()?;
        self.course.release_integrals();
        self.device.course_changed(&self.course);
        Ok(freed)
    }

    /// Bytes of the device's memory that hold moments, master copies, averages and integrals. There are fewer after
    /// [`release_integrals`](Self::release_integrals).
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        self.device.state_bytes()
    }
}
