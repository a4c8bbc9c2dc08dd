//! The CPU optimizer, against a pass that reads and writes the same bytes on all cores.

use std::time::Instant;

use miadam::{ParamGroup, cpu};
use rayon::prelude::*;

use crate::cases::Case;
use crate::report::{Row, Times};

pub fn measure(case: &Case, rounds: u32) -> Result<Row, miadam::Error> {
    let named = case.lens.iter().enumerate().map(|(number, &len)| cpu::Param::new(format!("{number}"), len));
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(case.hyperparams(), named)])?;
    let mut params: Vec<_> = case.lens.iter().map(|&len| vec![0.01f32; len]).collect();
    let grads: Vec<_> = case.lens.iter().map(|&len| vec![0.02f32; len]).collect();
    let mut limit = Limit::new(case);

    let mut times = Times::default();
    for round in 0..=rounds {
        let start = Instant::now();
        let mut params: Vec<_> = params.iter_mut().map(|param| &mut param[..]).collect();
        let grads: Vec<_> = grads.iter().map(|grad| &grad[..]).collect();
        optimizer.step(&mut params, &grads)?;
        let step = start.elapsed();
        let start = Instant::now();
        limit.pass();
        // The first round touches the memory for the first time.
        if round > 0 {
            times.step.push(1e3 * step.as_secs_f64());
            times.limit.push(1e3 * start.elapsed().as_secs_f64());
        }
    }
    let threads = rayon::current_num_threads();
    Ok(Row::new(&format!("CPU, {threads} threads"), case, &times))
}

/// Whole arrays, none of them cut into tensors.
struct Limit {
    read: Vec<f32>,
    updated: Vec<Vec<f32>>,
}

impl Limit {
    fn new(case: &Case) -> Self {
        let array = || vec![0.0; case.elements()];
        Self { read: array(), updated: (0..3 + case.order).map(|_| array()).collect() }
    }

    fn pass(&mut self) {
        const CHUNK: usize = 4096;
        let mut tasks: Vec<_> =
            self.read.chunks(CHUNK).map(|read| (read, Vec::with_capacity(self.updated.len()))).collect();
        for array in &mut self.updated {
            for (task, chunk) in tasks.iter_mut().zip(array.chunks_mut(CHUNK)) {
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
