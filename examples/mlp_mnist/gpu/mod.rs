//! Training on the GPU: everything stays there, but for the score of an epoch.

mod adapter;
mod kernels;
mod layout;
mod samples;

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use miadam::{Hyperparams, MiAdam, Param, ParamGroup, Slice};
use wgpu::{BindGroup, Buffer, BufferUsages, ComputePassDescriptor, ComputePipeline, PollType, SubmissionIndex};

pub use adapter::{Gpu, open_any, open_hardware, open_named};
use kernels::{Bindings, Kernels};
use layout::{CLASSES_PADDED, Layout, padded_rows};
use samples::DeviceSamples;

use crate::data::Data;
use crate::network::{INPUTS, Score, Trainer, Weights};

/// Rows of a batch when testing, where any number gives the same score.
const TEST_ROWS: usize = 256;
/// Batches recorded per submit: enough to hide the cost of a submit.
const MAX_BATCHES: usize = 32;
/// Arithmetic recorded per submit: a slow GPU does it in less than the two seconds after which drivers give up.
const MAX_FLOPS: usize = 8_000_000_000;
/// After this the GPU counts as hung.
const TIMEOUT: Duration = Duration::from_secs(120);

pub struct GpuTrainer {
    gpu: Gpu,
    kernels: Kernels,
    optimizer: MiAdam,
    layout: Layout,
    batch_size: usize,
    train: DeviceSamples,
    test: DeviceSamples,
    train_bindings: BindGroup,
    test_bindings: BindGroup,
    /// The `Batch` structs of the next submit.
    batches: Buffer,
    grads: Buffer,
    totals: Buffer,
}

impl GpuTrainer {
    pub fn new(
        gpu: Gpu,
        data: &Data,
        weights: &Weights,
        hyperparams: Hyperparams,
        batch_size: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let layout = Layout::new(weights.b1.len());
        let rows = padded_rows(batch_size.max(TEST_ROWS));
        check_limits(&gpu, layout, rows)?;
        let oom = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);

        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let floats = |label, len: usize| buffer(&gpu, label, 4 * len as u64, usage);
        let params = floats("params", layout.len());
        let grads = floats("grads", layout.len());
        let hidden = floats("hidden", rows * layout.row());
        let dhidden = floats("dhidden", rows * layout.row());
        let dlogits = floats("dlogits", rows * CLASSES_PADDED);
        let totals = floats("totals", rows * 2);
        let batches = buffer(
            &gpu,
            "batches",
            batch_stride(&gpu) * MAX_BATCHES as u64,
            BufferUsages::UNIFORM | BufferUsages::COPY_DST,
        );
        let train = DeviceSamples::new(&gpu, &data.train, batch_size)?;
        let test = DeviceSamples::new(&gpu, &data.test, TEST_ROWS)?;
        gpu.queue.write_buffer(&params, 0, bytemuck::cast_slice(&layout.pack(weights)));

        let kernels = Kernels::new(&gpu.device, layout.quads());
        let bind = |samples: &DeviceSamples| {
            kernels.bind(
                &gpu.device,
                &Bindings {
                    batches: &batches,
                    images: &samples.images,
                    samples: &samples.samples,
                    params: &params,
                    hidden: &hidden,
                    dlogits: &dlogits,
                    dhidden: &dhidden,
                    grads: &grads,
                    totals: &totals,
                },
            )
        };
        let (train_bindings, test_bindings) = (bind(&train), bind(&test));
        if let Some(error) = pollster::block_on(oom.pop()) {
            return Err(format!(
                "{} is out of memory ({error}); lower --hidden or --batch-size, or use --device cpu",
                gpu.name
            )
            .into());
        }

