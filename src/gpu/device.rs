//! The GPU's part of an optimizer: plans, and records.

use std::sync::Arc;

use super::adoption::Adoption;
use super::binding::{Bound, number_buffers};
use super::bound_plan::{Binder, BoundPlan, Placed};
use super::device_state::{DeviceState, PageBuffers};
use super::kernels::Kernels;
use super::known::{ClockSteps, Known};
use super::memory::Memory;
use super::moves::Moves;
use super::others::Others;
use super::overlap::check_overlap;
use super::recorded::RecordedSteps;
use super::shader::Judgement;
use crate::abi::{GradSettings, Recorded};
use crate::course::Course;
use crate::error::{Error, Role};
use crate::param::Member;
use crate::plan::{Extras, Format, Integrals, Limits, Placement, Plan, Tensor};

/// The GPU's part of an [`Optimizer`](crate::Optimizer): where the tensors lie, the compiled kernels, the state on the device, and the plan.
#[derive(Debug)]
pub struct Gpu {
    pub(super) memory: Memory,
    pub(super) limits: Limits,
    /// The places of each parameter and its gradient.
    pub(super) bound: Vec<Bound>,
    /// The parameters as the planner knows them.
    pub(super) tensors: Vec<Tensor>,
    /// The gradients of tensors that somebody else updates.
    pub(super) others: Others,
    pub(super) kernels: Kernels,
    pub(super) state: DeviceState,
    pub(super) recorded: RecordedSteps,
    /// The current plan, or none before the first and after the state has changed its buffers.
    pub(super) plan: Option<BoundPlan>,
    /// Whether the plan is to be made anew before the next step.
    pub(super) moved: bool,
    /// The generation that steps are recorded with, from 1. It grows with each change from outside.
    pub(super) generation: u32,
    pub(super) adoption: Adoption,
    pub(super) moves: Moves,
    pub(super) known: Arc<Known>,
    pub(super) clock_steps: Arc<ClockSteps>,
}

/// What to do where wgpu refuses a buffer.
pub(super) const LIVE_BUFFER: &str =
    "give one that was made on the optimizer's device and is neither destroyed nor mapped";

/// A parameter as the planner knows it.
pub(super) fn tensor(course: &Course, member: &Member, bound: &Bound) -> Tensor {
    let hyperparams = course.group_of(member);
    let planes = member.planes;
    let extras = Extras::new(hyperparams, &course.grad_options);
    let integrals = if planes.integrals == 0 { Integrals::None } else { extras.integrals };
    // A leader may say anything.
    let (adjust, skip) = (extras.adjust || course.follows, extras.skip || course.follows);
    Tensor {
        clock: member.clock as u32,
        rests: !member.takes_part(),
        len: member.param.len as u64,
        moment_planes: 2 + u64::from(planes.amsgrad),
        master: planes.master,
        average: planes.average,
        integral_planes: planes.integrals.into(),
        format: Format::new(member.param.dtype, bound.grad_dtype, hyperparams.half_params, planes.precision),
        stream: member.stream,
        extras: Extras { adjust, skip, integrals, ..extras },
    }
}

impl Gpu {
    /// Everything of a step that can fail, before anything is recorded.
    pub(super) fn prepare_step(&mut self, course: &Course) -> Result<(), Error> {
        if let Err(error) = self.memory.check_alive() {
            self.forget_plan();
            return Err(error);
        }
        self.bind_plan(course)?;
        self.moves.forget(&self.known);
        self.adoption.renew(&self.tensors, &mut self.generation);
        let settings = GradSettings::new(&course.grad_options);
        let clock_words = self.state.clocks.words as u32;
        let recorded = Recorded { settings, generation: self.generation, clock_words };
        self.recorded.set(&self.memory, &self.kernels, &self.state, &recorded, course.ticks())
    }

