//! Training on the GPU: all of it, so that only the score of an epoch comes back.

mod adapter;
mod buffers;
mod device;
mod kernels;
mod layout;
mod samples;

use std::error::Error;

use miadam::{MiAdam, Param, ParamGroup, Report, Slice};
use wgpu::{BindGroup, ComputePass, ComputePassDescriptor, ComputePipeline};

pub use adapter::{open_any, open_hardware, open_named};
use buffers::Buffers;
pub use device::Gpu;
use kernels::Kernels;
use layout::{Layout, padded_rows};
use samples::DeviceSamples;

use crate::data::Data;
use crate::network::{INPUTS, Score, Trainer, Weights};
use crate::recipe::Recipe;

/// Rows of a batch when testing, where any number gives the same score.
const TEST_ROWS: usize = 256;
/// Batches recorded per submit: enough to hide what a submit costs.
const MAX_BATCHES: usize = 32;
/// Arithmetic recorded per submit: a slow GPU does it before its driver thinks that it hangs.
const MAX_FLOPS: usize = 8_000_000_000;

pub struct GpuTrainer {
    gpu: Gpu,
    layout: Layout,
    kernels: Kernels,
    buffers: Buffers,
    train: Part,
    test: Part,
    optimizer: MiAdam,
    recipe: Recipe,
}

/// The training or the test samples.
struct Part {
    samples: DeviceSamples,
    bindings: BindGroup,
}

/// How far a batch goes.
#[derive(Clone, Copy, PartialEq)]
enum Goal {
    Score,
    Step,
}

