//! The counts of parameters that have always been stepped together.

use serde::{Deserialize, Serialize};

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
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Clock {
    /// The clock as the device keeps it, in `words` words.
    #[cfg(feature = "gpu")]
    pub fn to_words(&self, words: usize) -> Vec<u32> {
        let mut own = vec![0; words];
        own[..2].copy_from_slice(&[self.step, self.averaged]);
        own
    }

    /// The clock that [`to_words`](Self::to_words) has made these words of.
    #[cfg(feature = "gpu")]
    pub fn from_words(words: &[u32]) -> Self {
        Self { step: words[0], averaged: words[1] }
    }

    /// Words of each clock on the device: whole quads, so that clocks can move as state does.
    #[cfg(feature = "gpu")]
    pub fn words() -> usize {
        crate::abi::QUAD as usize
    }
}