    /// Plans and binds anew if anything has moved. On an error the last plan stays.
    pub(super) fn bind_plan(&mut self, course: &Course) -> Result<(), Error> {
        if !self.moved {
            return Ok(());
        }
        let members = course.members.iter().zip(&self.bound).filter(|(member, _)| member.takes_part());
        check_overlap(members.map(|(member, bound)| (&member.param, bound)), &self.others.grads)?;
        let (placements, buffers) = number_buffers(&self.bound, |number| !self.tensors[number].rests);
        self.bind(course, &placements, buffers)
    }

    pub(super) fn bind(
        &mut self,
        course: &Course,
        placements: &[Placement],
        buffers: Vec<wgpu::Buffer>,
    ) -> Result<(), Error> {
        let plan = Placed { plan: Plan::new(&self.tensors, placements, &self.state.layout, &self.limits), buffers };
        let judgement = match () {
            () if course.follows => Judgement::Followed,
            () if course.grad_options.measures() => Judgement::Measured,
            () => Judgement::Blind,
        };
        let others = if judgement.measures() { self.others.plan(&self.limits)? } else { Placed::default() };
        let binder = Binder {
            memory: &self.memory,
            limits: &self.limits,
            kernels: &mut self.kernels,
            state: &self.state,
            judgement,
        };
        let plan =
            binder.bind(plan, others, self.plan.as_ref()).map_err(|error| self.name_refused_buffer(course, error))?;
        if let Some(partials) = plan.partials().filter(|partials| !self.recorded.has_partials(partials)) {
            self.recorded = self.recorded.rebound(&self.memory, &self.kernels, &self.state, Some(partials))?;
        }
        self.plan = Some(plan);
        self.moved = false;
        Ok(())
    }

    /// A better error where wgpu refuses to bind: the tensor whose buffer is to blame.
    fn name_refused_buffer(&self, course: &Course, error: Error) -> Error {
        if !matches!(error, Error::Gpu { .. }) {
            return error;
        }
        let members = course.members.iter().zip(&self.bound).filter(|(member, _)| member.takes_part());
        for (member, bound) in members {
            for (role, slice) in [(Role::Param, &bound.param), (Role::Grad, &bound.grad)] {
                if let Err(Error::Gpu { reason, .. }) = self.kernels.try_buffer(&self.memory, &slice.buffer) {
                    return Error::RefusedBuffer { name: member.param.name.clone(), role, reason };
                }
            }
        }
        for (index, other) in self.others.grads.iter().enumerate() {
            if let Err(Error::Gpu { reason, .. }) = self.kernels.try_buffer(&self.memory, &other.grad.buffer) {
                let reason = format!("lies in a buffer that wgpu refuses ({reason}); {LIVE_BUFFER}");
                return Error::OtherGrad { index, reason };
            }
        }
        error
    }

    pub(super) fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        // A step is prepared before it is recorded, so that there is a plan.
        let Some(plan) = &self.plan else { return };
        self.moves.record(pass);
        plan.record_measure(pass);
        self.recorded.record(&plan.advance, pass);
        if self.adopt_dispatches() > 0 {
            plan.record_adopt(pass);
        }
        plan.record_update(pass);
        self.adoption.record(&self.tensors, &self.known);
    }

    /// Dispatches that make master copies, until the device is known to have run them for this generation: a recorded step
    /// may never be submitted, or be refused with the rest of its encoder.
    pub(super) fn adopt_dispatches(&self) -> usize {
        if !self.adoption.is_pending(&self.known) {
            0
        } else {
            self.plan.as_ref().map_or(0, BoundPlan::adopt_dispatches)
        }
    }

    /// Lets the next step make again what wgpu has refused late.
    pub(super) fn forget_plan(&mut self) {
        self.kernels.forget();
        self.plan = None;
        self.moved = true;
    }

    /// Takes other buffers for the state, and forgets all that is bound to the old ones.
    pub(super) fn replace_pages(&mut self, pages: Vec<PageBuffers>) {
        self.state.pages = pages;
        self.plan = None;
        self.moved = true;
    }
}
