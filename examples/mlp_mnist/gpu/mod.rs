//! Training on the GPU: all of it, so that only the score of an epoch comes back.

mod buffers;
mod checkpoint;
mod kernels;
mod layout;
mod part;

use std::error::Error;
use std::mem;
use std::ops::Range;
use std::time::Duration;

use miadam::wgpu::{CommandEncoder, ComputePass, ComputePassDescriptor, ComputePipeline, SubmissionIndex};
use miadam::{Binding, Checkpoint, MiAdam, Readback, Report};
use miadam_support::gpu::{Gpu, GpuError};
use miadam_support::mnist::data::Data;
use miadam_support::mnist::network::{INPUTS, Score, Weights};
use miadam_support::wait::wait;

use buffers::Buffers;
use kernels::Kernels;
use layout::{Layout, padded_rows};
use part::Part;

use crate::recipe::Recipe;
use crate::trainer::{Passed, Trainer};

/// Rows of a batch when testing, where any number gives the same score.
const TEST_ROWS: usize = 256;
/// Batches recorded per submit: enough to hide what a submit costs.
const MAX_BATCHES: usize = 32;
/// Arithmetic recorded per submit: a slow GPU does it before its driver thinks that it hangs.
const MAX_FLOPS: u64 = 8_000_000_000;
/// After this the GPU counts as hung.
const TIMEOUT: Duration = Duration::from_secs(120);

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

/// How far a batch goes.
#[derive(Clone, Copy, PartialEq)]
enum Goal {
    Score,
    Step,
}

impl GpuTrainer {
    pub fn new(gpu: Gpu, data: &Data, weights: &Weights, recipe: Recipe) -> Result<Self, Box<dyn Error>> {
        let (layout, dtype) = (Layout { hidden: weights.hidden() }, recipe.dtype);
        let rows = padded_rows(recipe.batch_size.max(TEST_ROWS));
        let buffers = Buffers::new(&gpu, layout, dtype, weights, rows)?;
        let kernels =
            gpu.guard("compile its kernels", || Kernels::new(&gpu.device, layout.quads(), dtype, recipe.adds()))?;

        let mut offset = 0;
        let bindings = Weights::NAMES.into_iter().zip(layout.lens()).map(|(name, len)| {
            let binding =
                Binding::new(name, (&buffers.params, offset), (&buffers.grads, offset)).with_grad_dtype(recipe.dtype);
            offset += dtype.width() * len as u64;
            binding
        });
        let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [recipe.group(layout.lens())], bindings)?;
        optimizer.set_grad_options(recipe.grad_options(recipe.accumulate))?;

