//! The text: its characters as numbers, the batches that a run is trained on, and the part that is held out. A batch follows
//! from the seed and the number of its step, so that a run that is resumed needs no more than that number.

use std::array;

use miadam_support::mnist::random::Random;

/// The beginning of Shakespeare's Coriolanus; data/README.md has its source.
const TEXT: &str = include_str!("data/text.txt");

/// One of so many characters is held out. They are the last ones of the text.
const HELD_OUT: usize = 10;

pub struct Text {
    /// The different characters, in order. The place of a character is its number.
    pub chars: Vec<char>,
    train: Vec<f32>,
    held_out: Vec<f32>,
}

/// Sequences of character numbers, one after the other, and for each character the one that follows it.
pub struct Batch {
    pub inputs: Vec<f32>,
    pub targets: Vec<f32>,
}

impl Text {
    pub fn new() -> Self {
        let mut chars: Vec<_> = TEXT.chars().collect();
        chars.sort_unstable();
        chars.dedup();
        // The kernels know nothing but f32, which holds these numbers exactly.
        let mut train: Vec<_> = TEXT.chars().map(|char| chars.partition_point(|&other| other < char) as f32).collect();
        let held_out = train.split_off(train.len() - train.len() / HELD_OUT);
        Self { chars, train, held_out }
    }

    pub fn len(&self) -> usize {
        self.train.len() + self.held_out.len()
    }

    /// The batch of a step, from anywhere in the training part.
    pub fn batch(&self, seed: u64, step: u32, sequences: usize, context: usize) -> Batch {
        let mut random = Random::new(seed, 1 + u64::from(step));
        let starts = (0..sequences).map(|_| random.below(self.train.len() - context));
        Batch::new(&self.train, starts, context)
    }

    /// The held-out part, in batches.
    pub fn held_out(&self, sequences: usize, context: usize) -> impl Iterator<Item = Batch> {
        let size = sequences * context;
        let batches = (self.held_out.len() - 1) / size;
        (0..batches).map(move |batch| {
            Batch::new(&self.held_out, (0..sequences).map(|sequence| batch * size + sequence * context), context)
        })
    }

    /// Nats for each held-out character, of a model that knows only how often each occurs in the training part.
    pub fn unigram_entropy(&self) -> f64 {
        // One more of each, since a character may be missing there.
        let mut counts = vec![1.0; self.chars.len()];
        self.train.iter().for_each(|&char| counts[char as usize] += 1.0);
        let total: f64 = counts.iter().sum();
        let nats = self.held_out.iter().map(|&char| (total / counts[char as usize]).ln());
        nats.sum::<f64>() / self.held_out.len() as f64
    }
}

impl Batch {
    fn new(text: &[f32], starts: impl Iterator<Item = usize>, context: usize) -> Self {
        let starts: Vec<_> = starts.collect();
        let [inputs, targets] = array::from_fn(|shift| {
            starts.iter().flat_map(|start| &text[start + shift..][..context]).copied().collect()
        });
        Self { inputs, targets }
    }
}
