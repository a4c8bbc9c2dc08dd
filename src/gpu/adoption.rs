//! Master copies that the device is to make anew.

use super::known::Known;
use crate::plan::Tensor;
use crate::planes::Rounding;

/// Which master copies are to be made anew. They are made with every step until one is known to have run.
#[derive(Debug)]
pub(super) struct Adoption {
    /// For each parameter the generation in which its copy was asked for; 0 if it has none.
    asked: Vec<u32>,
    /// Whether a step has left the parameter out since then: that the step has run then tells nothing of its copy.
    missed: Vec<bool>,
    /// The last generation in which any copy was asked for.
    last: u32,
}

fn has_copy(tensor: &Tensor) -> bool {
    tensor.format.rounding == Rounding::Master
}

impl Adoption {
    /// All copies are asked for in this generation.
    pub fn new(tensors: &[Tensor], generation: u32) -> Self {
        let mut adoption = Self { asked: vec![0; tensors.len()], missed: vec![false; tensors.len()], last: 0 };
        adoption.ask(tensors, generation);
        adoption
    }

    /// Asks for all copies.
    pub fn ask(&mut self, tensors: &[Tensor], generation: u32) {
        for (asked, _) in self.asked.iter_mut().zip(tensors).filter(|(_, tensor)| has_copy(tensor)) {
            (*asked, self.last) = (generation, generation);
        }
    }

    /// Goes on with other parameters, each with its number before. New copies are asked for, in a generation that is new as well.
    /// It gives the present generation.
    pub fn change(&mut self, sources: &[Option<usize>], tensors: &[Tensor], generation: u32) -> u32 {
        let known = |source: &Option<usize>| source.map(|number| (self.asked[number], self.missed[number]));
        let known: Vec<_> = sources.iter().map(known).collect();
        self.missed = known.iter().map(|known| known.is_some_and(|(_, missed)| missed)).collect();
        let next = generation.saturating_add(1);
        let asked = |(known, tensor): (&Option<(u32, bool)>, &Tensor)| match known {
            _ if !has_copy(tensor) => 0,
            Some((asked, _)) if *asked > 0 => *asked,
            _ => next,
        };
        self.asked = known.iter().zip(tensors).map(asked).collect();
        self.last = self.asked.iter().copied().max().unwrap_or(0);
        if self.last == next { next } else { generation }
    }

    /// Before a step: asks once more for the copies that steps have missed, if the parameter takes part. Then the generation
    /// is another.
    pub fn renew(&mut self, tensors: &[Tensor], generation: &mut u32) {
        if self.last == 0 {
            return;
        }
        let returns = |number: usize| self.missed[number] && !tensors[number].rests;
        let returned: Vec<_> = (0..tensors.len()).filter(|&number| returns(number)).collect();
        if !returned.is_empty() {
            *generation = generation.saturating_add(1);
            self.last = *generation;
        }
        for number in returned {
            (self.asked[number], self.missed[number]) = (*generation, false);
        }
    }

    /// After a step is recorded: notes whose copies it has missed.
    pub fn record(&mut self, tensors: &[Tensor], known: &Known) {
        if self.is_pending(known) {
            for (number, tensor) in tensors.iter().enumerate() {
                self.missed[number] |= tensor.rests && self.asked[number] > known.generation();
            }
        }
    }

    /// Whether any copy is not known to be made.
    pub fn is_pending(&self, known: &Known) -> bool {
        self.last > known.generation()
    }
}
