//! The CPU optimizer's state lies slab after slab in each bank, and plane after plane in a slab.
//!
//! A slab is a chunk of a large tensor, or several small tensors. With a slab for each of 10,000 tensors of 256 elements, planes were so
//! short that a processor did not foresee where the next one goes on: a step took 1.5 times what the same bytes take.
//!
//! 4096 elements in fewer bits are as short: a page or two of memory. So those planes, which come before the ones in `f32`, lie batch after
//! batch in a slab, and plane after plane in a batch of 128 elements. An update reads all of them in one stretch. As whole planes they made
//! a step at order 3 a third longer.

use std::ops::Range;

use crate::math::packed::BATCH;
use crate::options::StatePrecision;
use crate::param::Member;
use crate::planes::{Bank, Plane, Planes};

/// The most elements of a slab: so few that what they load stays in the cache nearest to a core.
pub(super) const MOST_ELEMENTS: usize = 4096;

/// The most parameters of a slab, so that one of them is found soon.
const MOST_MEMBERS: usize = 256;

/// A part of the state that one task updates.
#[derive(Debug, Clone)]
pub(super) struct Slab {
    /// Its parameters. If they are several, each is whole.
    pub members: Range<usize>,
    /// Its first element in its tensor, if it is of a single parameter.
    pub first: usize,
    /// Its elements, of all its parameters together.
    pub len: usize,
    /// Its first word in each bank.
    starts: [usize; 2],
}

/// Elements of a parameter in a slab, whose words are side by side in each plane: all of them, or those of a batch.
pub(super) struct Piece<'a> {
    slab: &'a Slab,
    /// The parameter.
    pub number: usize,
    /// The slab's elements before it.
    before: usize,
    /// Its elements in its tensor.
    pub within: Range<usize>,
}

/// All slabs, in the order of the parameters.
pub(super) fn slabs(members: &[Member]) -> Vec<Slab> {
    let mut slabs: Vec<Slab> = Vec::new();
    let mut ends = [0; 2];
    for (number, member) in members.iter().enumerate() {
        let len = member.param.len;
        let mut take_words = |len| {
            let starts = ends;
            for bank in Bank::ALL {
                ends[bank as usize] += member.planes.bank_words(bank, len);
            }
            starts
        };
        if let Some(open) = slabs.last_mut().filter(|slab| slab.has_room_for(members, number)) {
            take_words(len);
            open.members.end = number + 1;
            open.len += len;
            continue;
        }
        slabs.extend((0..len).step_by(MOST_ELEMENTS).map(|first| {
            let len = MOST_ELEMENTS.min(len - first);
            Slab { members: number..number + 1, first, len, starts: take_words(len) }
        }));
    }
    slabs
}

/// The pieces of all parameters, one parameter after the other.
pub(super) fn pieces<'a>(slabs: &'a [Slab], members: &'a [Member]) -> impl Iterator<Item = Piece<'a>> {
    slabs.iter().flat_map(|slab| slab.pieces(members))
}

/// The pieces of one parameter.
pub(super) fn pieces_of<'a>(
    slabs: &'a [Slab],
    members: &'a [Member],
    number: usize,
) -> impl Iterator<Item = Piece<'a>> {
    let first = slabs.partition_point(|slab| slab.members.end <= number);
    let own = slabs[first..].iter().take_while(move |slab| slab.members.start <= number);
    own.flat_map(|slab| slab.pieces(members)).filter(move |piece| piece.number == number)
}

impl Slab {
    fn has_room_for(&self, members: &[Member], number: usize) -> bool {
        let (planes, member) = (members[self.members.start].planes, &members[number]);
        // State in fewer bits has blocks, which begin with the tensor. The last chunk of a large tensor stays alone, and so does an
        // empty tensor after a full one.
        let is_whole = self.first == 0 && planes.precision == StatePrecision::F32;
        // An empty tensor with other planes may lie between.
        let is_next = self.members.end == number && planes == member.planes;
        let has_room = self.members.len() < MOST_MEMBERS && self.len + member.param.len.max(1) <= MOST_ELEMENTS;
        is_whole && is_next && has_room
    }

    /// Its words in a bank, if its parameters have these planes.
    pub fn bank_words(&self, planes: Planes, bank: Bank) -> usize {
        planes.bank_words(bank, self.len)
    }

    fn pieces<'a>(&'a self, members: &'a [Member]) -> impl Iterator<Item = Piece<'a>> {
        let mut before = 0;
        let whole = move |number: usize| {
            let len = self.len_of(&members[number]);
            before += len;
            Piece { slab: self, number, before: before - len, within: self.first..self.first + len }
        };
        self.members.clone().map(whole).flat_map(|piece| {
            let is_cut = members[piece.number].planes.precision != StatePrecision::F32;
            piece.batches(if is_cut { BATCH } else { MOST_ELEMENTS })
        })
    }

