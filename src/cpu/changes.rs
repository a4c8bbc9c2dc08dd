//! The state of the CPU optimizer after parameters have come, gone or changed their planes.

use super::chunk::CHUNK;
use super::optimizer::{Cpu, zeros};
use crate::abi::Group;
use crate::clock::Clock;
use crate::course::{Change, Course, Source};
use crate::error::Error;
use crate::param::Member;
use crate::planes::{Bank, Planes};

impl Cpu {
    /// Everything of a change that can fail, and the change itself.
    pub(super) fn take_change(&mut self, before: &Course, after: &Course, change: &Change) -> Result<(), Error> {
        if let Some(banks) = self.moved_banks(before, after, change)? {
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
    fn moved_banks(&self, before: &Course, after: &Course, change: &Change) -> Result<Option<[Vec<f32>; 2]>, Error> {
        let stays = |(number, member): (usize, &Member)| {
            change.members[number] == Some(number) && before.members[number].planes == member.planes
        };
        if before.members.len() == after.members.len() && after.members.iter().enumerate().all(stays) {
            return Ok(None);
        }
        let mut moved = [zeros(&after.members, Bank::Moments)?, zeros(&after.members, Bank::Integrals)?];
        for bank in Bank::ALL {
            let old_starts = starts(&before.members, bank);
            let new_starts = starts(&after.members, bank);
            let old_bank = [&self.moments, &self.integrals][bank as usize];
            let new_bank = &mut moved[bank as usize];
            for ((member, source), start) in after.members.iter().zip(&change.members).zip(new_starts) {
                let Some(number) = *source else { continue };
                let old = &old_bank[old_starts[number]..];
                copy_planes(
                    bank,
                    member.param.len,
                    (before.members[number].planes, old),
                    (member.planes, &mut new_bank[start..]),
                );
            }
        }
        Ok(Some(moved))
    }
}

/// Where each parameter's planes begin in a bank.
pub(super) fn starts(members: &[Member], bank: Bank) -> Vec<usize> {
    let mut end = 0;
    let start = |member: &Member| {
        let start = end;
        end += member.planes.bank_words(bank, member.param.len);
        start
    };
    members.iter().map(start).collect()
}

/// Copies the planes of one parameter that are in both lists, which have the same precision.
fn copy_planes(bank: Bank, len: usize, (old_list, old): (Planes, &[f32]), (list, new): (Planes, &mut [f32])) {
    for start in (0..len).step_by(CHUNK) {
        let chunk = CHUNK.min(len - start);
        for plane in list.within(bank).filter(|plane| old_list.has(*plane)) {
            let at = |list: Planes| list.bank_words(bank, start) + list.words_before(plane, chunk);
            let (from, to, words) = (at(old_list), at(list), list.words(plane, chunk));
            new[to..to + words].copy_from_slice(&old[from..from + words]);
        }
    }
}
