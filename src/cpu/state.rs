//! The CPU optimizer's state and numbers: out to the caller, and back from a checkpoint.

use super::chunk::{CHUNK, split_off};
use super::optimizer::Cpu;
use crate::abi::{Group, Scaler};
use crate::clock::Clock;
use crate::course::{Change, Course};
use crate::error::Error;
use crate::optimizer::{Optimizer, backend::Backend};
use crate::param::Member;
use crate::state::{Checkpoint, Fit, Header, ParamState, Report, State};

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
        let mut banks = [&self.moments[..], &self.integrals[..]];
        let state = |member: &Member| {
            let mut state = ParamState::zeros(
                &member.param.name,
                member.param.len,
                member.planes,
                self.clocks[member.clock].clone(),
            );
            for start in (0..member.param.len).step_by(CHUNK) {
                let within = start..member.param.len.min(start + CHUNK);
                for (plane, values) in state.planes_mut() {
                    let bank = &mut banks[plane.bank() as usize];
                    let (source, rest) = bank.split_at(within.len());
                    values[within.clone()].copy_from_slice(source);
                    *bank = rest;
                }
            }
            state
        };
        members.iter().map(state).collect()
    }

    /// Puts the planes of all parameters where they belong; 0 where there are none.
    fn fill(&mut self, members: &[Member], states: &[Option<&ParamState>]) {
        let mut banks = [&mut self.moments[..], &mut self.integrals[..]];
        for (member, state) in members.iter().zip(states) {
            for start in (0..member.param.len).step_by(CHUNK) {
                let within = start..member.param.len.min(start + CHUNK);
                for plane in member.planes.iter() {
                    let target = split_off(&mut banks[plane.bank() as usize], within.len());
                    match state.and_then(|state| state.plane(plane)) {
                        Some(values) => target.copy_from_slice(&values[within.clone()]),
                        // Integrals that were released there are not needed here, either.
                        None => target.fill(0.0),
                    }
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

    fn restore(&mut self, course: &Course, fit: &Fit<'_>, clocks: &[Clock], header: &Header) -> Result<(), Error> {
        self.fill(&course.members, &fit.states);
        self.clocks = clocks.to_vec();
        self.constants = fit.hyperparams.iter().map(Group::new).collect();
        (self.progress, self.scaler) = header.counts();
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
