//! Checkpoints and other changes from outside, into the GPU optimizer.

use std::sync::Arc;

use super::adoption::Adoption;
use super::binding::number_buffers;
use super::device::{Gpu, tensor};
use super::device_state::{DeviceState, PageBuffers};
use super::known::{ClockSteps, Known};
use super::moves::Moves;
use super::recorded::RecordedSteps;
use crate::abi::{Progress, Scaler};
use crate::course::resumed::Resumed;
use crate::course::{Change, Course};
use crate::error::{Error, Role};
use crate::optimizer::{Optimizer, backend::Backend};
use crate::param::Member;
use crate::plan::{StateLayout, Tensor};
use crate::state::{Checkpoint, Skipped};

/// State made of a checkpoint, on buffers that nobody uses yet.
pub(super) struct Loaded {
    state: DeviceState,
    recorded: RecordedSteps,
    tensors: Vec<Tensor>,
    progress: Progress,
    scaler: Scaler,
    clock_steps: ClockSteps,
}

impl Gpu {
    /// Everything of a loading that can fail.
    pub(super) fn make_loaded(&self, resumed: &Resumed<'_>) -> Result<Loaded, Error> {
        self.memory.check_alive()?;
        let Resumed { course, clocks, states, progress, scaler, .. } = resumed;
        let members = course.members.iter().zip(&self.bound);
        let tensors: Vec<_> = members.map(|(member, bound)| tensor(course, member, bound)).collect();
        let limits = &self.limits;
        let layout = StateLayout::new(&tensors, &number_buffers(&self.bound, |_| true).0, limits)?;
        let scale = Some(self.state.scaler.clone());
        let state = DeviceState::new(&self.memory, limits, layout, course, scale)?;
        let recorded = RecordedSteps::new(&self.memory, &self.kernels, &state, clocks.len(), limits.alignment, None)?;
        state.fill(&self.memory, &course.members, states, clocks, course.averages_in, progress)?;
        let clock_steps = clocks.iter().map(|clock| clock.step).collect();
        Ok(Loaded { state, recorded, tensors, progress: *progress, scaler: *scaler, clock_steps })
    }

    pub(super) fn take_loaded(&mut self, loaded: Loaded) -> Result<(), Error> {
        let Loaded { state, recorded, tensors, progress, scaler, clock_steps } = loaded;
        // The callers' kernels are bound to the loss scale, so that nothing must fail after this.
        state.set_scaler(&self.memory, &scaler)?;
        self.state = state;
        self.recorded = recorded;
        self.plan = None;
        self.moved = true;
        // Readbacks under way are of the state before.
        self.known = Arc::new(Known::new(&progress));
        self.clock_steps = Arc::new(clock_steps);
        self.moves = Moves::default();
        self.adoption = Adoption::new(&tensors, self.generation);
        self.tensors = tensors;
        Ok(())
    }

    pub(super) fn take_pages_without_integrals(&mut self, pages: Vec<PageBuffers>) -> u64 {
        self.replace_pages(pages);
        self.state.layout.drop_integrals()
    }
}

impl Backend for Gpu {
    fn known_step(&self) -> u32 {
        self.known.step()
    }

    fn known_skipped(&self) -> u32 {
        self.known.skipped()
    }

    fn set_scale(&mut self, scale: f32) -> Result<(), Error> {
        self.memory.check_alive()?;
        self.state.set_scaler(&self.memory, &Scaler::starting_at(scale))
    }

    fn known_clock(&self, clock: usize) -> u32 {
        self.clock_steps.of(clock)
    }

    fn change(&mut self, before: &Course, after: &Course, change: &Change) -> Result<(), Error> {
        let bound = self.bound_after(change);
        let changed = self.make_change(before, after, change, bound)?;
        self.take_change(changed);
        Ok(())
    }

    fn resume(&mut self, resumed: &Resumed<'_>) -> Result<(), Error> {
        let loaded = self.make_loaded(resumed)?;
        self.take_loaded(loaded)
    }