        let part =
            |samples, batch_size| Part::new(&gpu, samples, batch_size, &kernels, &buffers, optimizer.loss_scale());
        let (train, test) = (part(&data.train, recipe.batch_size)?, part(&data.test, TEST_ROWS)?);
        Ok(Self { gpu, layout, kernels, buffers, train, test, optimizer, recipe })
    }

    /// Goes on with a pass over a part, some batches per submit; see [`Trainer::train`].
    fn run(
        &mut self,
        goal: Goal,
        passed: &mut Passed,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        let part = self.part(goal);
        // There are two products with the pixels, and a multiplication and an addition for each term.
        let flops = 4 * (INPUTS * self.layout.row() * padded_rows(part.batch_size)) as u64;
        let (count, most) = (part.count(), ((MAX_FLOPS / flops) as usize).clamp(1, MAX_BATCHES));

        self.buffers.write_totals(&self.gpu, &passed.totals)?;
        let (mut running, mut stop) = (None, false);
        loop {
            let start = passed.batches;
            // A group that has begun is ended.
            let end = if stop { start.next_multiple_of(self.recipe.accumulate).min(count) } else { count };
            let batches = start..end.min(start + most);
            passed.batches = batches.end;
            let next = if batches.is_empty() { None } else { Some((self.submit(goal, batches.clone())?, batches)) };
            let is_over = next.is_none();
            // One submit runs while the next is recorded.
            if let Some((submission, batches)) = mem::replace(&mut running, next) {
                self.wait(&submission)?;
                stop |= !go_on(self.part(goal).samples(batches));
            }
            if is_over {
                break;
            }
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

    /// Lets the GPU begin with these batches of a pass.
    fn submit(&mut self, goal: Goal, batches: Range<usize>) -> Result<SubmissionIndex, Box<dyn Error>> {
        let gpu = self.gpu.clone();
        let submitted = gpu.guard("run its kernels", || {
            let mut encoder = gpu.encoder();
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            for batch in batches {
                self.record(&mut pass, goal, batch)?;
            }
            drop(pass);
            Ok::<_, miadam::Error>(gpu.queue.submit([encoder.finish()]))
        })?;
        Ok(submitted?)
    }

    /// Records a batch, and the step by its group if it is the last of that.
    fn record(&mut self, pass: &mut ComputePass<'_>, goal: Goal, batch: usize) -> Result<(), miadam::Error> {
        let part = self.part(goal);
        part.bind(pass, batch);
        let mut run = |pipeline: &ComputePipeline, workgroups: usize| {
            pass.set_pipeline(pipeline);
            pass.dispatch_workgroups(workgroups as u32, 1, 1);
        };
        let (kernels, quads, rows) = (&self.kernels, self.layout.quads(), padded_rows(part.samples(batch..batch + 1)));
        run(&kernels.forward, (rows / 8 * (quads / 2)).div_ceil(32));
        run(&kernels.classify, rows / 8);
        if goal == Goal::Score {
            return Ok(());
        }
        run(&kernels.backward, (rows / 4 * quads).div_ceil(64));
        run(&kernels.gradient1, (INPUTS / 16 * (quads / 2)).div_ceil(32));
        run(&kernels.gradient2, (quads + 1).div_ceil(8));
        if let Some(batches) = self.recipe.group_ending(batch, part.count()) {
            self.optimizer.set_grad_options(self.recipe.grad_options(batches))?;
            self.optimizer.step_in_pass(pass)?;
        }
        Ok(())
    }

    fn wait(&self, submission: &SubmissionIndex) -> Result<(), GpuError> {
        wait(&self.gpu.device, submission, TIMEOUT)
            .map_err(|error| GpuError { operation: "finish its kernels", reason: error.to_string() })
    }

    /// Reads what the optimizer records a copy of.
    fn read<T>(
        &mut self,
        record: impl FnOnce(&MiAdam, &mut CommandEncoder) -> Result<Readback<T>, miadam::Error>,
    ) -> Result<T, Box<dyn Error>> {
        let mut encoder = self.gpu.encoder();
        let readback = record(&self.optimizer, &mut encoder)?;
        self.gpu.run(encoder)?;
        Ok(readback.wait()?)
    }
}

impl Trainer for GpuTrainer {
    fn train(
        &mut self,
        order: &[u32],
        passed: &mut Passed,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        self.train.upload_order(&self.gpu, order)?;
        self.run(Goal::Step, passed, go_on)
    }

    fn test(&mut self) -> Result<Score, Box<dyn Error>> {
        let mut passed = Passed::default();
        self.run(Goal::Score, &mut passed, &mut |_| true)?;
        Ok(passed.score(self.test.len))
    }

    fn report(&mut self) -> Result<Report, Box<dyn Error>> {
        self.read(|optimizer, encoder| optimizer.read_report(encoder))
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, Box<dyn Error>> {
        let checkpoint = self.read(|optimizer, encoder| optimizer.read_checkpoint(encoder, true))?;
        checkpoint::unpad(&checkpoint, self.layout)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Box<dyn Error>> {
        let checkpoint = checkpoint::pad(checkpoint, self.layout)?;
        self.optimizer.load(&checkpoint)?;
        Ok(self.optimizer.write_params(&checkpoint)?)
    }

    #[cfg(test)]
    fn weights(&self) -> Weights {
        self.layout.unpack(&self.pool(&self.buffers.params))
    }
}

#[cfg(test)]
impl GpuTrainer {
    /// A pool of weights or gradients in `f32`.
    fn pool(&self, buffer: &miadam::wgpu::Buffer) -> Vec<f32> {
        let bytes = self.gpu.read(buffer).unwrap();
        miadam_support::values::Values::from_bytes(self.recipe.dtype, &bytes, usize::MAX).single()
    }
}

#[cfg(test)]
mod tests;
