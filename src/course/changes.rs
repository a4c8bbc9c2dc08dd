//! Parameters that rest, come, go and move to other groups.

use std::collections::{HashMap, HashSet};

use super::Course;
use super::clocks::{Change, CourseClock, Source};
use crate::error::Error;
use crate::options::Hyperparams;
use crate::param::{Member, Param, ParamGroup, check_param};

impl Course {
    /// The numbers of the parameters of these names, each of which is named once.
    pub(crate) fn find(&self, names: impl IntoIterator<Item: AsRef<str>>) -> Result<Vec<usize>, Error> {
        let mut is_found = vec![false; self.members.len()];
        let mut find = |name: &str| {
            let number = self.numbers.get(name).copied();
            let number = number.ok_or_else(|| Error::UnknownParam { name: name.to_owned() })?;
            let is_second = std::mem::replace(&mut is_found[number], true);
            if is_second { Err(Error::NamedTwice { name: name.to_owned() }) } else { Ok(number) }
        };
        names.into_iter().map(|name| find(name.as_ref())).collect()
    }

    /// Lets something happen to each parameter of these names; to none if one of them is not there.
    pub(crate) fn each_named(
        &mut self,
        names: impl IntoIterator<Item: AsRef<str>>,
        change: impl Fn(&mut Member),
    ) -> Result<(), Error> {
        for number in self.find(names)? {
            change(&mut self.members[number]);
        }
        self.is_settled = false;
        Ok(())
    }

    /// The same for each parameter of a group.
    pub(crate) fn each_of_group(&mut self, group: usize, change: impl Fn(&mut Member)) -> Result<(), Error> {
        self.check_group(group)?;
        self.members.iter_mut().filter(|member| member.group == group).for_each(change);
        self.is_settled = false;
        Ok(())
    }

    /// Lets all parameters that are not frozen take part in the next step.
    pub(crate) fn skip_none(&mut self) {
        self.members.iter_mut().for_each(|member| member.is_skipped = false);
        self.is_settled = false;
    }

    pub(crate) fn check_group(&self, group: usize) -> Result<(), Error> {
        let groups = self.groups.len();
        if group < groups { Ok(()) } else { Err(Error::UnknownGroup { group, groups }) }
    }

    /// Before a step: finds out which clocks rest. Where only some parameters of a clock take part, it gives the course in
    /// which such clocks are split.
    pub(crate) fn settle(&mut self) -> Option<(Self, Change)> {
        if self.is_settled {
            return None;
        }
        let mut parts = vec![None; self.clocks.len()];
        let mut is_mixed = |member: &Member| {
            let before = parts[member.clock].replace(member.takes_part());
            before.is_some_and(|before| before != member.takes_part())
        };
        if !self.members.iter().any(&mut is_mixed) {
            for (clock, takes_part) in self.clocks.iter_mut().zip(parts) {
                clock.rests = takes_part == Some(false);
            }
            return None;
        }
        Some(self.with(self.groups.clone(), self.numbered().collect()))
    }

    /// The course with one more group.
    pub(crate) fn with_group(&self, group: ParamGroup) -> Result<(Self, Change), Error> {
        let ParamGroup { hyperparams, params } = group;
        let number = self.groups.len();
        hyperparams.validate(number)?;
        self.with_params(number, params, Some(hyperparams))
    }

    /// The course with more parameters in a group, which is a new one if it has hyperparameters here.
    pub(crate) fn with_params(
        &self,
        group: usize,
        params: Vec<Param>,
        new: Option<Hyperparams>,
    ) -> Result<(Self, Change), Error> {
        let groups = self.groups.iter().cloned().chain(new).collect::<Vec<_>>();
        let Some(hyperparams) = groups.get(group) else {
            return Err(Error::UnknownGroup { group, groups: groups.len() });
        };
        if params.is_empty() {
            return Err(Error::EmptyGroup { group });
        }
        let mut names = HashSet::new();
        for (index, param) in params.iter().enumerate() {
            check_param(hyperparams, group, index, param)?;
            if self.numbers.contains_key(&param.name) || !names.insert(&param.name) {
                return Err(Error::DuplicateName { name: param.name.clone() });
            }
        }
        let members =
            params.into_iter().map(|param| (Member::new(group, hyperparams, param), None)).collect::<Vec<_>>();
        Ok(self.with(groups, self.numbered().chain(members).collect()))
    }

    /// The course without these parameters. Their groups stay, so that the others keep their numbers.
    pub(crate) fn without_params(&self, names: impl IntoIterator<Item: AsRef<str>>) -> Result<(Self, Change), Error> {
        let gone: HashSet<_> = self.find(names)?.into_iter().collect();
        if gone.len() == self.members.len() {
            return Err(Error::LastParam);
        }
        let members = self.numbered().filter(|(_, number)| number.is_none_or(|number| !gone.contains(&number)));
        Ok(self.with(self.groups.clone(), members.collect()))
    }

