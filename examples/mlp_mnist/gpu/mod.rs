//! Training on the GPU: all of it, so that only the score of an epoch comes back.

mod buffers;
mod checkpoint;
mod device;
mod kernels;
mod layout;
mod samples;

use std::error::Error;

use miadam::{Checkpoint, MiAdam, Param, ParamGroup, Report, Slice};
use wgpu::{BindGroup, CommandEncoder, ComputePass, ComputePassDescriptor, ComputePipeline};

use buffers::Buffers;
pub use device::Gpu;
use kernels::Kernels;
use layout::{Layout, padded_rows};
use samples::DeviceSamples;

use crate::data::Data;
use crate::network::{INPUTS, Passed, Score, Trainer, Weights};
use crate::recipe::Recipe;
use crate::values::Values;

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
        let dtype = recipe.dtype;
        let kernels = Kernels::new(&gpu.device, layout.quads(), dtype, recipe.adds());
        let buffers = Buffers::new(&gpu, layout, dtype, padded_rows(recipe.batch_size.max(TEST_ROWS)), MAX_BATCHES)?;
        gpu.queue.write_buffer(&buffers.params, 0, &Values::new(dtype, &layout.pack(weights)).bytes());
        gpu.check()?;

        let params = Weights::NAMES.into_iter().zip(layout.tensors()).map(|(name, range)| {
            let offset = dtype.width() * range.start as u64;
            let slice = |buffer| Slice::new(buffer, offset, range.len() as u64).with_dtype(dtype);
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

    /// Goes on with a pass over a part, some batches per submit; see [`Trainer::train`].
    fn run(
        &mut self,
        goal: Goal,
        passed: &mut Passed,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        let samples = &self.part(goal).samples;
        let (count, batch_size) = (samples.len, samples.batch_size);
        let sizes: Vec<usize> = (0..count).step_by(batch_size).map(|start| batch_size.min(count - start)).collect();
        // Two products with the pixels, a multiplication and an addition each.
        let flops = 4 * INPUTS * self.layout.row() * padded_rows(batch_size);
        let batches_per_submit = (MAX_FLOPS / flops).clamp(1, MAX_BATCHES);

        self.buffers.write_totals(&self.gpu, &passed.totals);
        let batches = sizes.len();
        let slots = |sizes: &[usize]| sizes.iter().copied().map(padded_rows).sum::<usize>();
        let mut first = slots(&sizes[..passed.batches]);
        let (mut running, mut stop) = (None, false);
        loop {
            let start = passed.batches;
            // A group that has begun is ended.
            let end = if stop { start.next_multiple_of(self.recipe.accumulate).min(batches) } else { batches };
            let sizes = &sizes[start..end.min(start + batches_per_submit)];
            if sizes.is_empty() {
                break;
            }
            self.buffers.write_batches(&self.gpu, first, sizes);
            first += slots(sizes);
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            for (index, &len) in sizes.iter().enumerate() {
                self.record(&mut pass, goal, index, len);
                if goal == Goal::Step
                    && let Some(batches) = self.recipe.group_ending(passed.batches, batches)
                {
                    self.record_step(&mut pass, batches)?;
                }
                passed.batches += 1;
            }
            drop(pass);
            let next = (self.gpu.queue.submit([encoder.finish()]), sizes);
            // One submit runs while the next is recorded.
            if let Some((submission, sizes)) = running.replace(next) {
                self.gpu.wait(&submission)?;
                stop |= !go_on(sizes.iter().sum());
            }
        }
        if let Some((submission, sizes)) = running {
            self.gpu.wait(&submission)?;
            go_on(sizes.iter().sum());
        }
        passed.totals = self.buffers.read_totals(&self.gpu)?;
        Ok(())
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

    /// What the optimizer records copies of.
    fn read<T>(
        &mut self,
        record: impl FnOnce(&MiAdam, &mut CommandEncoder) -> Result<T, miadam::Error>,
    ) -> Result<T::Output, Box<dyn Error>>
    where
        T: Future,
    {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let future = record(&self.optimizer, &mut encoder)?;
        let submission = self.gpu.queue.submit([encoder.finish()]);
        self.gpu.wait(&submission)?;
        Ok(pollster::block_on(future))
    }
}

impl Trainer for GpuTrainer {
    fn train(
        &mut self,
        order: &[u32],
        passed: &mut Passed,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        self.train.samples.upload_order(&self.gpu, order);
        self.run(Goal::Step, passed, go_on)
    }

    fn test(&mut self) -> Result<Score, Box<dyn Error>> {
        let mut passed = Passed::default();
        self.run(Goal::Score, &mut passed, &mut |_| true)?;
        Ok(passed.score(self.test.samples.len))
    }

    fn report(&mut self) -> Result<Report, Box<dyn Error>> {
        Ok(self.read(|optimizer, encoder| optimizer.read_report(encoder))??)
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, Box<dyn Error>> {
        let checkpoint = self.read(|optimizer, encoder| optimizer.read_checkpoint(encoder, true))??;
        checkpoint::unpad(&checkpoint, self.layout)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Box<dyn Error>> {
        let checkpoint = checkpoint::pad(checkpoint, self.layout)?;
        self.optimizer.load(&checkpoint)?;
        self.optimizer.write_params(&checkpoint)?;
        self.gpu.check()
    }

    #[cfg(test)]
    fn weights(&self) -> Weights {
        self.unpack(&self.buffers.params)
    }
}

#[cfg(test)]
impl GpuTrainer {
    /// A pool of weights or gradients in `f32`.
    fn pool(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        Values::from_bytes(self.recipe.dtype, &self.gpu.read(buffer).unwrap(), self.layout.len()).single()
    }

    fn unpack(&self, buffer: &wgpu::Buffer) -> Weights {
        self.layout.unpack(&self.pool(buffer))
    }
}

#[cfg(test)]
mod tests;
