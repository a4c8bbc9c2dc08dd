//! The course that goes on from a checkpoint.

use std::collections::{HashMap, HashSet};

use super::Course;
use super::clocks::CourseClock;
use crate::abi::{Progress, Scaler};
use crate::clock::Clock;
use crate::error::Error;
use crate::options::LoadOptions;
use crate::param::Member;
use crate::state::{Checkpoint, Fit, FitParam, ParamState, Skipped};

/// What an optimizer becomes by a loading.
pub struct Resumed<'a> {
    pub course: Course,
    /// The counts of the course's clocks.
    pub clocks: Vec<Clock>,
    /// The state that each parameter goes on from; `None` starts from 0.
    pub states: Vec<Option<&'a ParamState>>,
    pub progress: Progress,
    pub scaler: Scaler,
    /// What a lenient loading has left out or started anew.
    pub skipped: Vec<Skipped>,
}

impl Course {
    /// What this becomes by the loading of a checkpoint.
    pub(crate) fn resumed<'a>(&self, checkpoint: &'a Checkpoint, options: &LoadOptions) -> Result<Resumed<'a>, Error> {
        if !options.own_grad_options {
            self.check_options(&checkpoint.header.gradients)?;
        }
        let Fit { hyperparams, params, skipped } = Fit::new(checkpoint, &self.groups, &self.members, options)?;
        let header = &checkpoint.header;
        if header.averages_in {
            params.iter().flatten().try_for_each(FitParam::check_averages_in)?;
        }
        let states = params.iter().map(|param| param.as_ref().map(|param| param.state)).collect();
        let mut course = Self { groups: hyperparams, ..self.clone() };
        let clocks = course.resume_members(params, &header.frozen.iter().collect());
        if !options.own_recorded {
            course.recorded = header.recorded;
        }
        course.averages_in = header.averages_in && course.members.iter().any(|member| member.planes.average);
        course.measured = header.grad_norm_bits.is_some();
        course.lrs = course.groups.iter().map(|group| group.lr_at(course.recorded.saturating_sub(1))).collect();
        let (progress, mut scaler) = header.counts();
        (course.grad_options, course.followed) = (header.gradients, header.follows);
        if options.own_grad_options {
            // As if they were set after the loading.
            if let Some(scale) = course.fresh_scale(&self.grad_options) {
                scaler = Scaler::starting_at(scale);
            }
            (course.grad_options, course.followed) = (self.grad_options, self.followed);
        }
        Ok(Resumed { course, clocks, states, progress, scaler, skipped })
    }

    /// Puts every parameter where it goes on from. Gives the counts of the clocks, which are new.
    fn resume_members(&mut self, params: Vec<Option<FitParam<'_>>>, frozen: &HashSet<&String>) -> Vec<Clock> {
        let mut known = HashMap::new();
        let (mut clocks, mut counts) = (Vec::new(), Vec::new());
        for (member, param) in self.members.iter_mut().zip(params) {
            let group = member.group;
            let before = std::mem::replace(member, Member::new(group, &self.groups[group], member.param.clone()));
            let count = match param {
                None => {
                    member.is_frozen = before.is_frozen;
                    Clock::new(self.groups[group].order as usize)
                }
                Some(FitParam { state, planes, clock }) => {
                    member.is_frozen = frozen.contains(&member.param.name);
                    member.planes = planes;
                    let kept = state.list().integrals.min(planes.integrals) as usize;
                    clock.going_on(kept, planes.average, self.groups[group].order as usize)
                }
            };
            // Those who share their counts may as well share their history.
            member.clock = *known.entry((group, count.clone())).or_insert_with(|| {
                clocks.push(CourseClock { group, rests: false });
                counts.push(count);
                clocks.len() - 1
            });
        }
        (self.clocks, self.is_settled) = (clocks, false);
        counts
    }
}
