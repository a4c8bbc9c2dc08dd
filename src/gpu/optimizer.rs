//! The GPU optimizer: construction, steps, bindings.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::adoption::Adoption;
use super::binding::{Binding, Bound, number_buffers};
use super::bound_plan::BoundPlan;
use super::device::{Gpu, tensor};
use super::device_state::DeviceState;
use super::kernels::Kernels;
use super::limits::plan_limits;
use super::memory::Memory;
use super::moves::Moves;
use super::others::Others;
use super::overlap::check_overlap;
use super::readback::Watch;
use super::recorded::RecordedSteps;
use crate::course::Course;
use crate::error::Error;
use crate::optimizer::{Optimizer, backend::Backend};
use crate::param::ParamGroup;
use crate::plan::StateLayout;

/// MIAdam on the GPU. [`Hyperparams`](crate::Hyperparams) says what a step computes.
///
/// The optimizer owns its state and borrows everything else. It records into the caller's encoder or pass, and never
/// submits, polls, blocks or sets a handler. Parameters and gradients stay in the caller's buffers, updated in place.
///
/// ```
/// use miadam::{Binding, Hyperparams, MiAdam, Param, ParamGroup};
///
/// # fn main() -> Result<(), miadam::Error> {
/// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return Ok(()) };
/// # let (device, queue) = (&gpu.device, &gpu.queue);
/// # let buffer = || device.create_buffer(&wgpu::BufferDescriptor {
/// #     label: None, size: 4000, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false
/// # });
/// # let (weights, gradients) = (buffer(), buffer());
/// // Two buffers of 1000 f32 each, with `BufferUsages::STORAGE`.
/// let group = ParamGroup::new(Hyperparams::default(), [Param::new("weights", 1000)]);
/// let mut optimizer = MiAdam::new(device, queue, [group], [Binding::new("weights", &weights, &gradients)])?;
///
/// let mut encoder = device.create_command_encoder(&Default::default());
/// // … record the kernels that compute the gradients, then:
/// optimizer.step(&mut encoder)?;
/// queue.submit([encoder.finish()]);
/// # Ok(())
/// # }
/// ```
pub type MiAdam = Optimizer<Gpu>;