    /// The elements that it has of a parameter.
    pub fn len_of(&self, member: &Member) -> usize {
        if self.members.len() == 1 { self.len } else { member.param.len }
    }
}

impl<'a> Piece<'a> {
    /// Cut into pieces of at most `len` elements.
    fn batches(self, len: usize) -> impl Iterator<Item = Self> {
        let Self { slab, number, before, within } = self;
        within.clone().step_by(len).map(move |start| {
            let end = within.end.min(start + len);
            Self { slab, number, before: before + (start - within.start), within: start..end }
        })
    }

    /// The words of a plane, in the plane's bank.
    pub fn words(&self, planes: Planes, plane: Plane) -> Range<usize> {
        let bank = plane.bank();
        let len = planes.words(plane, self.within.len());
        let start = match planes.precision_of(plane) {
            StatePrecision::F32 => planes.words_before(plane, self.slab.len) + self.before,
            precision => planes.packed(bank) * precision.words(self.before) + planes.number_of(plane) * len,
        };
        let start = self.slab.starts[bank as usize] + start;
        start..start + len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;
    use crate::options::{Average, Hyperparams};
    use crate::param::Param;

    fn members(lens: &[(usize, u32)]) -> Vec<Member> {
        let member = |(number, &(len, order)): (usize, &(usize, u32))| {
            // Neighbours share their planes, so that some are in one slab.
            let run = number / 8;
            let state_precision = match run % 5 {
                3 => StatePrecision::Bf16,
                4 => StatePrecision::Q8,
                _ => StatePrecision::F32,
            };
            let average = if run % 2 == 1 { Average::Equal { every: 1, from: 0 } } else { Average::None };
            let hyperparams =
                Hyperparams { order, amsgrad: run % 4 == 1, average, state_precision, ..Hyperparams::default() };
            let dtype = if run % 3 == 2 { Dtype::Bf16 } else { Dtype::F32 };
            Member::new(0, &hyperparams, Param::new(format!("p{number}"), len).with_dtype(dtype))
        };
        lens.iter().enumerate().map(member).collect()
    }

    /// Lengths around those at which slabs and blocks end.
    fn all_members() -> Vec<Member> {
        let lens = [0, 1, 2, 7, 256, 2048, 4095, 4096, 4097, 9000, 0, 3, 3, 4093, 4094, 1, 0, 12_288, 5, 5, 5];
        let orders = [0; 12].into_iter().chain([2; 9]).cycle();
        let mixed = lens.iter().cycle().zip(orders).take(12 * lens.len());
        let with_empty = [(5, 0), (0, 2), (5, 0), (0, 0), (5, 0)];
        members(&mixed.map(|(&len, order)| (len, order)).chain(with_empty).collect::<Vec<_>>())
    }

    #[test]
    fn every_element_of_every_plane_has_words_of_its_own() {
        let members = all_members();
        let slabs = slabs(&members);
        let mut taken = Bank::ALL.map(|bank| {
            let words = members.iter().map(|member| member.planes.bank_words(bank, member.param.len)).sum();
            vec![false; words]
        });
        let mut seen = vec![0; members.len()];
        for piece in pieces(&slabs, &members) {
            let member = &members[piece.number];
            assert_eq!(piece.within.start, seen[piece.number]);
            seen[piece.number] = piece.within.end;
            for plane in member.planes.iter() {
                for word in &mut taken[plane.bank() as usize][piece.words(member.planes, plane)] {
                    assert!(!std::mem::replace(word, true), "{} of {}", plane, member.param.name);
                }
            }
        }
        assert!(seen.iter().zip(&members).all(|(&seen, member)| seen == member.param.len));
        assert!(taken.iter().flatten().all(|word| *word));
        for number in 0..members.len() {
            let own: Vec<_> = pieces_of(&slabs, &members, number).map(|piece| piece.within).collect();
            let wanted: Vec<_> =
                pieces(&slabs, &members).filter(|piece| piece.number == number).map(|piece| piece.within).collect();
            assert_eq!(own, wanted);
        }
    }

    #[test]
    fn small_tensors_with_the_same_planes_share_slabs_up_to_a_chunk() {
        let slabs = slabs(&members(&[(256, 0); 20]));
        assert_eq!(slabs.iter().map(|slab| slab.members.clone()).collect::<Vec<_>>(), [0..8, 8..16, 16..20]);
        let plain = vec![Member::new(0, &Hyperparams::default(), Param::new("w", 256)); 33];
        let slabs = super::slabs(&plain);
        assert_eq!(slabs.iter().map(|slab| slab.len).collect::<Vec<_>>(), [4096, 4096, 256]);
        let scalars = vec![Member::new(0, &Hyperparams::default(), Param::new("w", 1)); 300];
        let slabs = super::slabs(&scalars);
        assert_eq!(slabs.iter().map(|slab| slab.members.len()).collect::<Vec<_>>(), [256, 44]);
    }
}
