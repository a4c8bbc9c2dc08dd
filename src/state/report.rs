//! The numbers of a step that a training loop logs.

use crate::abi::{Progress, Scaler};

/// The numbers of a step that a training loop logs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Steps taken.
    pub step: u32,
    /// Steps skipped for a gradient that was not finite.
    pub skipped: u32,
    /// The norm of all gradients at the last step, a skipped one included: after
    /// [`factor`](crate::GradOptions::factor), without the loss scale, before clipping. It is `None` unless steps measure
    /// it: they clip by norm, may be skipped, scale the loss, or have [`measure_norm`](crate::GradOptions::measure_norm). On the GPU, squares of gradients below 1e-19 may count
    /// as 0.
    pub grad_norm: Option<f32>,
    /// The factor that the next loss is to be multiplied by; 1 without a [`GradScaler`](crate::GradScaler).
    pub loss_scale: f32,
    /// Rows that `remap` was asked for since the optimizer was made or has loaded a checkpoint, and that were not there. Their
    /// state has started at 0. It is always 0 on the CPU, where such a row is an error at once.
    pub bad_rows: u32,
    /// One entry a group.
    pub groups: Vec<GroupReport>,
}

/// The numbers of a parameter group.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct GroupReport {
    /// α at the last recorded step.
    pub lr: f64,
    /// The phase of the last step taken: [`Phase::Adam`] once all of its parameters are past ζ by their own counts.
    pub phase: Phase,
}

/// The two phases of MIAdam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// t < ζ: the integrals are in use.
    Integrating,
    /// t ≥ ζ, or order 0: plain Adam.
    Adam,
}

impl Report {
    /// `clocks` has the steps of each clock. `groups` has each group's learning rate at the last recorded step, its last step
    /// that integrates, and its clocks.
    pub(crate) fn new(
        progress: &Progress,
        scaler: &Scaler,
        measured: bool,
        clocks: &[u32],
        groups: impl Iterator<Item = (f64, u32, Vec<usize>)>,
    ) -> Self {
        // Before the first step, the phase that the first step will be in.
        let integrates = |last, own: Vec<usize>| own.iter().any(|&clock| clocks[clock].max(1) <= last);
        let phase = |last, own| if integrates(last, own) { Phase::Integrating } else { Phase::Adam };
        Self {
            step: progress.step,
            skipped: progress.skipped,
            grad_norm: measured.then(|| f32::from_bits(progress.norm)),
            loss_scale: scaler.scale,
            bad_rows: progress.bad_rows,
            groups: groups.map(|(lr, last, own)| GroupReport { lr, phase: phase(last, own) }).collect(),
        }
    }
}
