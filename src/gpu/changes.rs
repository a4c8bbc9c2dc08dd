//! Parameters, groups and clocks that change, on the GPU.

use std::sync::Arc;

use super::binding::{Binding, Bound, number_buffers};
use super::device::{Gpu, tensor};
use super::device_state::{ClockBuffers, DeviceState, PageBuffers, constants};
use super::known::ClockSteps;
use super::moves::Moves;
use super::overlap::check_overlap;
use super::recorded::RecordedSteps;
use super::routes::Routes;
use crate::course::{Change, Course, Source};
use crate::error::Error;
use crate::optimizer::Optimizer;
use crate::param::{Member, Param, ParamGroup};
use crate::plan::{StateLayout, Tensor};

/// A change that is made, but not taken yet.
pub(super) struct Changed {
    pub state: DeviceState,
    recorded: RecordedSteps,
    moves: Moves,
    clock_steps: ClockSteps,
    bound: Vec<Bound>,
    tensors: Vec<Tensor>,
    generation: u32,
    /// The number that each parameter had before.
    sources: Vec<Option<usize>>,
}

impl Gpu {
    /// Everything of a change to other parameters, groups or clocks that can fail. `bound` has the places of all parameters.
    pub(super) fn make_change(
        &mut self,
        before: &Course,
        after: &Course,
        change: &Change,
        bound: Vec<Bound>,
    ) -> Result<Changed, Error> {
        self.memory.check_alive()?;
        let tensors: Vec<_> =
            after.members.iter().zip(&bound).map(|(member, bound)| tensor(after, member, bound)).collect();
        let (placements, _) = number_buffers(&bound, |_| true);
        let stays = change
            .members
            .iter()
            .zip(&after.members)
            .map(|(source, member)| source.filter(|&number| before.members[number].planes == member.planes));
        let stays: Vec<_> = stays.collect();
        let (layout, kept) = self.state.layout.changed(&stays, &tensors, &placements, &self.limits)?;
        let pages = self.pages_after(&layout, &kept)?;
        let clocks = self.clocks_after(after, change)?;
        let groups = if before.groups == after.groups {
            self.state.groups.clone()
        } else {
            constants(&self.memory, &self.limits, &after.groups)?
        };
        let (progress, scaler) = (self.state.progress.clone(), self.state.scaler.clone());
        let state = DeviceState { layout, pages, groups, progress, clocks, scaler };

        let mut routes = Routes::new(&self.state, &before.members);
        routes.add_clocks(&state.clocks, change);
        routes.add_planes(&state, kept.len(), &after.members, &change.members);
        let routes = routes.finish();
        let generation = self.generation.saturating_add(u32::from(!routes.is_empty()));
        let (memory, limits) = (&self.memory, &self.limits);
        let moves = self.moves.with(memory, limits, &mut self.kernels, &state.progress, generation, routes)?;
        let recorded = RecordedSteps::new(memory, &self.kernels, &state, after.clocks.len(), limits.alignment, None)?;

        let known = |source: &Option<Source>| source.map_or(0, |source| self.clock_steps.of(source.clock));
        let clock_steps = change.clocks.iter().map(known).collect();
        let sources = change.members.clone();
        Ok(Changed { state, recorded, moves, clock_steps, bound, tensors, generation, sources })
    }

    /// The places of all parameters after a change that has no new ones.
    pub(super) fn bound_after(&self, change: &Change) -> Vec<Bound> {
        change.members.iter().filter_map(|source| Some(self.bound[(*source)?].clone())).collect()
    }

    /// Takes a change. The state moves with the next step that runs.
    pub(super) fn take_change(&mut self, changed: Changed) {
        let Changed { state, recorded, moves, clock_steps, bound, tensors, generation, sources } = changed;
        self.clock_steps = Arc::new(clock_steps);
        self.generation = self.adoption.change(&sources, &tensors, generation);
        (self.state, self.recorded, self.moves) = (state, recorded, moves);
        (self.bound, self.tensors) = (bound, tensors);
        self.plan = None;
        self.moved = true;
    }

    /// The buffers of a layout whose first pages are these of the one before.
    fn pages_after(&self, layout: &StateLayout, kept: &[usize]) -> Result<Vec<PageBuffers>, Error> {
        let known = kept.iter().map(|&page| Ok(self.state.pages[page].clone()));
        let new = layout.pages[kept.len()..].iter().map(|page| PageBuffers::new(&self.memory, page));
        known.chain(new).collect()
    }

