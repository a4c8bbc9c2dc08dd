//! The CPU optimizer's state and numbers: out to the caller, and back from a checkpoint.

use super::optimizer::{Banks, Cpu, bank_len, zeros};
use super::slabs::{pieces, slabs};
use crate::abi::{Group, Scaler};
use crate::course::resumed::Resumed;
use crate::course::{Change, Course};
use crate::error::Error;
use crate::math::packed::{pack, unpack};
use crate::optimizer::{Optimizer, backend::Backend};
use crate::param::Member;
use crate::planes::Bank;
use crate::state::{Checkpoint, ParamState, Report, State};

impl Optimizer<Cpu> {
    /// The numbers that a training loop logs. `loss_scale` is the factor for the next loss. The norm is `None` unless steps
    /// measure it: set [`measure_norm`](crate::GradOptions::measure_norm).
    #[must_use]
    pub fn read_report(&self) -> Report {
        let Self { course, device } = self;
        let clocks: Vec<_> = device.clocks.iter().map(|clock| clock.step).collect();
        Report::new(&device.progress, &device.scaler, course.measured, &clocks, course.reported_groups())
    }

    /// A copy of the step counter and every parameter's state.
    #[must_use]
    pub fn read_state(&self) -> State {
        State { step: self.device.progress.step, params: self.device.states(&self.course.members) }
    }

    /// A copy of everything that the optimizer remembers. Parameters are the caller's:
    /// [`insert_param`](Checkpoint::insert_param) adds them.
    #[must_use]
    pub fn read_checkpoint(&self) -> Checkpoint {
        let Self { course, device } = self;
        let mut header = course.header();
        header.set_counts(&device.progress, &device.scaler, course.measured);
        Checkpoint::new(header, device.states(&course.members))
    }
}

impl Cpu {
    fn states(&self, members: &[Member]) -> Vec<ParamState> {
        let banks = [&self.moments, &self.integrals];
        let zeros = |member: &Member| {
            ParamState::zeros(&member.param.name, member.param.len, member.planes, &self.clocks[member.clock])
        };
        let mut states: Vec<_> = members.iter().map(zeros).collect();
        for piece in pieces(&self.slabs, members) {
            let planes = members[piece.number].planes;
            for (plane, values) in states[piece.number].planes_mut() {
                let source = &banks[plane.bank() as usize][piece.words(planes, plane)];
                let values = &mut values[piece.within.clone()];
                unpack(planes.precision_of(plane), plane.is_signed(), source, values);
            }
        }
        states
    }

    /// Memory for the planes of these members, all of which is to be filled: the present one, or new memory beside it.
    fn room_for(&mut self, members: &[Member]) -> Result<Banks, Error> {
        let lens = Bank::ALL.map(|bank| bank_len(members, bank));
        if lens == [self.moments.len(), self.integrals.len()].map(|len| len as u128) {
            return Ok([&mut self.moments, &mut self.integrals].map(std::mem::take));
        }
        Ok([zeros(members, Bank::Moments)?, zeros(members, Bank::Integrals)?])
    }

    /// Puts the planes of all parameters where they belong; 0 where there are none.
    fn fill(&mut self, members: &[Member], states: &[Option<&ParamState>]) {
        self.slabs = slabs(members);
        let banks = [&mut self.moments, &mut self.integrals];
        for piece in pieces(&self.slabs, members) {
            let planes = members[piece.number].planes;
            for plane in planes.iter() {
                let target = &mut banks[plane.bank() as usize][piece.words(planes, plane)];
                match states[piece.number].and_then(|state| state.source(plane)) {
                    Some(values) => {
                        pack(planes.precision_of(plane), plane.is_signed(), &values[piece.within.clone()], target);
                    }
                    None => target.fill(0.0),
                }
            }
        }
    }
}

impl Backend for Cpu {
    fn known_step(&self) -> u32 {
        self.progress.step
    }

    fn known_skipped(&self) -> u32 {
        self.progress.skipped
    }

    fn set_scale(&mut self, scale: f32) -> Result<(), Error> {
        self.scaler = Scaler::starting_at(scale);
        Ok(())
    }

    fn known_clock(&self, clock: usize) -> u32 {
        self.clocks[clock].step
    }

    fn resume(&mut self, resumed: &Resumed<'_>) -> Result<(), Error> {
        let Resumed { course, clocks, states, progress, scaler, .. } = resumed;
        // All that can fail.
        [self.moments, self.integrals] = self.room_for(&course.members)?;
        self.fill(&course.members, states);
        self.clocks.clone_from(clocks);
        self.constants = course.groups.iter().map(Group::new).collect();
        (self.progress, self.scaler) = (*progress, *scaler);
        self.adopted.fill(false);
        Ok(())
    }

    fn release_integrals(&mut self) -> Result<u64, Error> {
        Ok(size_of_val(&std::mem::take(&mut self.integrals)[..]) as u64)
    }

    fn params_written(&mut self) {
        self.adopted.fill(false);
    }

    fn change(&mut self, before: &Course, after: &Course, change: &Change) -> Result<(), Error> {
        self.take_change(before, after, change)
    }

    fn parts_changed(&mut self, _: &Course) {}

    fn course_changed(&mut self, _: &Course) {}

    fn state_bytes(&self) -> u64 {
        (size_of_val(&self.moments[..]) + size_of_val(&self.integrals[..])) as u64
    }
}
