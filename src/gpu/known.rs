//! What the host knows of the device's counts.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::abi::Progress;

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

    pub fn step(&self) -> u32 {
        self.step.load(Ordering::Relaxed)
    }

    pub fn skipped(&self) -> u32 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// The generation of master copies of the last step that has run.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }
}
