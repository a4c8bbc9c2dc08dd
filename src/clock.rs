//! The counts of parameters that have always been stepped together.

use bytemuck::Zeroable;
use serde::{Deserialize, Serialize};

use crate::abi::Gain;

/// A clock: the counts of parameters that share their history. Their coefficients are the same at every step, so that they
/// are computed once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// t: the steps that its parameters have taken.
    pub step: u32,
    /// k: the averagings of their weights so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub averaged: u32,
    /// S_1 to S_n: what each integral has made of a constant gradient of 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gains: Vec<Gain>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Clock {
    /// The clock of parameters with so many integrals, at 0.
    pub fn new(order: usize) -> Self {
        Self { step: 0, averaged: 0, gains: vec![Gain::zeroed(); order] }
    }

    /// The clock of those who go on from this one with so many of its integrals, and with others that start at 0. Averages that
    /// do not go on start as well.
    pub fn going_on(&self, kept: usize, averages: bool, order: usize) -> Self {
        let mut gains = self.gains[..kept.min(self.gains.len())].to_vec();
        gains.resize(order, Gain::zeroed());
        Self { gains, averaged: if averages { self.averaged } else { 0 }, ..*self }
    }

    /// The clock as the device keeps it, in `words` words.
    #[cfg(feature = "gpu")]
    pub fn to_words(&self, words: usize) -> Vec<u32> {
        let mut own = vec![0; words];
        (own[0], own[QUAD]) = (self.step, self.averaged);
        for (quad, &gain) in own.as_chunks_mut::<QUAD>().0[2..].iter_mut().zip(&self.gains) {
            quad[..3].copy_from_slice(&bytemuck::cast::<Gain, [u32; 3]>(gain));
        }
        own
    }

    /// The clock with so many gains that [`to_words`](Self::to_words) has made these words of.
    #[cfg(feature = "gpu")]
    pub fn from_words(words: &[u32], order: usize) -> Self {
        let gain = |&[high, low, exponent, _]: &[u32; QUAD]| Gain { high, low, exponent: exponent as i32 };
        Self {
            step: words[0],
            averaged: words[QUAD],
            gains: words.as_chunks().0[2..].iter().take(order).map(gain).collect(),
        }
    }

    /// Words of each clock on the device, where none has more gains than these. Each count takes a quad, and so does each gain,
    /// so that clocks can move as state does, with what goes on of them.
    #[cfg(feature = "gpu")]
    pub fn words(order: usize) -> usize {
        QUAD * (2 + order)
    }
}

#[cfg(feature = "gpu")]
const QUAD: usize = crate::abi::QUAD as usize;
