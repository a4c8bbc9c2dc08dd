//! The CPU optimizer, against a pass that reads and writes the same bytes on all cores.

use std::time::Instant;

use miadam_support::cases::Case;
use miadam_support::steppers::{CpuStepper, Setup};
use miadam_support::throughput::{Row, Times, ms};
use rayon::prelude::*;

pub fn measure(case: &Case, rounds: u32) -> Result<Row, miadam::Error> {
    let mut stepper = CpuStepper::new(case, &Setup::plain(case))?;
    let mut limit = Limit::new(case, 2);
    let mut times = Times::default();
    for round in 0..=rounds {
        let start = Instant::now();
        stepper.step()?;
        let step = start.elapsed();
        let start = Instant::now();
        limit.pass();
        // The first round touches the memory for the first time.
        if round > 0 {
            times.step.push(ms(step));
            times.limit.push(ms(start.elapsed()));
        }
    }
    Ok(Row::new(&device(), case, &times))
}

/// What the CPU's rows are headed by.
pub fn device() -> String {
    format!("CPU, {} threads", rayon::current_num_threads())
}

/// Whole arrays, none of them cut into tensors. Those of the state have fewer words where it has fewer bits.
pub struct Limit {
    read: Vec<f32>,
    updated: Vec<Vec<f32>>,
    width: usize,
}

impl Limit {
    /// `moments` counts the planes beside the integrals.
    pub fn new(case: &Case, moments: u32) -> Self {
        let width = case.state.width() as usize;
        let array = |width: usize| vec![0.0; case.elements().div_ceil(width)];
        let state = (0..moments + case.order).map(|_| array(width));
        Self { read: array(1), updated: std::iter::once(array(1)).chain(state).collect(), width }
    }

    pub fn pass(&mut self) {
        const CHUNK: usize = 4096;
        let mut tasks: Vec<_> =
            self.read.chunks(CHUNK).map(|read| (read, Vec::with_capacity(self.updated.len()))).collect();
        for (number, array) in self.updated.iter_mut().enumerate() {
            let chunk = if number == 0 { CHUNK } else { CHUNK / self.width };
            for (task, chunk) in tasks.iter_mut().zip(array.chunks_mut(chunk)) {
                task.1.push(chunk);
            }
        }
        tasks.into_par_iter().for_each(|(read, updated)| {
            for chunk in updated {
                for (value, add) in chunk.iter_mut().zip(read) {
                    *value += add;
                }
            }
        });
    }
}