    fn release_integrals(&mut self) -> Result<u64, Error> {
        self.memory.check_alive()?;
        let pages = self.state.pages_without_integrals(&self.memory)?;
        Ok(self.take_pages_without_integrals(pages))
    }

    fn params_written(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.adoption.ask(&self.tensors, self.generation);
    }

    fn parts_changed(&mut self, course: &Course) {
        for (own, member) in self.tensors.iter_mut().zip(&course.members) {
            self.moved |= own.rests == member.takes_part();
            own.rests = !member.takes_part();
        }
    }

    fn course_changed(&mut self, course: &Course) {
        for ((own, member), bound) in self.tensors.iter_mut().zip(&course.members).zip(&self.bound) {
            let changed = tensor(course, member, bound);
            self.moved |= *own != changed;
            *own = changed;
        }
        let measures = self.plan.as_ref().is_some_and(|plan| plan.partials().is_some());
        self.moved |= measures != course.grad_options.measures();
    }

    fn state_bytes(&self) -> u64 {
        self.state.layout.bytes()
    }
}

impl Optimizer<Gpu> {
    /// Writes the parameters that a checkpoint has into the buffers that they are bound to, before the queue's next
    /// submission. The buffers need `COPY_DST`. Where a tensor in half precision ends with half a word, the other half
    /// becomes 0. The next recorded step makes master copies anew where they differ from what was written. Submit before
    /// what is recorded already: such a step would go on from the old copies.
    ///
    /// A parameter in `f32` takes one that was saved in half precision, too: as its master copy has it, where the copy's
    /// rounding is the parameter. So a run in half precision goes on in `f32`, without a loss.
    ///
    /// # Errors
    /// If the checkpoint lacks a parameter, or has it with another length or type, or a buffer cannot be written. Nothing is
    /// written then.
    pub fn write_params(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.write_fitting_params(checkpoint, false).map(drop)
    }

    /// [`write_params`](Self::write_params) of the parameters that the checkpoint has with the same length and type, as
    /// [`LoadOptions::lenient`](crate::LoadOptions::lenient) loads what fits. The others are listed, and keep their values.
    ///
    /// # Errors
    /// As for [`write_params`](Self::write_params), except for what is listed.
    pub fn write_params_lenient(&mut self, checkpoint: &Checkpoint) -> Result<Vec<Skipped>, Error> {
        self.write_fitting_params(checkpoint, true)
    }

    fn write_fitting_params(&mut self, checkpoint: &Checkpoint, lenient: bool) -> Result<Vec<Skipped>, Error> {
        let Self { course, device } = self;
        device.memory.check_alive()?;
        let (mut fitting, mut skipped) = (Vec::new(), Vec::new());
        for (Member { param, .. }, bound) in course.members.iter().zip(&device.bound) {
            match checkpoint.param_of(&param.name, param.dtype, param.len) {
                Ok(bytes) => fitting.push((param, &bound.param, bytes)),
                Err(error) if lenient => {
                    skipped.push(Skipped { entry: param.name.clone(), reason: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        for (param, slice, _) in &fitting {
            if !slice.buffer.usage().contains(wgpu::BufferUsages::COPY_DST) {
                let (name, role) = (param.name.clone(), Role::Param);
                return Err(Error::MissingCopyUsage { name, role, usage: "COPY_DST" });
            }
        }
        // A buffer that wgpu would refuse is found before the first is written.
        for (param, slice, _) in &fitting {
            let (memory, buffer) = (&device.memory, &slice.buffer);
            let refusal =
                memory.write(buffer, slice.offset, &[]).and_then(|()| device.kernels.try_buffer(memory, buffer));
            if let Err(Error::Gpu { reason, .. }) = refusal {
                return Err(Error::RefusedBuffer { name: param.name.clone(), role: Role::Param, reason });
            }
            refusal?;
        }
        for (_, slice, bytes) in fitting {
            let mut words = bytes.to_vec();
            words.resize(bytes.len().next_multiple_of(4), 0);
            device.memory.write(&slice.buffer, slice.offset, &words)?;
        }
        device.params_written();
        Ok(skipped)
    }
}
