//! How long steps take, beside a pass that only moves the same bytes.

mod gpu;

use std::time::Duration;

pub use gpu::{Limit, measure};
use serde::Serialize;

use crate::cases::Case;

/// One measured case; the keys of a JSON line.
#[derive(Serialize)]
pub struct Row {
    pub device: String,
    pub case: &'static str,
    pub tensors: usize,
    /// Elements of all tensors together.
    pub len: usize,
    pub order: u32,
    /// How the state is kept: f32, bf16 or q8.
    pub state: String,
    /// Median time of a step.
    pub ms: f64,
    /// Bytes that the step has to move, over that time.
    pub gbps: f64,
    /// Dispatches a step; 0 on the CPU.
    pub dispatches: usize,
    /// Median host time to record a step; 0 on the CPU.
    pub record_us: f64,
    /// `ms` over the median time of a pass that only loads and stores the same bytes.
    pub limit_ratio: f64,
}

impl Row {
    pub fn new(device: &str, case: &Case, times: &Times) -> Self {
        let ms = median(&times.step);
        Self {
            device: device.to_owned(),
            case: case.name,
            tensors: case.lens.len(),
            len: case.elements(),
            order: case.order,
            state: format!("{:?}", case.state).to_lowercase(),
            ms,
            gbps: case.bytes() as f64 / ms / 1e6,
            dispatches: 0,
            record_us: 0.0,
            limit_ratio: ms / median(&times.limit),
        }
    }
}

/// Milliseconds of each round.
#[derive(Default)]
pub struct Times {
    pub step: Vec<f64>,
    pub limit: Vec<f64>,
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

pub fn ms(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}
