//! The state of the CPU optimizer after parameters have come, gone or changed their planes.

use super::optimizer::{Banks, Cpu, zeros};
use super::slabs::{Slab, pieces_of, slabs};
use crate::abi::Group;
use crate::clock::Clock;
use crate::course::{Change, Course, Source};
use crate::error::Error;
use crate::param::Member;
use crate::planes::Bank;

impl Cpu {
    /// Everything of a change that can fail, and the change itself.
    pub(super) fn take_change(&mut self, before: &Course, after: &Course, change: &Change) -> Result<(), Error> {
        if let Some((slabs, banks)) = self.moved_banks(before, after, change)? {
            self.slabs = slabs;
            [self.moments, self.integrals] = banks;
        }
        let clock = |(source, order): (&Option<Source>, usize)| match source {
            Some(source) => self.clocks[source.clock].going_on(source.gains, source.averages, order),
            None => Clock::new(order),
        };
        self.clocks = change.clocks.iter().zip(after.orders()).map(clock).collect();
        let is_adopted = |(source, member): (&Option<usize>, &Member)| {
            let keeps_copy = |number: &usize| before.members[*number].planes.master >= member.planes.master;
            source.filter(keeps_copy).is_some_and(|number| self.adopted[number])
        };
        self.adopted = change.members.iter().zip(&after.members).map(is_adopted).collect();
        self.constants = after.groups.iter().map(Group::new).collect();
        Ok(())
    }

    /// The state of all parameters in new memory, or none if it can stay where it is.
    fn moved_banks(
        &self,
        before: &Course,
        after: &Course,
        change: &Change,
    ) -> Result<Option<(Vec<Slab>, Banks)>, Error> {
        let stays = |(number, member): (usize, &Member)| {
            change.members[number] == Some(number) && before.members[number].planes == member.planes
        };
        if before.members.len() == after.members.len() && after.members.iter().enumerate().all(stays) {
            return Ok(None);
        }
        let mut moved = [zeros(&after.members, Bank::Moments)?, zeros(&after.members, Bank::Integrals)?];
        let banks = [&self.moments, &self.integrals];
        let slabs = slabs(&after.members);
        for (number, (member, source)) in after.members.iter().zip(&change.members).enumerate() {
            let Some(source) = *source else { continue };
            let old_planes = before.members[source].planes;
            let old_pieces = pieces_of(&self.slabs, &before.members, source);
            for (old, new) in old_pieces.zip(pieces_of(&slabs, &after.members, number)) {
                for plane in member.planes.iter().filter(|plane| old_planes.has(*plane)) {
                    let bank = plane.bank() as usize;
                    let values = &banks[bank][old.words(old_planes, plane)];
                    moved[bank][new.words(member.planes, plane)].copy_from_slice(values);
                }
            }
        }
        Ok(Some((slabs, moved)))
    }
}