    /// The buffers of the clocks: others, unless each clock is the one of its number before, with all its gains.
    fn clocks_after(&self, after: &Course, change: &Change) -> Result<ClockBuffers, Error> {
        let same = self
            .state
            .clocks
            .orders
            .iter()
            .enumerate()
            .map(|(clock, &gains)| Some(Source { clock, gains, averages: true }));
        if after.orders().eq(self.state.clocks.orders.iter().copied()) && change.clocks.iter().copied().eq(same) {
            return Ok(self.state.clocks.clone());
        }
        ClockBuffers::new(&self.memory, &self.limits, after.orders())
    }
}

impl Optimizer<Gpu> {
    /// Adds a group of parameters, and gives its number. They start as those of a new optimizer: their state is 0, and they
    /// count their own steps from 1. The others keep every bit. `bindings` says where the new ones lie; it may rebind others as
    /// well.
    ///
    /// New state takes new memory. State that lies in small buffers moves together with it, at the next step that runs or the
    /// next readback. The memory from before is freed once that is known: after a [report](Self::read_report), or by itself
    /// after a [`step`](Self::step). Steps recorded before keep what they use.
    ///
    /// ```
    /// # use miadam::{Binding, Hyperparams, MiAdam, Param, ParamGroup};
    /// # fn main() -> Result<(), miadam::Error> {
    /// # let Some(gpu) = miadam_support::gpu::Gpu::for_test(Default::default()) else { return Ok(()) };
    /// # let (device, queue) = (&gpu.device, &gpu.queue);
    /// # let buffer = || device.create_buffer(&wgpu::BufferDescriptor {
    /// #     label: None, size: 4000, usage: wgpu::BufferUsages::STORAGE, mapped_at_creation: false
    /// # });
    /// # let [body, body_grad, head, head_grad] = [0; 4].map(|_| buffer());
    /// # let group = ParamGroup::new(Hyperparams::default(), [Param::new("body", 1000)]);
    /// # let mut optimizer = MiAdam::new(device, queue, [group], [Binding::new("body", &body, &body_grad)])?;
    /// // Fine-tuning: the body rests, a new head is trained.
    /// optimizer.freeze(["body"])?;
    /// let group = ParamGroup::new(Hyperparams { lr: 3e-3, ..Hyperparams::default() }, [Param::new("head", 1000)]);
    /// let number = optimizer.add_group(group, [Binding::new("head", &head, &head_grad)])?;
    /// assert_eq!(number, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`new`](Self::new), and if the optimizer has a parameter of such a name. Nothing is changed then.
    /// [`Error::AveragesIn`] while averages are in the parameters' place.
    pub fn add_group<'a>(
        &mut self,
        group: ParamGroup,
        bindings: impl IntoIterator<Item = Binding<'a>>,
    ) -> Result<usize, Error> {
        let (course, change) = self.course.with_group(group)?;
        self.add(course, &change, bindings)?;
        Ok(self.course.groups.len() - 1)
    }

    /// Adds parameters to a group, as [`add_group`](Self::add_group) adds a group of them.
    ///
    /// # Errors
    /// As for [`add_group`](Self::add_group), and if there is no such group.
    pub fn add_params<'a>(
        &mut self,
        group: usize,
        params: impl IntoIterator<Item = Param>,
        bindings: impl IntoIterator<Item = Binding<'a>>,
    ) -> Result<(), Error> {
        let (course, change) = self.course.with_params(group, params.into_iter().collect(), None)?;
        self.add(course, &change, bindings)
    }

    fn add<'a>(
        &mut self,
        course: Course,
        change: &Change,
        bindings: impl IntoIterator<Item = Binding<'a>>,
    ) -> Result<(), Error> {
        let bound = self.bound_with(&course, change, bindings)?;
        let changed = self.device.make_change(&self.course, &course, change, bound)?;
        self.device.take_change(changed);
        self.course.replace(course);
        Ok(())
    }

    /// The places of all parameters of a course that has new ones.
    pub(super) fn bound_with<'a>(
        &self,
        course: &Course,
        change: &Change,
        bindings: impl IntoIterator<Item = Binding<'a>>,
    ) -> Result<Vec<Bound>, Error> {
        self.course.check_averages_out()?;
        let bindings = course.sort_bindings(bindings, |binding| binding.name)?;
        let places = bindings.into_iter().zip(&course.members).zip(&change.members);
        let bound = places.map(|((binding, Member { param, .. }), source)| match (binding, source) {
            (Some(binding), _) => Bound::new(param, binding),
            (None, Some(number)) => Ok(self.device.bound[*number].clone()),
            (None, None) => Err(Error::UnboundParam { name: param.name.clone() }),
        });
        let bound: Vec<_> = bound.collect::<Result<_, _>>()?;
        let members = course.members.iter().zip(&bound).filter(|(member, _)| member.takes_part());
        check_overlap(members.map(|(member, bound)| (&member.param, bound)), &self.device.others.grads)?;
        Ok(bound)
    }
}
