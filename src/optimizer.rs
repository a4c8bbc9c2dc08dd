use std::collections::HashMap;

use crate::gpu::{Advance, Memory, Update};
use crate::group::{self, Param, ParamGroup, Role, Slice};
use crate::layout::{Group, Rates};
use crate::plan::{Binding, Extras, Limits, Place, Plan, StateLayout, Tensor};
use crate::readback;
use crate::{Error, Hyperparams, State};

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
    params: Vec<Param>,
    numbers: HashMap<String, usize>,
    tensors: Vec<Tensor>,
    layout: StateLayout,
    advance: Advance,
    update: Update,
    /// Whether a parameter has moved since the last plan.
    moved: bool,
}

impl MiAdam {
    /// An optimizer over the groups' parameters, its state all 0.
    ///
    /// Each slice needs `BufferUsages::STORAGE`, and none may overlap another. A slice that starts at a
    /// multiple of 16 bytes is reached fastest. The device needs nothing beyond `Limits::default()`. Device, queue and
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
                param.validate()?;
                tensors.push(Tensor {
                    group: number,
                    len: param.param.len,
                    moment_planes: group.hyperparams.moment_planes() as u64,
                    integral_planes: group.hyperparams.integral_planes() as u64,
                    extras: Extras::new(&group.hyperparams),
                });
                params.push(param);
            }
            hyperparams.push(group.hyperparams);
        }
        check_overlap(&params)?;

        let memory = Memory { device: device.clone(), queue: queue.clone() };
        memory.check_alive()?;
        let layout = StateLayout::new(&tensors, &bind(&params).0, &limits)?;
        let constants: Vec<_> = hyperparams.iter().map(Group::new).collect();
        let mut optimizer = Self {
            advance: Advance::new(&memory, &constants, &limits)?,
            update: Update::new(&memory, &layout, &limits)?,
            numbers: params.iter().zip(0..).map(|(param, number)| (param.name.clone(), number)).collect(),
            memory,
            limits,
            groups: hyperparams,
            params,
            tensors,
            layout,
            moved: true,
        };
        optimizer.prepare()?;
        Ok(optimizer)
    }

    /// Records one step into the caller's encoder, as a compute pass of its own.
    ///
    /// Steps recorded one after the other act one after the other, each with the learning rates it was
    /// recorded with, however they are submitted. An encoder that is dropped takes no step.
    ///
    /// # Errors
    /// If parameters were rebound to slices that overlap, the device has no memory for the new plan, or it is lost.
    /// Nothing is recorded then.
    pub fn step(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        self.prepare_step()?;
        let mut pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("miadam step"), timestamp_writes: None });
        self.record(&mut pass);
        Ok(())
    }

    /// Records one step into the caller's open pass, whose pipeline and bind group 0 it replaces.
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
        self.advance.set_rates(&self.memory, self.groups.iter().map(Rates::new))
    }

    /// Plans and binds anew after a parameter has moved.
    fn prepare(&mut self) -> Result<(), Error> {
        if self.moved {
            check_overlap(&self.params)?;
            let (bindings, buffers) = bind(&self.params);
            let plan = Plan::new(&self.tensors, &bindings, &self.layout, &self.limits);
            self.update.prepare(&self.memory, &self.limits, plan, &buffers, &self.advance)?;
            self.moved = false;
        }
        Ok(())
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.advance.record(pass);
        self.update.record(pass);
    }

    /// Tells where a parameter and its gradient lie from the next recorded step on; its state stays.
    ///
    /// Slices that did not change cost nothing. Overlap with other slices is checked by the next step, so
    /// that parameters can trade places.
    ///
    /// # Errors
    /// If no parameter has this name, or a slice cannot be bound or has another length than before. Nothing
    /// is changed then.
    pub fn rebind(&mut self, name: &str, param: Slice, grad: Slice) -> Result<(), Error> {
        let number = *self.numbers.get(name).ok_or_else(|| Error::UnknownParam { name: name.to_owned() })?;
        let current = &mut self.params[number];
        if current.param == param && current.grad == grad {
            return Ok(());
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

    /// Sets the learning rate of a group for the steps recorded from now on.
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

    /// Records copies of the step counter and the whole state as they are at this point of the encoder.
    ///
    /// The future returned resolves once the encoder is submitted and the caller polls its device.
    ///
    /// # Errors
    /// If the device has no memory for the copies, or is lost. Nothing is recorded then. The future gives
    /// [`Error::ReadbackLost`] if the encoder is dropped or the device lost later.
    pub fn read_state(
        &self,
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<impl Future<Output = Result<State, Error>> + use<>, Error> {
        self.memory.check_alive()?;
        let names: Vec<_> = self.params.iter().map(|param| param.name.clone()).collect();
        readback::record(
            &self.memory,
            encoder,
            &self.advance.progress,
            &self.update.pages,
            &self.layout,
            &self.tensors,
            names,
        )
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

    /// Dispatches that a step records.
    ///
    /// # Errors
    /// As for [`step`](Self::step), whose plan it makes if a parameter has moved.
    pub fn dispatches(&mut self) -> Result<usize, Error> {
        self.prepare()?;
        Ok(1 + self.update.dispatches())
    }

    /// Bytes of device memory that hold moments and integrals.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        self.layout.bytes()
    }
}

/// Numbers the buffers in the order of their first use.
// A buffer's identity, by which it is hashed, does not change.
#[allow(clippy::mutable_key_type)]
fn bind(params: &[Param]) -> (Vec<Binding>, Vec<wgpu::Buffer>) {
    let mut numbers = HashMap::new();
    let mut buffers = Vec::new();
    let mut place = |slice: &Slice| {
        let buffer = *numbers.entry(slice.buffer.clone()).or_insert_with(|| {
            buffers.push(slice.buffer.clone());
            buffers.len() - 1
        });
        Place { buffer, offset: slice.offset }
    };
    let bindings =
        params.iter().map(|Param { param, grad, .. }| Binding { param: place(param), grad: place(grad) }).collect();
    (bindings, buffers)
}

/// wgpu does not check natively that writable bindings are disjoint, so it is done here.
fn check_overlap(params: &[Param]) -> Result<(), Error> {
    let slices = params.iter().flat_map(|param| [(param, Role::Param, &param.param), (param, Role::Grad, &param.grad)]);
    let mut slices: Vec<_> = slices.filter(|(.., slice)| slice.len > 0).collect();
    slices.sort_by(|(.., a), (.., b)| a.buffer.cmp(&b.buffer).then(a.offset.cmp(&b.offset)));
    for pair in slices.windows(2) {
        let [(other, other_role, before), (param, role, after)] = [pair[0], pair[1]];
        if before.buffer == after.buffer && before.offset + 4 * before.len > after.offset {
            let (name, other) = (param.name.clone(), other.name.clone());
            return Err(Error::Overlap { name, role, other, other_role });
        }
    }
    Ok(())
}
