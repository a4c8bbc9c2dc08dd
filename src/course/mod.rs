//! The half of an optimizer that does not depend on its device: groups, parameters, options, recorded steps.

mod changes;
mod clocks;
pub(crate) mod resumed;

use std::collections::HashMap;

use clocks::CourseClock;
pub(crate) use clocks::{Change, Source};

use crate::abi::Tick;
use crate::error::Error;
use crate::options::{GradOptions, Hyperparams};
use crate::param::{Member, ParamGroup, check_groups};
use crate::state::{Header, HeaderGroup, VERSION};

/// The part that the GPU and the CPU optimizer have in common.
#[derive(Debug, Clone)]
pub struct Course {
    /// The hyperparameters of each group.
    pub(crate) groups: Vec<Hyperparams>,
    /// The parameters, in the order of the groups.
    pub(crate) members: Vec<Member>,
    /// The clocks, each of which has at least one parameter.
    pub(crate) clocks: Vec<CourseClock>,
    /// Whether nobody has asked since the last step to leave a parameter out, or to take it in again.
    is_settled: bool,
    /// The number of each parameter in `members`, by its name.
    numbers: HashMap<String, usize>,
    pub(crate) grad_options: GradOptions,
    /// Whether all steps take the verdict on the gradients from another optimizer.
    pub(crate) follows: bool,
    /// Whether the last step did so, here or before the checkpoint that was loaded.
    pub(crate) followed: bool,
    /// Steps recorded, by which schedules go.
    pub(crate) recorded: u32,
    /// Each group's learning rate at the last of them.
    pub(crate) lrs: Vec<f64>,
    /// Whether that step measures its gradients.
    pub(crate) measured: bool,
    /// Whether averages are in the parameters' place.
    pub(crate) averages_in: bool,
}

impl Course {
    pub(crate) fn new(groups: impl IntoIterator<Item = ParamGroup>) -> Result<Self, Error> {
        let (groups, members) = check_groups(groups.into_iter().collect())?;
        Ok(Self {
            lrs: groups.iter().map(|group| group.lr_at(0)).collect(),
            numbers: (0..).zip(&members).map(|(number, member)| (member.param.name.clone(), number)).collect(),
            clocks: (0..groups.len()).map(|group| CourseClock { group, rests: false }).collect(),
            is_settled: true,
            groups,
            members,
            grad_options: GradOptions::default(),
            follows: false,
            followed: false,
            recorded: 0,
            measured: false,
            averages_in: false,
        })
    }

    /// Refuses what averages in the parameters' place do not allow.
    pub(crate) fn check_averages_out(&self) -> Result<(), Error> {
        if self.averages_in { Err(Error::AveragesIn) } else { Ok(()) }
    }

    /// The hyperparameters of a parameter.
    pub(crate) fn group_of(&self, member: &Member) -> &Hyperparams {
        &self.groups[member.group]
    }

    /// Each binding at the number of its parameter. The order of the groups is the fastest.
    pub(crate) fn sort_bindings<T>(
        &self,
        bindings: impl IntoIterator<Item = T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<Vec<Option<T>>, Error> {
        let mut sorted: Vec<_> = self.members.iter().map(|_| None).collect();
        for (position, binding) in bindings.into_iter().enumerate() {
            let name = name(&binding);
            let is_here = self.members.get(position).is_some_and(|member| member.param.name == name);
            let number = if is_here { Some(position) } else { self.numbers.get(name).copied() };
            let number = number.ok_or_else(|| Error::UnknownParam { name: name.to_owned() })?;
            if sorted[number].is_some() {
                return Err(Error::BoundTwice { name: name.to_owned() });
            }
            sorted[number] = Some(binding);
        }
        Ok(sorted)
    }

    /// [`sort_bindings`](Self::sort_bindings) where every parameter must have a binding, unless `may_lack` it.
    pub(crate) fn sort_all_bindings<T>(
        &self,
        bindings: impl IntoIterator<Item = T>,
        name: impl Fn(&T) -> &str,
        may_lack: impl Fn(&Member) -> bool,
    ) -> Result<Vec<Option<T>>, Error> {
        let mut bindings = bindings.into_iter();
        let mut sorted = Vec::with_capacity(self.members.len());
        // In the order of the groups there is nothing to look up or to move.
        let out_of_order = bindings.find_map(|binding| {
            let is_next = self.members.get(sorted.len()).is_some_and(|member| member.param.name == name(&binding));
            if is_next {
                sorted.push(Some(binding));
            } else {
                return Some(binding);
            }
            None
        });
        match out_of_order {
            // Every parameter has a binding.
            None if sorted.len() == self.members.len() => return Ok(sorted),
            None => sorted.resize_with(self.members.len(), || None),
            Some(binding) => {
                let before = sorted.into_iter().flatten();
                sorted = self.sort_bindings(before.chain([binding]).chain(bindings), name)?;
            }
        }
        match sorted.iter().zip(&self.members).find(|(found, member)| found.is_none() && !may_lack(member)) {
            Some((_, member)) => Err(Error::UnboundParam { name: member.param.name.clone() }),
            None => Ok(sorted),
        }
    }

    /// The numbers of the next step for each clock. The clocks are settled.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = Tick> {
        let rates = |(number, group): (usize, &Hyperparams)| Tick::new(number, group, group.lr_at(self.recorded));
        let groups: Vec<_> = self.groups.iter().enumerate().map(rates).collect();
        self.clocks.iter().map(move |clock| if clock.rests { Tick::resting() } else { groups[clock.group] })
    }

