//! Parameters that rest, come, go and move to other groups.

use std::collections::{HashMap, HashSet};

use super::Course;
use super::clocks::{Change, CourseClock};
use crate::error::Error;
use crate::options::Hyperparams;
use crate::param::Member;

impl Course {
    /// The numbers of the parameters of these names, each of which is named once.
    pub(crate) fn find(&self, names: impl IntoIterator<Item: AsRef<str>>) -> Result<Vec<usize>, Error> {
        let mut found = HashSet::new();
        let mut find = |name: &str| {
            let number = self.numbers.get(name).copied();
            let number = number.ok_or_else(|| Error::UnknownParam { name: name.to_owned() })?;
            if found.insert(number) { Ok(number) } else { Err(Error::NamedTwice { name: name.to_owned() }) }
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
        let members = self.members.iter().cloned().enumerate().map(|(number, member)| (member, Some(number)));
        Some(self.with(self.groups.clone(), members.collect()))
    }

    /// The course with these groups and parameters, each beside the number that it had before. The clock of a parameter that
    /// goes on is found by its number here. Clocks are split by group and by who takes part in the next step.
    fn with(&self, groups: Vec<Hyperparams>, mut members: Vec<(Member, Option<usize>)>) -> (Self, Change) {
        members.sort_by_key(|(member, _)| member.group);
        let mut known = HashMap::new();
        let (mut clocks, mut sources) = (Vec::new(), Vec::new());
        for (member, before) in &mut members {
            let source = before.map(|number| self.members[number].clock);
            member.clock = *known.entry((source, member.group, member.takes_part())).or_insert_with(|| {
                clocks.push(CourseClock { group: member.group, rests: !member.takes_part() });
                sources.push(source);
                clocks.len() - 1
            });
        }
        let (members, numbers): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let lr = |(number, group): (usize, &Hyperparams)| {
            let known = self.groups.get(number).is_some_and(|before| before == group);
            if known { self.lrs[number] } else { group.lr_at(self.recorded.saturating_sub(1)) }
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
