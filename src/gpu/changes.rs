//! Parameters, groups and clocks that change, on the GPU.

use std::sync::Arc;

use super::binding::Bound;
use super::device::{Gpu, tensor};
use super::device_state::{ClockBuffers, DeviceState, constants};
use super::moves::Route;
use super::recorded::RecordedSteps;
use crate::abi::{Move, QUAD};
use crate::course::{Change, Course};
use crate::error::Error;

impl Gpu {
    /// Goes on with other parameters, groups or clocks. `bound` has the places of all parameters. The state moves with the next
    /// step that runs. On an error nothing has changed.
    pub(super) fn take_change(
        &mut self,
        before: &Course,
        after: &Course,
        change: &Change,
        bound: Vec<Bound>,
    ) -> Result<(), Error> {
        self.memory.check_alive()?;
        let tensors: Vec<_> =
            after.members.iter().zip(&bound).map(|(member, bound)| tensor(after, member, bound)).collect();
        let generation = self.generation.saturating_add(1);

        let clocks = ClockBuffers::new(&self.memory, &self.limits, after.clocks.len())?;
        let mut routes = vec![self.move_clocks(&clocks, change)];
        let (layout, pages) = (self.state.layout.clone(), self.state.pages.clone());
        let groups = if before.groups == after.groups {
            self.state.groups.clone()
        } else {
            constants(&self.memory, &self.limits, &after.groups)?
        };
        routes.retain(|route| !route.list.is_empty());
        let (memory, limits, progress) = (&self.memory, &self.limits, self.state.progress.clone());
        let moves = self.moves.with(memory, limits, &mut self.kernels, &progress, generation, routes)?;
        let state = DeviceState { layout, pages, groups, progress, clocks, scaler: self.state.scaler.clone() };
        let recorded = RecordedSteps::new(memory, &self.kernels, &state, after.clocks.len(), limits.alignment, None)?;

        let known = |source: &Option<usize>| source.map_or(0, |number| self.clock_steps.of(number));
        self.clock_steps = Arc::new(change.clocks.iter().map(known).collect());
        self.adoption.change(&change.members, &tensors, generation);
        (self.state, self.recorded, self.moves) = (state, recorded, moves);
        (self.bound, self.tensors) = (bound, tensors);
        self.generation = generation;
        self.plan = None;
        self.moved = true;
        Ok(())
    }

    /// The way of the clocks' counts.
    fn move_clocks(&self, clocks: &ClockBuffers, change: &Change) -> Route {
        let quads = (clocks.words as u64 / QUAD) as u32;
        let sources = (0..).zip(&change.clocks).filter_map(|(after, before)| Some((after, (*before)? as u32)));
        let list = sources.map(|(after, before)| Move { before: quads * before, after: quads * after, len: quads });
        Route { before: self.state.clocks.counts.clone(), after: clocks.counts.clone(), list: list.collect() }
    }
}