impl Optimizer<Gpu> {
    /// An optimizer over the groups' parameters, its state all 0. `bindings` says where each parameter and its gradient lie;
    /// each parameter has exactly one.
    ///
    /// Every buffer needs `BufferUsages::STORAGE`, and no two tensors may overlap. A tensor that starts at a multiple of 16
    /// bytes is reached fastest. Parameters and gradients may be of any [`Dtype`](crate::Dtype). State is `f32`, unless
    /// [`state_precision`](crate::Hyperparams::state_precision) says otherwise. The device needs nothing beyond `Limits::default()`.
    ///
    /// A buffer must not be destroyed while it is bound here. The queue must be the device's own. wgpu 30 has no way to ask
    /// for that: with another device's queue, errors go to that device's handler, and every readback is
    /// [`Error::ReadbackLost`]. All must be of one instance of wgpu. It numbers its objects, so that a buffer of another
    /// instance may be taken for one of this instance, and the wrong memory is trained without an error.
    ///
    /// # Errors
    /// For hyperparameters out of range; for names that are empty or used twice; for parameters without a binding or with
    /// two; for tensors that cannot be bound or overlap; for limits below what the shaders need; for memory that the device
    /// does not have; and for a lost device.
    pub fn new<'a>(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        groups: impl IntoIterator<Item = ParamGroup>,
        bindings: impl IntoIterator<Item = Binding<'a>>,
    ) -> Result<Self, Error> {
        let course = Course::new(groups)?;
        let limits = plan_limits(&device.limits())?;
        let bindings = course.sort_all_bindings(bindings, |binding| binding.name, |_| false)?;
        let bound = bindings.into_iter().flatten().zip(&course.members);
        let bound: Vec<_> =
            bound.map(|(binding, member)| Bound::new(&member.param, binding)).collect::<Result<_, _>>()?;

        let memory = Memory::new(device, queue);
        memory.check_alive()?;
        let members = course.members.iter().zip(&bound);
        let tensors: Vec<_> = members.map(|(member, bound)| tensor(&course, member, bound)).collect();
        check_overlap(course.members.iter().map(|member| &member.param).zip(&bound), &[])?;
        let (placements, buffers) = number_buffers(&bound, |_| true);
        let layout = StateLayout::new(&tensors, &placements, &limits)?;
        let kernels = Kernels::new(&memory, limits)?;
        let state = DeviceState::new(&memory, &limits, layout, &course, None)?;
        let recorded = RecordedSteps::new(&memory, &kernels, &state, course.clocks.len(), limits.alignment, None)?;
        let generation = 1;
        let mut device = Gpu {
            memory,
            limits,
            bound,
            adoption: Adoption::new(&tensors, generation),
            tensors,
            others: Others::default(),
            kernels,
            state,
            recorded,
            plan: None,
            moved: true,
            generation,
            moves: Moves::default(),
            known: Arc::default(),
            clock_steps: Arc::new(course.clocks.iter().map(|_| 0).collect()),
        };
        device.bind(&course, &placements, buffers)?;
        Ok(Self { course, device })
    }

    /// Takes a flag that the host sets when its device is lost, from its own device-lost callback. Once it is set, every call
    /// that needs the device is [`Error::DeviceLost`]. A loss is found without the flag, too: natively at once, in a browser a
    /// little later, or at once by [`prepare_async`](Self::prepare_async).
    pub fn set_lost_flag(&mut self, lost: Arc<AtomicBool>) {
        self.device.memory.lost = Some(lost);
    }

    /// Records one step into the caller's encoder, as a compute pass of its own.
    ///
    /// Recorded steps act one after the other, each with the learning rates that it was recorded with, however they are
    /// submitted. An encoder that is dropped takes no step.
    ///
    /// A [`Schedule`](crate::Schedule) goes on by one with every recorded step, as if PyTorch's `scheduler.step()` stood
    /// beside its `optimizer.step()`. It also goes on with a step whose encoder is dropped.
    ///
    /// # Errors
    /// If parameters were rebound to tensors that overlap, if the device has no memory for the new plan, or if it is lost.
    /// Nothing is recorded then. In a browser a step that plans anew may be refused later, which shows as an error of a later
    /// call; [`prepare_async`](Self::prepare_async) before the step shows it at once.
    /// [`Error::AveragesIn`] while averages are in the parameters' place.
    pub fn step(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        self.settle()?;
        let Self { course, device } = self;
        device.prepare_step(course)?;
        let is_watched = device.adopt_dispatches() > 0 || !device.moves.is_empty();
        let watch = if is_watched { Some(Watch::new(&device.memory)?) } else { None };
        device.memory.check_alive()?;
        let mut pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("miadam step"), timestamp_writes: None });
        device.record(&mut pass);
        drop(pass);
        device.memory.hold(encoder);
        if course.record() {
            device.parts_changed(course);
        }
        if let Some(watch) = watch {
            watch.record(encoder, &device.state.progress, device.known.clone());
        }
        Ok(())
    }

    /// Records one step into the caller's open pass, whose pipeline and bind group 0 it replaces.
    ///
    /// Parameters in half precision with master copies cost a little more here: a pass cannot hold the copy that would tell
    /// that the master copies are made. Every step looks for missing ones until a [report](Self::read_report) has come or
    /// [`step`](Self::step) has run.
    ///
    /// ```
    /// # use miadam::{Binding, Hyperparams, MiAdam, Param, ParamGroup};
    /// # fn main() -> Result<(), miadam::Error> {
    /// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return Ok(()) };
    /// # let (device, queue) = (&gpu.device, &gpu.queue);
    /// # let pool = device.create_buffer(&wgpu::BufferDescriptor {
    /// #     label: None, size: 8000, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false
    /// # });
    /// # let group = ParamGroup::new(Hyperparams::default(), [Param::new("weights", 1000)]);
    /// # let bindings = [Binding::new("weights", &pool, (&pool, 4000))];
    /// # let mut optimizer = MiAdam::new(device, queue, [group], bindings)?;
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// let mut pass = encoder.begin_compute_pass(&Default::default());
    /// // … dispatch the kernels that compute the gradients, then:
    /// optimizer.step_in_pass(&mut pass)?;
    /// // … set your own pipeline and bind group 0 again before the next dispatch.
    /// drop(pass);
    /// queue.submit([encoder.finish()]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`step`](Self::step).
    pub fn step_in_pass(&mut self, pass: &mut wgpu::ComputePass<'_>) -> Result<(), Error> {
        self.settle()?;
        let Self { course, device } = self;
        device.prepare_step(course)?;
        device.memory.check_alive()?;
        device.record(pass);
        device.memory.hold(pass);
        if course.record() {
            device.parts_changed(course);
        }
        Ok(())
    }

    /// Tells where parameters and their gradients lie from the next recorded step on. The state stays. Any number of
    /// parameters may be named; the others stay where they are.
    ///
    /// Tensors that did not move cost next to nothing, so that an engine may name them all at every step. Whether tensors
    /// overlap is checked by the next step, so that parameters can trade places. A gradient may change its type; a
    /// parameter may not.
    ///
    /// ```
    /// # use miadam::{Binding, Hyperparams, MiAdam, Param, ParamGroup};
    /// # fn main() -> Result<(), miadam::Error> {
    /// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return Ok(()) };
    /// # let (device, queue) = (&gpu.device, &gpu.queue);
    /// # let buffer = || device.create_buffer(&wgpu::BufferDescriptor {
    /// #     label: None, size: 4000, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false
    /// # });
    /// # let (weights, gradients, other_gradients) = (buffer(), buffer(), buffer());
    /// # let group = ParamGroup::new(Hyperparams::default(), [Param::new("weights", 1000)]);
    /// # let mut optimizer = MiAdam::new(device, queue, [group], [Binding::new("weights", &weights, &gradients)])?;
    /// // The engine has put the gradients of this step into another buffer.
    /// optimizer.rebind([Binding::new("weights", &weights, &other_gradients)])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If no parameter has such a name, a parameter is named twice, or a tensor cannot be bound. Nothing is changed then.
    pub fn rebind<'a>(&mut self, bindings: impl IntoIterator<Item = Binding<'a>>) -> Result<(), Error> {
        let Self { course, device } = self;
        let sorted = course.sort_bindings(bindings, |binding| binding.name)?;
        let moved = sorted.into_iter().enumerate().filter_map(|(number, binding)| Some((number, binding?)));
        let moved = moved.map(|(number, binding)| Ok((number, Bound::new(&course.members[number].param, binding)?)));
        let mut moved: Vec<_> = moved.collect::<Result<_, Error>>()?;
        moved.retain(|(number, bound)| device.bound[*number] != *bound);
        for (number, bound) in moved {
            device.tensors[number] = tensor(course, &course.members[number], &bound);
            device.bound[number] = bound;
            device.moved = true;
        }
        Ok(())
    }

    /// The current places of the parameters and their gradients, in the order of the groups.
    #[must_use]
    pub fn bindings(&self) -> impl ExactSizeIterator<Item = Binding<'_>> {
        self.course.members.iter().zip(&self.device.bound).map(|(member, bound)| Binding {
            name: &member.param.name,
            param: bound.param.clone(),
            grad: bound.grad.clone(),
            grad_dtype: Some(bound.grad_dtype),
        })
    }

    /// The loss scale on the device: a buffer with `STORAGE` and `UNIFORM`, whose first `f32` is the factor on the loss, or
    /// on the gradient of the loss. It is 1 without a [`GradScaler`](crate::GradScaler). The optimizer keeps the same buffer
    /// for life; while it [follows](Self::follow), this is the leader's.
    ///
    /// Each step also leaves there what became of the gradients, for kernels that update other tensors by the same norm and the
    /// same loss scale: those of [`set_other_grads`](Self::set_other_grads). Such a kernel runs after the step. It does nothing if
    /// `skip` is 1, and multiplies its gradients by `factor`, then by `unit`. The buffer has 32 bytes:
    ///
    /// ```wgsl
    /// struct LossScale {
    ///     scale: f32,       // the factor on the next loss
    ///     good_steps: u32,  // steps since the last that was skipped or let the scale grow
    ///     skip: u32,        // 1 if the last step was skipped, else 0
    ///     padding: u32,
    ///     factor: f32,      // the first factor on every gradient of the last step: accumulation, loss scale, clipping
    ///     unit: f32,        // the second: 1, unless both together are outside the normal range of f32
    ///     norm: f32,        // the norm of all gradients at the last step, which may be infinite or NaN; 0 if not measured
    ///     tail: u32,
    /// }
    /// ```
    ///
    /// ```
    /// use miadam::{Binding, GradOptions, GradScaler, Hyperparams, MiAdam, Param, ParamGroup};
    ///
    /// /// Multiplies the gradient of the loss by the scale, before it is propagated backwards.
    /// const SCALE: &str = "
    ///     @group(0) @binding(0) var<uniform> loss_scale: vec4<f32>; // .x is the scale
    ///     @group(0) @binding(1) var<storage, read_write> loss_gradient: array<f32>;
    ///
    ///     @compute @workgroup_size(1)
    ///     fn scale(@builtin(global_invocation_id) id: vec3<u32>) {
    ///         loss_gradient[id.x] *= loss_scale.x;
    ///     }";
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return Ok(()) };
    /// # let (device, queue) = (&gpu.device, &gpu.queue);
    /// # let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    /// # let [weights, gradients] = [0; 2].map(|_| gpu.buffer("tensor", 4, usage).unwrap());
    /// # let loss_gradient = gpu.buffer_with("loss gradient", &0.5_f32.to_ne_bytes(), usage)?;
    /// # let group = ParamGroup::new(Hyperparams::default(), [Param::new("weights", 1)]);
    /// # let mut optimizer = MiAdam::new(device, queue, [group], [Binding::new("weights", &weights, &gradients)])?;
    /// optimizer.set_grad_options(GradOptions { scaler: Some(GradScaler::default()), ..GradOptions::default() })?;
    /// # let source = wgpu::ShaderSource::Wgsl(SCALE.into());
    /// # let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    /// # let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
    /// #     label: None, layout: None, module: &module, entry_point: None,
    /// #     compilation_options: Default::default(), cache: None,
    /// # });
    /// let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
    ///     label: None,
    ///     layout: &pipeline.get_bind_group_layout(0),
    ///     entries: &[
    ///         wgpu::BindGroupEntry { binding: 0, resource: optimizer.loss_scale().as_entire_binding() },
    ///         wgpu::BindGroupEntry { binding: 1, resource: loss_gradient.as_entire_binding() },
    ///     ],
    /// });
    /// # let mut encoder = gpu.encoder();
    /// # let mut pass = encoder.begin_compute_pass(&Default::default());
    /// # pass.set_pipeline(&pipeline);
    /// # pass.set_bind_group(0, &bind_group, &[]);
    /// # pass.dispatch_workgroups(1, 1, 1);
    /// # drop(pass);
    /// # queue.submit([encoder.finish()]);
    /// # assert_eq!(gpu.read(&loss_gradient)?, (0.5_f32 * 65_536.0).to_ne_bytes());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn loss_scale(&self) -> &wgpu::Buffer {
        self.device.state.scaler.current()
    }

    /// Dispatches that the next step records. Those that make master copies, and those that move state after a change, are
    /// included until they are known to have run.
    ///
    /// # Errors
    /// As for [`step`](Self::step), whose plan it makes if a parameter has moved.
    pub fn dispatches(&mut self) -> Result<usize, Error> {
        self.settle()?;
        let Self { course, device } = self;
        device.memory.check_alive()?;
        device.bind_plan(course)?;
        Ok(1 + device.moves.dispatches()
            + device.adopt_dispatches()
            + device.plan.as_ref().map_or(0, BoundPlan::dispatches))
    }
}
