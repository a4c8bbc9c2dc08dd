mod binding;
mod loading;
mod reading;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use binding::{bind, check_overlap, tensor};

use crate::gpu::{Advance, Memory, Update};
use crate::group::{self, Param, ParamGroup, Role, Slice};
use crate::layout::{Group, Rates};
use crate::plan::{Extras, Integrals, Limits, Plan, StateLayout, Tensor};
use crate::readback::Watch;
use crate::report::{self, KnownStep};
use crate::{Error, GradOptions, Hyperparams};

/// MIAdam on the GPU. See [`Hyperparams`] for what a step computes.
///
/// The optimizer owns its state and borrows everything else: it records into the caller's encoder or pass,
/// and never submits, polls, blocks or sets a handler. Parameters and gradients stay in the caller's buffers,
/// updated in place.
///
/// ```no_run
/// # fn embed(device: &wgpu::Device, queue: &wgpu::Queue, weights: &wgpu::Buffer, gradients: &wgpu::Buffer)
/// # -> Result<(), miadam::Error> {
/// use miadam::{Hyperparams, MiAdam, Param, ParamGroup, Slice};
///
/// let weights = Param::new("weights", Slice::whole(weights), Slice::whole(gradients));
/// let mut optimizer = MiAdam::new(device, queue, [ParamGroup::new(Hyperparams::default(), [weights])])?;
///
/// let mut encoder = device.create_command_encoder(&Default::default());
/// // … record the kernels that compute the gradients, then:
/// optimizer.step(&mut encoder)?;
/// queue.submit([encoder.finish()]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MiAdam {
    memory: Memory,
    limits: Limits,
    groups: Vec<Hyperparams>,
    grad_options: GradOptions,
    params: Vec<Param>,
    numbers: HashMap<String, usize>,
    tensors: Vec<Tensor>,
    layout: StateLayout,
    advance: Advance,
    update: Update,
    /// Whether a parameter has moved since the last plan.
    moved: bool,
    /// Steps recorded, by which schedules go.
    recorded: u32,
    /// Each group's learning rate at the last of them.
    lrs: Vec<f64>,
    /// Whether that step measures its gradients.
    measured: bool,
    known_step: KnownStep,
    /// Whether the device is known to have run a step, which made the master copies if there are any.
    adopted: Arc<AtomicBool>,
}