        let tensors = Weights::NAMES.into_iter().zip(layout.tensors()).map(|(name, range)| {
            let slice = |buffer| Slice::new(buffer, 4 * range.start as u64, range.len() as u64);
            Param::new(name, slice(&params), slice(&grads))
        });
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, [ParamGroup::new(hyperparams, tensors)])?;
        Ok(Self {
            gpu,
            kernels,
            optimizer,
            layout,
            batch_size,
            train,
            test,
            train_bindings,
            test_bindings,
            batches,
            grads,
            totals,
        })
    }

    /// Records what one batch does up to its gradients, or up to its score.
    fn record(&self, encoder: &mut wgpu::CommandEncoder, slot: usize, len: usize, training: bool) {
        let quads = self.layout.quads();
        let rows = padded_rows(len);
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
        let offset = slot as u32 * batch_stride(&self.gpu) as u32;
        pass.set_bind_group(0, if training { &self.train_bindings } else { &self.test_bindings }, &[offset]);
        let mut run = |pipeline: &ComputePipeline, invocations: usize, workgroup: usize| {
            pass.set_pipeline(pipeline);
            pass.dispatch_workgroups(invocations.div_ceil(workgroup) as u32, 1, 1);
        };
        run(&self.kernels.forward, rows / 8 * (quads / 2), 64);
        run(&self.kernels.classify, rows, 8);
        if training {
            run(&self.kernels.backward, rows / 4 * quads, 64);
            run(&self.kernels.gradient1, INPUTS / 16 * quads, 64);
            run(&self.kernels.gradient2, quads + 1, 8);
        }
    }

    /// Runs all batches of the training or test samples, some per submit, and returns their score.
    fn run(&mut self, training: bool, progress: &mut dyn FnMut(usize)) -> Result<Score, Box<dyn Error>> {
        let samples = if training { &self.train } else { &self.test };
        let (count, batch_size) = (samples.len, samples.batch_size);
        let sizes: Vec<usize> = (0..count).step_by(batch_size).map(|start| batch_size.min(count - start)).collect();
        let flops = 4 * INPUTS * self.layout.row() * padded_rows(batch_size);
        let per_submit = (MAX_FLOPS / flops).clamp(1, MAX_BATCHES);

        self.clear_totals();
        let mut in_flight = VecDeque::new();
        for (chunk, sizes) in sizes.chunks(per_submit).enumerate() {
            let first = chunk * per_submit * padded_rows(batch_size);
            self.write_batches(first, batch_size, sizes);
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            for (slot, &size) in sizes.iter().enumerate() {
                self.record(&mut encoder, slot, size, training);
                if training {
                    self.optimizer.step(&mut encoder)?;
                }
            }
            let submission = self.gpu.queue.submit([encoder.finish()]);
            in_flight.push_back((submission, sizes));
            // One submit runs while the next is recorded.
            if in_flight.len() > 1 {
                self.finish(in_flight.pop_front(), progress)?;
            }
        }
        self.finish(in_flight.pop_front(), progress)?;
        self.score(count)
    }

    fn finish(
        &self,
        submission: Option<(SubmissionIndex, &[usize])>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), Box<dyn Error>> {
        if let Some((submission, sizes)) = submission {
            self.wait(Some(submission))?;
            sizes.iter().for_each(|&size| progress(size));
        }
        Ok(())
    }

    fn wait(&self, submission_index: Option<SubmissionIndex>) -> Result<(), Box<dyn Error>> {
        let poll = PollType::Wait { submission_index, timeout: Some(TIMEOUT) };
        self.gpu.device.poll(poll).map(|_| ()).map_err(|error| {
            let name = &self.gpu.name;
            format!("{name} did not finish in time ({error}); lower --hidden or --batch-size, or use --device cpu")
                .into()
        })
    }

    /// `Batch` of common.wgsl for each batch of a submit.
    fn write_batches(&self, first: usize, batch_size: usize, sizes: &[usize]) {
        let stride = batch_stride(&self.gpu) as usize;
        let mut bytes = vec![0; stride * sizes.len()];
        for (index, (slot, &len)) in bytes.chunks_exact_mut(stride).zip(sizes).enumerate() {
            let batch = [(first + index * padded_rows(batch_size)) as u32, len as u32];
            slot[..8].copy_from_slice(bytemuck::cast_slice(&batch));
        }
        self.gpu.queue.write_buffer(&self.batches, 0, &bytes);
    }

    fn clear_totals(&self) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&self.totals, 0, None);
        self.gpu.queue.submit([encoder.finish()]);
    }

    fn score(&self, samples: usize) -> Result<Score, Box<dyn Error>> {
        let totals = self.read(&self.totals)?;
        let sum = |column: usize| totals.iter().skip(column).step_by(2).map(|&value| f64::from(value)).sum::<f64>();
        Ok(Score { loss: sum(0) / samples as f64, accuracy: sum(1) / samples as f64 })
    }

    /// A copy of a buffer of floats.
    fn read(&self, source: &Buffer) -> Result<Vec<f32>, Box<dyn Error>> {
        let copy = buffer(&self.gpu, "readback", source.size(), BufferUsages::COPY_DST | BufferUsages::MAP_READ);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, 0, &copy, 0, source.size());
        self.gpu.queue.submit([encoder.finish()]);
        // A failed mapping shows when the range is asked for.
        copy.map_async(wgpu::MapMode::Read, .., |_| ());
        self.wait(None)?;
        let bytes = copy.get_mapped_range(..)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}

impl Trainer for GpuTrainer {
    fn train(&mut self, order: &[u32], progress: &mut dyn FnMut(usize)) -> Result<Score, Box<dyn Error>> {
        self.train.upload_order(&self.gpu, order);
        self.run(true, progress)
    }

    fn test(&mut self) -> Result<Score, Box<dyn Error>> {
        self.run(false, &mut |_| ())
    }
}

fn buffer(gpu: &Gpu, label: &str, size: u64, usage: BufferUsages) -> Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
}

/// Bytes from one `Batch` struct to the next.
fn batch_stride(gpu: &Gpu) -> u64 {
    u64::from(gpu.device.limits().min_uniform_buffer_offset_alignment).max(kernels::BATCH_SIZE)
}

/// The largest bindings against the device's limit.
fn check_limits(gpu: &Gpu, layout: Layout, rows: usize) -> Result<(), Box<dyn Error>> {
    let limit = gpu.device.limits().max_storage_buffer_binding_size;
    for (flags, elements) in [("--hidden", layout.len()), ("--batch-size or --hidden", rows * layout.row())] {
        let bytes = 4 * elements as u64;
        if bytes > limit {
            return Err(format!("{flags}: {bytes} bytes are more than the {limit} that {} binds at once; lower {flags}, or use --device cpu", gpu.name).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
