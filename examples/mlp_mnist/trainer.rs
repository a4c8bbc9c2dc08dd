//! What training looks like, whatever the device.

use std::error::Error;

use miadam::{Checkpoint, Report};
use miadam_support::mnist::network::Score;

/// A network, its data and its optimizer on one device.
pub trait Trainer {
    /// Goes on with a pass over the training samples in the given order, from where `passed` says that it is to the end.
    /// `go_on` is told how many samples have been done since it was last called. Once it says no, the pass stops at the
    /// next step.
    fn train(
        &mut self,
        order: &[u32],
        passed: &mut Passed,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), Box<dyn Error>>;

    /// The score on the held-out samples.
    fn test(&mut self) -> Result<Score, Box<dyn Error>>;

    /// The optimizer's numbers after the last step.
    fn report(&mut self) -> Result<Report, Box<dyn Error>>;

    /// The optimizer and the weights as they are now, in a form that is the same on every device.
    fn checkpoint(&mut self) -> Result<Checkpoint, Box<dyn Error>>;

    /// Takes the optimizer and the weights of a checkpoint, in place of what they are. After an error, nothing can be
    /// said of either.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Box<dyn Error>>;

    #[cfg(test)]
    fn weights(&self) -> miadam_support::mnist::network::Weights;

    /// A whole pass.
    #[cfg(test)]
    fn epoch(&mut self, order: &[u32]) -> Score {
        let mut passed = Passed::default();
        self.train(order, &mut passed, &mut |_| true).unwrap();
        passed.score(order.len())
    }
}

/// How far a pass over samples has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Passed {
    pub batches: usize,
    /// Sums over the samples of these batches, each batch before its own step. A device may keep several sums, which count
    /// together.
    pub totals: Vec<Score>,
}

impl Passed {
    pub fn total(&self) -> Score {
        let mut total = Score::default();
        self.totals.iter().for_each(|&part| total.add(part));
        total
    }

    /// Means over all of so many samples.
    pub fn score(&self, samples: usize) -> Score {
        let Score { loss, accuracy } = self.total();
        Score { loss: loss / samples as f64, accuracy: accuracy / samples as f64 }
    }
}
