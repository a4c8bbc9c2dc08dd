use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Hyperparams;
use crate::layout::{Progress, Scaler};

/// The numbers of a step that a training loop logs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Steps taken.
    pub step: u32,
    /// Steps skipped for a gradient that was not finite.
    pub skipped: u32,
    /// The norm of all gradients at the last step, skipped ones included: with
    /// [`factor`](crate::GradOptions::factor), without the loss scale, before clipping. None where steps do not measure
    /// it: a [`clip_norm`](crate::GradOptions::clip_norm) of infinity makes them. On the GPU, squares of gradients below
    /// 1e-19 may count as 0.
    pub grad_norm: Option<f32>,
    /// The factor that the next loss is to be multiplied by; 1 without a [`GradScaler`](crate::GradScaler).
    pub loss_scale: f32,
    /// One entry a group.
    pub groups: Vec<GroupReport>,
}

/// The numbers of a parameter group.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct GroupReport {
    /// α at the last recorded step.
    pub lr: f64,
    /// What the last step taken did.
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
    /// `lrs` are those of the last recorded step.
    pub(crate) fn new(
        progress: &Progress,
        scaler: &Scaler,
        measured: bool,
        lrs: &[f64],
        last_integrating: impl Iterator<Item = u32>,
    ) -> Self {
        // Before the first step, the phase that it will be in.
        let phase = |last| if progress.step.max(1) <= last { Phase::Integrating } else { Phase::Adam };
        let groups = lrs.iter().zip(last_integrating);
        Self {
            step: progress.step,
            skipped: progress.skipped,
            grad_norm: measured.then(|| f32::from_bits(progress.norm)),
            loss_scale: scaler.scale,
            groups: groups.map(|(&lr, last)| GroupReport { lr, phase: phase(last) }).collect(),
        }
    }
}

/// Says so when the step just recorded is a group's first of plain Adam.
pub(crate) fn log_switch(group: usize, hyperparams: &Hyperparams, recorded: u32, skips: bool) {
    if hyperparams.integrates() && recorded == hyperparams.switch_step {
        let later = if skips { ", later by as many steps as are skipped" } else { "" };
        log::info!("group {group}: plain Adam from step {recorded} on{later}");
    }
}

/// The step that a readback has shown to be taken; futures that outlive the optimizer write it.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownStep(Arc<AtomicU32>);

impl KnownStep {
    pub fn raise(&self, step: u32) {
        self.0.fetch_max(step, Ordering::Relaxed);
    }

    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