    /// The course with these parameters in another group. `known_step` gives the steps that a clock's are known to have taken.
    pub(crate) fn with_moved(
        &self,
        names: impl IntoIterator<Item: AsRef<str>>,
        group: usize,
        known_step: impl Fn(usize) -> u32,
    ) -> Result<(Self, Change), Error> {
        self.check_group(group)?;
        let moved = self.find(names)?;
        let mut members: Vec<_> = self.numbered().collect();
        for (index, number) in moved.into_iter().enumerate() {
            let member = &mut members[number].0;
            check_param(&self.groups[group], group, index, &member.param)?;
            *member = member.in_group(group, &self.groups[group], known_step(member.clock))?;
        }
        Ok(self.with(self.groups.clone(), members))
    }

    /// The course with other hyperparameters of a group.
    pub(crate) fn with_hyperparams(
        &self,
        group: usize,
        hyperparams: Hyperparams,
        known_step: impl Fn(usize) -> u32,
    ) -> Result<(Self, Change), Error> {
        self.check_group(group)?;
        hyperparams.validate(group)?;
        let mut members: Vec<_> = self.numbered().collect();
        let own = members.iter_mut().map(|(member, _)| member).filter(|member| member.group == group);
        for (index, member) in own.enumerate() {
            check_param(&hyperparams, group, index, &member.param)?;
            *member = member.in_group(group, &hyperparams, known_step(member.clock))?;
        }
        let mut groups = self.groups.clone();
        groups[group] = hyperparams;
        Ok(self.with(groups, members))
    }

    /// The course with `count` rows of each of these parameters, which have `before` rows now. They keep their clocks; their
    /// state is to be gathered. It also gives the width of their rows.
    pub(crate) fn with_rows(
        &self,
        numbers: &[usize],
        before: usize,
        count: usize,
    ) -> Result<(Self, Change, Vec<usize>), Error> {
        let mut members: Vec<_> = self.numbered().collect();
        let mut widths = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let member = &mut members[number].0;
            let param = &member.param;
            let wrong = |reason| Error::Rows { name: param.name.clone(), reason };
            let Some(width) = param.len.checked_div(before).filter(|width| width * before == param.len && *width > 0)
            else {
                let len = param.len;
                return Err(wrong(format!(
                    "{before} rows do not divide its {len} elements; say how many rows it has now"
                )));
            };
            // The device counts elements in 32 bits.
            let len = count.checked_mul(width).filter(|len| u32::try_from(*len.max(&param.len)).is_ok());
            let len = len.ok_or_else(|| wrong(format!("{count} rows of {width} elements are more than 2^32 - 1")))?;
            *member = member.with_len(&self.groups[member.group], len);
            widths.push(width);
        }
        let (course, mut change) = self.with(self.groups.clone(), members);
        numbers.iter().for_each(|&number| change.members[number] = None);
        Ok((course, change, widths))
    }

    /// All parameters, each with its number.
    fn numbered(&self) -> impl Iterator<Item = (Member, Option<usize>)> {
        self.members.iter().cloned().enumerate().map(|(number, member)| (member, Some(number)))
    }

    /// The course with these groups and parameters, each beside the number that it had before. The clock of a parameter that
    /// goes on is found by its number here. Clocks are split by group and by who takes part in the next step.
    fn with(&self, groups: Vec<Hyperparams>, mut members: Vec<(Member, Option<usize>)>) -> (Self, Change) {
        members.sort_by_key(|(member, _)| member.group);
        let mut known = HashMap::new();
        let (mut clocks, mut sources) = (Vec::new(), Vec::new());
        for (member, before) in &mut members {
            let source = before.map(|number| {
                let before = &self.members[number];
                let gains = before.planes.integrals.min(member.planes.integrals) as usize;
                Source { clock: before.clock, gains, averages: before.planes.average || !member.planes.average }
            });
            member.clock = *known.entry((source, member.group, member.takes_part())).or_insert_with(|| {
                clocks.push(CourseClock { group: member.group, rests: !member.takes_part() });
                sources.push(source);
                clocks.len() - 1
            });
        }
        let (members, numbers): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let lr = |(number, group): (usize, &Hyperparams)| {
            self.lrs.get(number).copied().unwrap_or_else(|| group.lr_at(self.recorded.saturating_sub(1)))
        };
        let course = Self {
            lrs: groups.iter().enumerate().map(lr).collect(),
            numbers: (0..).zip(&members).map(|(number, member)| (member.param.name.clone(), number)).collect(),
            groups,
            members,
            clocks,
            is_settled: self.is_settled,
            ..*self
        };
        (course, Change { members: numbers, clocks: sources })
    }
}