impl MiAdam {
    /// An optimizer over the groups' parameters, its state all 0.
    ///
    /// Each slice needs `BufferUsages::STORAGE`, and none may overlap another. A slice that starts at a
    /// multiple of 16 bytes is reached fastest. Parameters and gradients may be of any [`Dtype`](crate::Dtype); all state
    /// is `f32`. The device needs nothing beyond `Limits::default()`. Device, queue and
    /// buffers must be of one instance of wgpu, which panics on another's, and a buffer must not be destroyed while
    /// it is bound here.
    ///
    /// # Errors
    /// For hyperparameters out of range, names that are empty or used twice, slices that cannot be bound or
    /// overlap, limits below what the shaders need, memory the device does not have, and a lost device.
    pub fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        groups: impl IntoIterator<Item = ParamGroup>,
    ) -> Result<Self, Error> {
        let groups: Vec<_> = groups.into_iter().collect();
        group::validate(&groups)?;
        let limits = Limits::new(&device.limits())?;
        let (mut hyperparams, mut params, mut tensors) = (Vec::new(), Vec::new(), Vec::new());
        for (number, group) in (0..).zip(groups) {
            for param in group.params {
                param.validate(group.hyperparams.half_params)?;
                tensors.push(tensor(number, &group.hyperparams, &param));
                params.push(param);
            }
            hyperparams.push(group.hyperparams);
        }
        check_overlap(&params)?;

        let memory = Memory { device: device.clone(), queue: queue.clone(), lost: None };
        memory.check_alive()?;
        let layout = StateLayout::new(&tensors, &bind(&params).0, &limits)?;
        let constants: Vec<_> = hyperparams.iter().map(Group::new).collect();
        let mut optimizer = Self {
            advance: Advance::new(&memory, &constants, &limits, None)?,
            update: Update::new(&memory, &layout, &limits)?,
            numbers: params.iter().zip(0..).map(|(param, number)| (param.name.clone(), number)).collect(),
            memory,
            limits,
            lrs: hyperparams.iter().map(|group| group.lr_at(0)).collect(),
            groups: hyperparams,
            grad_options: GradOptions::default(),
            params,
            tensors,
            layout,
            moved: true,
            recorded: 0,
            measured: false,
            known_step: KnownStep::default(),
            adopted: Arc::default(),
        };
        optimizer.prepare()?;
        Ok(optimizer)
    }

    /// Takes a flag that the host sets when its device is lost, from the callback that is its own: from then on every call
    /// that needs the device is [`Error::DeviceLost`]. Natively a loss is found without it; in a browser it is not.
    pub fn set_lost_flag(&mut self, lost: Arc<AtomicBool>) {
        self.memory.lost = Some(lost);
    }

    /// Records one step into the caller's encoder, as a compute pass of its own.
    ///
    /// Steps recorded one after the other act one after the other, each with the learning rates it was
    /// recorded with, however they are submitted. An encoder that is dropped takes no step.
    ///
    /// A [`Schedule`](crate::Schedule) goes on by one with every step recorded, as if PyTorch's `scheduler.step()` stood
    /// beside its `optimizer.step()`: with a step whose encoder is dropped, too.
    ///
    /// # Errors
    /// If parameters were rebound to slices that overlap, the device has no memory for the new plan, or it is lost.
    /// Nothing is recorded then.
    pub fn step(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        self.prepare_step()?;
        let watch = if self.adopt_dispatches() > 0 { Some(Watch::new(&self.memory)?) } else { None };
        let mut pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("miadam step"), timestamp_writes: None });
        self.record(&mut pass);
        drop(pass);
        if let Some(watch) = watch {
            watch.record(encoder, &self.advance.buffers.progress, self.adopted.clone());
        }
        Ok(())
    }

    /// Records one step into the caller's open pass, whose pipeline and bind group 0 it replaces.
    ///
    /// The copies that would tell whether master copies are made cannot be in a pass: a [report](Self::read_report) tells, and
    /// until one has come, or [`step`](Self::step) has run, every step looks whether some are to be made.
    ///
    /// # Errors
    /// As for [`step`](Self::step).
    pub fn step_in_pass(&mut self, pass: &mut wgpu::ComputePass<'_>) -> Result<(), Error> {
        self.prepare_step()?;
        self.record(pass);
        Ok(())
    }

    /// Everything that can fail, before anything is recorded.
    fn prepare_step(&mut self) -> Result<(), Error> {
        self.memory.check_alive()?;
        self.prepare()?;
        let lrs: Vec<_> = self.groups.iter().map(|group| group.lr_at(self.recorded)).collect();
        let rates = self.groups.iter().zip(&lrs).map(|(group, &lr)| Rates::new(group, lr));
        self.advance.set(&self.memory, &self.grad_options.recorded(), rates)?;
        self.lrs = lrs;
        Ok(())
    }

    /// Plans and binds anew after a parameter has moved.
    fn prepare(&mut self) -> Result<(), Error> {
        if self.moved {
            check_overlap(&self.params)?;
            let (bindings, buffers) = bind(&self.params);
            let plan = Plan::new(&self.tensors, &bindings, &self.layout, &self.limits);
            let measures = self.grad_options.measures();
            self.update.prepare(&self.memory, &self.limits, plan, &buffers, &mut self.advance, measures)?;
            self.moved = false;
        }
        Ok(())
    }

    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.update.record_measure(pass);
        self.advance.record(pass);
        if self.adopt_dispatches() > 0 {
            self.update.record_adopt(pass);
        }
        self.update.record(pass);
        self.recorded = self.recorded.saturating_add(1);
        self.measured = self.grad_options.measures();
        for (number, group) in self.groups.iter().enumerate() {
            report::log_switch(number, group, self.recorded, self.grad_options.skips());
        }
    }

    /// What makes master copies, until the device is known to have run it: a step recorded may never be submitted, or be
    /// refused with the rest of its encoder.
    fn adopt_dispatches(&self) -> usize {
        if self.adopted.load(Ordering::Relaxed) { 0 } else { self.update.adopt_dispatches() }
    }

    /// Tells where a parameter and its gradient lie from the next recorded step on; its state stays.
    ///
    /// Slices that did not change cost nothing. Overlap with other slices is checked by the next step, so
    /// that parameters can trade places.
    ///
    /// # Errors
    /// If no parameter has this name, or a slice cannot be bound or has another length or type than before.
    /// Nothing is changed then.
    pub fn rebind(&mut self, name: &str, param: Slice, grad: Slice) -> Result<(), Error> {
        let number = *self.numbers.get(name).ok_or_else(|| Error::UnknownParam { name: name.to_owned() })?;
        let current = &mut self.params[number];
        if current.param == param && current.grad == grad {
            return Ok(());
        }
        for (role, slice, current) in [(Role::Param, &param, &current.param), (Role::Grad, &grad, &current.grad)] {
            if slice.dtype != current.dtype {
                let (expected, found) = (current.dtype, slice.dtype);
                return Err(Error::DtypeMismatch { name: name.to_owned(), role, expected, found });
            }
        }
        group::validate_slices(name, &param, &grad)?;
        if param.len != current.param.len {
            let (expected, found) = (current.param.len, param.len);
            return Err(Error::LengthMismatch { name: name.to_owned(), role: Role::Param, expected, found });
        }
        (current.param, current.grad) = (param, grad);
        self.moved = true;
        Ok(())
    }

    /// Sets `lr` of a group for the steps recorded from now on: the number that its schedule multiplies. Under
    /// [`Schedule::Constant`](crate::Schedule::Constant) it is the learning rate itself, the caller's own for each step.
    ///
    /// # Errors
    /// If there is no such group, or the learning rate is out of range. Near 0 it never is: a step scale that
    /// underflows stands still.
    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let groups = self.groups.len();
        let target = self.groups.get_mut(group).ok_or(Error::UnknownGroup { group, groups })?;
        *target = target.with_lr(group, lr)?;
        Ok(())
    }

    /// Sets what happens to the gradients of the steps recorded from now on. Any of it may change from step to step; a
    /// change of numbers costs nothing; where an option comes or goes, or a `factor` to or from 1 alone, the next step plans anew.
    ///
    /// The loss scale starts at `init_scale` where there was no scaler before, as of the queue's next submission. Options
    /// set later go on with the scale as it is, and without a scaler it is 1, again as of the next submission. So submit what
    /// is recorded before a scaler comes or goes.
    ///
    /// # Errors
    /// If a value is out of range, or a scaler comes or goes and the device is lost. Nothing is changed then.
    pub fn set_grad_options(&mut self, options: GradOptions) -> Result<(), Error> {
        options.validate()?;
        let scale = match (&self.grad_options.scaler, &options.scaler) {
            (None, Some(scaler)) => Some(scaler.init_scale as f32),
            (Some(_), None) => Some(1.0),
            _ => None,
        };
        if let Some(scale) = scale {
            self.memory.check_alive()?;
            self.advance.set_scale(&self.memory, scale)?;
        }
        self.moved |= options.measures() != self.grad_options.measures();
        self.grad_options = options;
        self.set_extras();
        Ok(())
    }

    /// What happens to the gradients.
    #[must_use]
    pub fn grad_options(&self) -> &GradOptions {
        &self.grad_options
    }

    /// The loss scale on the device: a buffer with `STORAGE` and `UNIFORM` whose first `f32` is what a kernel multiplies
    /// the loss by, or the gradient of the loss. 1 without a [`GradScaler`](crate::GradScaler).
    #[must_use]
    pub fn loss_scale(&self) -> &wgpu::Buffer {
        &self.advance.buffers.scaler
    }

    /// Lets a kernel be chosen anew for each tensor whose group, or whose gradients, now ask for another.
    fn set_extras(&mut self) {
        for tensor in &mut self.tensors {
            let extras = Extras::new(&self.groups[tensor.group as usize], &self.grad_options);
            let integrals = if tensor.integral_planes == 0 { Integrals::None } else { extras.integrals };
            let extras = Extras { integrals, ..extras };
            self.moved |= tensor.extras != extras;
            tensor.extras = extras;
        }
    }

    /// Frees the integrals' memory, once no group needs them any more; returns the bytes freed. Nothing is copied, and
    /// [`State`](crate::State) has no integrals from then on. Steps recorded before keep what they use.
    ///
    /// The step counter is the device's, so that only a readback shows how far it is: await a
    /// [report](Self::read_report) or the [state](Self::read_state) of step ζ - 1 or a later one first.
    ///
    /// # Errors
    /// [`Error::IntegralsInUse`] as long as a group may need its integrals, or if the device has no memory for new
    /// bindings, or is lost. Nothing is freed then.
    pub fn release_integrals(&mut self) -> Result<u64, Error> {
        let known_step = self.known_step.get();
        let of = |tensor: &Tensor| &self.groups[tensor.group as usize];
        let used = self.tensors.iter().filter(|tensor| tensor.integral_planes > 0);
        if let Some(tensor) = used.max_by_key(|tensor| of(tensor).switch_step)
            && known_step < of(tensor).last_integrating()
        {
            let (switch_step, needed) = (of(tensor).switch_step, of(tensor).last_integrating());
            return Err(Error::IntegralsInUse { group: tensor.group as usize, switch_step, known_step, needed });
        }
        self.memory.check_alive()?;
        self.update.drop_integrals(&self.memory)?;
        let freed = self.layout.drop_integrals();
        self.tensors.iter_mut().for_each(|tensor| tensor.integral_planes = 0);
        self.set_extras();
        self.moved = true;
        Ok(freed)
    }

    /// The hyperparameters of each group, in order.
    #[must_use]
    pub fn hyperparams(&self) -> impl ExactSizeIterator<Item = &Hyperparams> {
        self.groups.iter()
    }

    /// The parameters as bound now, in the order of the groups.
    #[must_use]
    pub fn params(&self) -> impl ExactSizeIterator<Item = &Param> {
        self.params.iter()
    }

    /// Dispatches that a step records: those that make master copies included, until they have run.
    ///
    /// # Errors
    /// As for [`step`](Self::step), whose plan it makes if a parameter has moved.
    pub fn dispatches(&mut self) -> Result<usize, Error> {
        self.memory.check_alive()?;
        self.prepare()?;
        Ok(1 + self.adopt_dispatches() + self.update.dispatches())
    }

    /// Bytes of device memory that hold moments and integrals; less after
    /// [`release_integrals`](Self::release_integrals).
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        self.layout.bytes()
    }
}
