//! What the host knows of the device's counts.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::abi::Progress;

/// The steps of each clock as far as readbacks have shown them.
#[derive(Debug, Default)]
pub(super) struct ClockSteps(Vec<AtomicU32>);

impl FromIterator<u32> for ClockSteps {
    fn from_iter<I: IntoIterator<Item = u32>>(steps: I) -> Self {
        Self(steps.into_iter().map(AtomicU32::new).collect())
    }
}

impl ClockSteps {
    /// Takes the counts of a readback, which is of the same clocks.
    pub fn raise(&self, steps: &[u32]) {
        for (own, &step) in self.0.iter().zip(steps) {
            own.fetch_max(step, Ordering::Relaxed);
        }
    }

    pub fn of(&self, clock: usize) -> u32 {
        self.0.get(clock).map_or(0, |step| step.load(Ordering::Relaxed))
    }
}

/// The device's counts as far as readbacks have shown them. Readbacks that outlive the optimizer write them, too.
#[derive(Debug, Default)]
pub(super) struct Known {
    step: AtomicU32,
    skipped: AtomicU32,
    generation: AtomicU32,
}

impl Known {
    pub fn new(progress: &Progress) -> Self {
        let known = Self::default();
        known.raise(progress);
        known
    }

    /// Takes the counts of a readback. Readbacks may come in any order, and counts only grow.
    pub fn raise(&self, progress: &Progress) {
        self.step.fetch_max(progress.step, Ordering::Relaxed);
        self.skipped.fetch_max(progress.skipped, Ordering::Relaxed);
        self.generation.fetch_max(progress.generation, Ordering::Relaxed);
    }

    /// Steps taken.
    pub fn step(&self) -> u32 {
        self.step.load(Ordering::Relaxed)
    }

    pub fn skipped(&self) -> u32 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// The generation of the last step that has run.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }
}