    /// Counts a step as recorded, and logs the switch of a group to plain Adam. Says whether parameters were left out of it
    /// that take part in the next.
    pub(crate) fn record(&mut self) -> bool {
        let recorded = self.recorded;
        for (lr, group) in self.lrs.iter_mut().zip(&self.groups) {
            *lr = group.lr_at(recorded);
        }
        self.recorded = recorded.saturating_add(1);
        self.measured = self.grad_options.measures() || self.follows;
        self.followed = self.follows;
        for (number, group) in self.groups.iter().enumerate() {
            if group.integrates() && self.recorded == group.switch_step {
                let later = if self.grad_options.skips() || self.follows {
                    ", later by as many steps as are skipped"
                } else {
                    ""
                };
                log::info!("group {number}: plain Adam from step {} on{later}", self.recorded);
            }
        }
        self.end_skips()
    }

    /// Lets those take part again that were to be left out of one step. Says whether there are any.
    fn end_skips(&mut self) -> bool {
        let mut are_any = false;
        if !self.is_settled {
            for member in &mut self.members {
                are_any |= std::mem::take(&mut member.is_skipped);
            }
        }
        self.is_settled = !are_any;
        are_any
    }

    pub(crate) fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let groups = self.groups.len();
        let target = self.groups.get_mut(group).ok_or(Error::UnknownGroup { group, groups })?;
        *target = target.with_lr(group, lr)?;
        Ok(())
    }

    /// Checks that options are not a leader's, if the steps follow one.
    pub(crate) fn check_options(&self, options: &GradOptions) -> Result<(), Error> {
        if self.follows { options.check_follower() } else { Ok(()) }
    }

    /// The loss scale to start from when these options replace the present ones, if it starts anew.
    pub(crate) fn fresh_scale(&self, options: &GradOptions) -> Option<f32> {
        match (&self.grad_options.scaler, &options.scaler) {
            (None, Some(scaler)) => Some(scaler.init_scale as f32),
            (Some(_), None) => Some(1.0),
            _ => None,
        }
    }

    /// Checks that no parameter needs its integrals any more. `known_step` gives the steps that a clock's are known to have
    /// taken.
    pub(crate) fn check_releasable(&self, known_step: impl Fn(usize) -> u32) -> Result<(), Error> {
        let missing = |member: &&Member| {
            let needed = if member.planes.integrals > 0 { self.group_of(member).last_integrating() } else { 0 };
            needed.saturating_sub(known_step(member.clock))
        };
        let Some(last) = self.members.iter().max_by_key(missing).filter(|last| missing(last) > 0) else {
            return Ok(());
        };
        let (group, &Hyperparams { switch_step, .. }) = (last.group, self.group_of(last));
        if switch_step == Hyperparams::NEVER {
            return Err(Error::IntegralsAlwaysUsed { group });
        }
        Err(Error::IntegralsInUse {
            name: last.param.name.clone(),
            group,
            switch_step,
            known_step: known_step(last.clock),
            needed: switch_step - 1,
        })
    }

    /// Takes note that the integrals are gone.
    pub(crate) fn release_integrals(&mut self) {
        self.members.iter_mut().for_each(|member| member.planes = member.planes.without_integrals());
    }

    /// The number of gains of each clock.
    pub(crate) fn orders(&self) -> impl Iterator<Item = usize> {
        self.clocks.iter().map(|clock| self.groups[clock.group].order as usize)
    }

    /// For a report: each group's learning rate at the last recorded step, its last step that integrates, and its clocks.
    pub(crate) fn reported_groups(&self) -> impl Iterator<Item = (f64, u32, Vec<usize>)> {
        let clocks = |group| (0..self.clocks.len()).filter(|&clock| self.clocks[clock].group == group).collect();
        let groups = self.lrs.iter().zip(&self.groups).enumerate();
        groups.map(move |(number, (&lr, group))| (lr, group.last_integrating(), clocks(number)))
    }

    /// The header of a checkpoint, without what the device counts, clocks included.
    pub(crate) fn header(&self) -> Header {
        let groups = self.groups.iter().enumerate().map(|(number, hyperparams)| {
            let own = self.members.iter().filter(|member| member.group == number);
            let params = own.map(|member| member.param.name.clone()).collect();
            HeaderGroup { params, hyperparams: hyperparams.clone() }
        });
        Header {
            version: VERSION,
            step: 0,
            skipped: 0,
            recorded: self.recorded,
            grad_norm_bits: None,
            loss_scale: 1.0,
            good_steps: 0,
            gradients: self.grad_options,
            groups: groups.collect(),
            clocks: Vec::new(),
            frozen: self.members.iter().filter(|own| own.is_frozen).map(|own| own.param.name.clone()).collect(),
            averages_in: self.averages_in,
            follows: self.follows || self.followed,
            user_data: Default::default(),
        }
    }

    /// Takes a course in place of this one, and reports groups that are new or other than they were.
    pub(crate) fn replace(&mut self, course: Self) {
        for (number, group) in course.groups.iter().enumerate() {
            if self.groups.get(number) != Some(group) {
                group.report(number);
            }
        }
        *self = course;
    }
}
