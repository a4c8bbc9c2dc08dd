//! The half of an optimizer that does not depend on its device: groups, parameters, options, recorded steps.

use std::collections::HashMap;

use crate::error::Error;
use crate::options::{GradOptions, Hyperparams};
use crate::param::{Member, ParamGroup, check_groups};
use crate::state::{Checkpoint, Fit, Header, HeaderGroup, VERSION};

/// The part that the GPU and the CPU optimizer have in common.
#[derive(Debug, Clone)]
pub struct Course {
    /// The hyperparameters of each group.
    pub(crate) groups: Vec<Hyperparams>,
    /// The parameters, in the order of the groups.
    pub(crate) members: Vec<Member>,
    /// The number of each parameter in `members`, by its name.
    numbers: HashMap<String, usize>,
    pub(crate) grad_options: GradOptions,
    /// Steps recorded, by which schedules go.
    pub(crate) recorded: u32,
    /// Each group's learning rate at the last of them.
    pub(crate) lrs: Vec<f64>,
    /// Whether that step measures its gradients.
    pub(crate) measured: bool,
}

impl Course {
    pub(crate) fn new(groups: impl IntoIterator<Item = ParamGroup>) -> Result<Self, Error> {
        let (groups, members) = check_groups(groups.into_iter().collect())?;
        Ok(Self {
            lrs: groups.iter().map(|group| group.lr_at(0)).collect(),
            numbers: (0..).zip(&members).map(|(number, member)| (member.param.name.clone(), number)).collect(),
            groups,
            members,
            grad_options: GradOptions::default(),
            recorded: 0,
            measured: false,
        })
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

    /// [`sort_bindings`](Self::sort_bindings) where every parameter must have a binding.
    pub(crate) fn sort_all_bindings<T>(
        &self,
        bindings: impl IntoIterator<Item = T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<Vec<T>, Error> {
        let mut bindings = bindings.into_iter();
        let mut sorted = Vec::with_capacity(self.members.len());
        // In the order of the groups there is nothing to look up or to move.
        let out_of_order = bindings.find_map(|binding| {
            let is_next = self.members.get(sorted.len()).is_some_and(|member| member.param.name == name(&binding));
            if is_next {
                sorted.push(binding);
            } else {
                return Some(binding);
            }
            None
        });
        let unbound = |member: &Member| Error::UnboundParam { name: member.param.name.clone() };
        if let Some(binding) = out_of_order {
            let all = self.sort_bindings(sorted.into_iter().chain([binding]).chain(bindings), name)?;
            return all
                .into_iter()
                .zip(&self.members)
                .map(|(found, member)| found.ok_or_else(|| unbound(member)))
                .collect();
        }
        match self.members.get(sorted.len()) {
            Some(missing) => Err(unbound(missing)),
            None => Ok(sorted),
        }
    }

    /// Counts a step as recorded, and logs the switch of a group to plain Adam.
    pub(crate) fn record(&mut self) {
        let recorded = self.recorded;
        for (lr, group) in self.lrs.iter_mut().zip(&self.groups) {
            *lr = group.lr_at(recorded);
        }
        self.recorded = recorded.saturating_add(1);
        self.measured = self.grad_options.measures();
        for (number, group) in self.groups.iter().enumerate() {
            if group.integrates() && self.recorded == group.switch_step {
                let later = if self.grad_options.skips() { ", later by as many steps as are skipped" } else { "" };
                log::info!("group {number}: plain Adam from step {} on{later}", self.recorded);
            }
        }
    }

    pub(crate) fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let groups = self.groups.len();
        let target = self.groups.get_mut(group).ok_or(Error::UnknownGroup { group, groups })?;
        *target = target.with_lr(group, lr)?;
        Ok(())
    }

    /// The loss scale to start from when these options replace the present ones, if it starts anew.
    pub(crate) fn fresh_scale(&self, options: &GradOptions) -> Option<f32> {
        match (&self.grad_options.scaler, &options.scaler) {
            (None, Some(scaler)) => Some(scaler.init_scale as f32),
            (Some(_), None) => Some(1.0),
            _ => None,
        }
    }

    /// Checks that no group needs its integrals any more, once `known_step` steps are known to be taken.
    pub(crate) fn check_releasable(&self, known_step: u32) -> Result<(), Error> {
        let used = self.members.iter().filter(|member| member.planes.integrals > 0);
        if let Some(last) = used.max_by_key(|member| self.group_of(member).switch_step)
            && known_step < self.group_of(last).last_integrating()
        {
            let group = self.group_of(last);
            if group.switch_step == Hyperparams::NEVER {
                return Err(Error::IntegralsAlwaysUsed { group: last.group });
            }
            let (switch_step, needed) = (group.switch_step, group.last_integrating());
            return Err(Error::IntegralsInUse { group: last.group, switch_step, known_step, needed });
        }
        Ok(())
    }

    /// Takes note that the integrals are gone.
    pub(crate) fn release_integrals(&mut self) {
        self.members.iter_mut().for_each(|member| member.planes = member.planes.without_integrals());
    }

    /// For a report: each group's learning rate at the last recorded step, and its last step that integrates.
    pub(crate) fn reported_groups(&self) -> impl Iterator<Item = (f64, u32)> {
        self.lrs.iter().zip(&self.groups).map(|(&lr, group)| (lr, group.last_integrating()))
    }

    /// The header of a checkpoint, without what the device counts.
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
            user_data: Default::default(),
        }
    }

    /// The parts of a checkpoint that this optimizer takes. Anything that does not fit is an error, or listed if `lenient`.
    pub(crate) fn fit<'a>(&self, checkpoint: &'a Checkpoint, lenient: bool) -> Result<Fit<'a>, Error> {
        Fit::new(checkpoint, &self.groups, &self.members, lenient)
    }

    /// Goes on with the settings and counts of a checkpoint.
    pub(crate) fn restore(&mut self, hyperparams: Vec<Hyperparams>, header: &Header) {
        for (number, (own, loaded)) in self.groups.iter().zip(&hyperparams).enumerate() {
            // What is as it was has been reported.
            if own != loaded {
                loaded.report(number);
            }
        }
        self.groups = hyperparams;
        for member in &mut self.members {
            member.set_stream(&self.groups[member.group]);
        }
        self.grad_options = header.gradients;
        self.recorded = header.recorded;
        self.measured = header.grad_norm_bits.is_some();
        for (lr, group) in self.lrs.iter_mut().zip(&self.groups) {
            *lr = group.lr_at(self.recorded.saturating_sub(1));
        }
    }
}