impl GpuTrainer {
    pub fn new(gpu: Gpu, data: &Data, weights: &Weights, recipe: Recipe) -> Result<Self, Box<dyn Error>> {
        let layout = Layout::new(weights.b1.len());
        let kernels = Kernels::new(&gpu.device, layout.quads(), recipe.adds());
        let buffers = Buffers::new(&gpu, layout, padded_rows(recipe.batch_size.max(TEST_ROWS)), MAX_BATCHES)?;
        gpu.queue.write_buffer(&buffers.params, 0, bytemuck::cast_slice(&layout.pack(weights)));
        gpu.check()?;

        let params = Weights::NAMES.into_iter().zip(layout.tensors()).map(|(name, range)| {
            let slice = |buffer| Slice::new(buffer, 4 * range.start as u64, range.len() as u64);
            Param::new(name, slice(&buffers.params), slice(&buffers.grads))
        });
        let group = ParamGroup::new(recipe.hyperparams.clone(), params);
        let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group])?;
        optimizer.set_grad_options(recipe.grad_options(recipe.accumulate))?;

        let part = |samples, batch_size| -> Result<Part, Box<dyn Error>> {
            let samples = DeviceSamples::new(&gpu, samples, batch_size)?;
            Ok(Part { bindings: buffers.bind(&gpu, &kernels, &samples, optimizer.loss_scale()), samples })
        };
        let (train, test) = (part(&data.train, recipe.batch_size)?, part(&data.test, TEST_ROWS)?);
        gpu.check()?;
        Ok(Self { gpu, layout, kernels, buffers, train, test, optimizer, recipe })
    }

    /// Runs all batches of a part, some per submit, and returns their score.
    fn run(&mut self, goal: Goal, progress: &mut dyn FnMut(usize)) -> Result<Score, Box<dyn Error>> {
        let samples = &self.part(goal).samples;
        let (count, batch_size) = (samples.len, samples.batch_size);
        let sizes: Vec<usize> = (0..count).step_by(batch_size).map(|start| batch_size.min(count - start)).collect();
        // Two products with the pixels, a multiplication and an addition each.
        let flops = 4 * INPUTS * self.layout.row() * padded_rows(batch_size);
        let batches_per_submit = (MAX_FLOPS / flops).clamp(1, MAX_BATCHES);

        self.clear_totals();
        let batches = sizes.len();
        let (mut first, mut recorded) = (0, 0);
        let mut running = None;
        for sizes in sizes.chunks(batches_per_submit) {
            self.buffers.write_batches(&self.gpu, first, sizes);
            first += sizes.iter().copied().map(padded_rows).sum::<usize>();
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            for (index, &len) in sizes.iter().enumerate() {
                self.record(&mut pass, goal, index, len);
                if goal == Goal::Step
                    && let Some(batches) = self.recipe.group_ending(recorded, batches)
                {
                    self.record_step(&mut pass, batches)?;
                }
                recorded += 1;
            }
            drop(pass);
            let next = (self.gpu.queue.submit([encoder.finish()]), sizes);
            // One submit runs while the next is recorded.
            if let Some((submission, sizes)) = running.replace(next) {
                self.gpu.wait(&submission)?;
                progress(sizes.iter().sum());
            }
        }
        if let Some((submission, sizes)) = running {
            self.gpu.wait(&submission)?;
            progress(sizes.iter().sum());
        }
        self.score(count)
    }

    fn part(&self, goal: Goal) -> &Part {
        match goal {
            Goal::Score => &self.test,
            Goal::Step => &self.train,
        }
    }

    /// Records a batch of `len` samples: the one at `index` in the next submit.
    fn record(&self, pass: &mut ComputePass<'_>, goal: Goal, index: usize, len: usize) {
        pass.set_bind_group(0, &self.part(goal).bindings, &[self.buffers.batch_offset(index)]);
        let mut run = |pipeline: &ComputePipeline, workgroups: usize| {
            pass.set_pipeline(pipeline);
            pass.dispatch_workgroups(workgroups as u32, 1, 1);
        };
        let (kernels, quads, rows) = (&self.kernels, self.layout.quads(), padded_rows(len));
        run(&kernels.forward, (rows / 8 * (quads / 2)).div_ceil(32));
        run(&kernels.classify, rows / 8);
        if goal == Goal::Step {
            run(&kernels.backward, (rows / 4 * quads).div_ceil(64));
            run(&kernels.gradient1, (INPUTS / 16 * (quads / 2)).div_ceil(32));
            run(&kernels.gradient2, (quads + 1).div_ceil(8));
        }
    }

    /// Records a step by the gradients of so many batches.
    fn record_step(&mut self, pass: &mut ComputePass<'_>, batches: usize) -> Result<(), miadam::Error> {
        self.optimizer.set_grad_options(self.recipe.grad_options(batches))?;
        self.optimizer.step_in_pass(pass)
    }

    fn clear_totals(&self) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&self.buffers.totals, 0, None);
        self.gpu.queue.submit([encoder.finish()]);
    }

    fn score(&self, samples: usize) -> Result<Score, Box<dyn Error>> {
        let totals = self.gpu.read(&self.buffers.totals)?;
        let mean = |column: usize| {
            totals.iter().skip(column).step_by(2).map(|&total| f64::from(total)).sum::<f64>() / samples as f64
        };
        Ok(Score { loss: mean(0), accuracy: mean(1) })
    }
}

impl Trainer for GpuTrainer {
    fn train(&mut self, order: &[u32], progress: &mut dyn FnMut(usize)) -> Result<Score, Box<dyn Error>> {
        self.train.samples.upload_order(&self.gpu, order);
        self.run(Goal::Step, progress)
    }

    fn test(&mut self) -> Result<Score, Box<dyn Error>> {
        self.run(Goal::Score, &mut |_| ())
    }

    fn report(&mut self) -> Result<Report, Box<dyn Error>> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let report = self.optimizer.read_report(&mut encoder)?;
        let submission = self.gpu.queue.submit([encoder.finish()]);
        self.gpu.wait(&submission)?;
        Ok(pollster::block_on(report)?)
    }

    #[cfg(test)]
    fn weights(&self) -> Weights {
        self.layout.unpack(&self.gpu.read(&self.buffers.params).unwrap())
    }
}

#[cfg(test)]
mod tests;
