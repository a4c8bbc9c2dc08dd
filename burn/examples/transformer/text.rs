//! The text: its characters as numbers, the batches, and the part that is held out.

use burn::prelude::*;
use miadam_support::mnist::random::Random;

/// The beginning of Shakespeare's Coriolanus, which lies with the core's example.
const TEXT: &str = include_str!("../../../examples/engine/data/text.txt");

/// Characters that the model sees at a time.
pub const CONTEXT: usize = 64;

/// One of so many characters is held out. They are the last ones of the text.
const HELD_OUT: usize = 10;

pub struct Text {
    /// How many different characters there are.
    pub chars: usize,
    train: Vec<i32>,
    held_out: Vec<i32>,
}

/// Pieces of the text, `[pieces, CONTEXT]`, and for each of their characters the one that follows it.
pub struct Batch {
    pub inputs: Tensor<2, Int>,
    pub targets: Tensor<1, Int>,
}

impl Text {
    pub fn new() -> Self {
        let mut chars: Vec<char> = TEXT.chars().collect();
        chars.sort_unstable();
        chars.dedup();
        let number = |char| chars.binary_search(&char).unwrap_or_default() as i32;
        let mut train: Vec<i32> = TEXT.chars().map(number).collect();
        let held_out = train.split_off(train.len() - train.len() / HELD_OUT);
        Self { chars: chars.len(), train, held_out }
    }

    /// Pieces from anywhere in the training part.
    pub fn batch(&self, pieces: usize, random: &mut Random, device: &Device) -> Batch {
        let starts = (0..pieces).map(|_| random.below(self.train.len() - CONTEXT));
        Batch::new(&self.train, starts.collect(), device)
    }

    /// The held-out part in batches.
    pub fn held_out(&self, pieces: usize, device: &Device) -> impl Iterator<Item = Batch> {
        let starts: Vec<usize> = (0..self.held_out.len() - CONTEXT).step_by(CONTEXT).collect();
        // A batch of another size would be tuned anew.
        let batches: Vec<_> = starts.chunks_exact(pieces.min(starts.len())).map(<[_]>::to_vec).collect();
        batches.into_iter().map(|starts| Batch::new(&self.held_out, starts, device))
    }
}

impl Batch {
    fn new(text: &[i32], starts: Vec<usize>, device: &Device) -> Self {
        let shifted = |shift: usize| -> Vec<i32> {
            starts.iter().flat_map(|start| &text[start + shift..][..CONTEXT]).copied().collect()
        };
        Self {
            inputs: Tensor::from_data(TensorData::new(shifted(0), [starts.len(), CONTEXT]), device),
            targets: Tensor::from_data(TensorData::new(shifted(1), [starts.len() * CONTEXT]), device),
        }
    }
}
