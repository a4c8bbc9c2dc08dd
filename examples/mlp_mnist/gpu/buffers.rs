//! All that lives on the GPU, but for images and labels.

use std::error::Error;

use miadam::Dtype;
use wgpu::{BindGroup, Buffer, BufferUsages};

use super::device::Gpu;
use super::kernels::{BATCH_BYTES, Kernels};
use super::layout::{CLASSES_PADDED, Layout, padded_rows};
use super::samples::DeviceSamples;
use crate::network::Score;

/// Named as in common.wgsl.
pub struct Buffers {
    pub batches: Buffer,
    pub params: Buffer,
    pub hidden: Buffer,
    pub dlogits: Buffer,
    pub dhidden: Buffer,
    pub grads: Buffer,
    pub totals: Buffer,
    /// Bytes from one `Batch` to the next in `batches`.
    stride: usize,
}

impl Buffers {
    /// For weights and gradients of a type, batches of at most so many rows, and at most so many batches in a submit.
    pub fn new(gpu: &Gpu, layout: Layout, dtype: Dtype, rows: usize, batches: usize) -> Result<Self, Box<dyn Error>> {
        let limits = gpu.device.limits();
        let limit = limits.max_storage_buffer_binding_size;
        // Whole quads, and so whole words.
        let words = layout.len() * dtype.width() as usize / 4;
        for (flags, words) in [("--hidden", words), ("--batch-size or --hidden", rows * layout.row())] {
            let bytes = 4 * words as u64;
            if bytes > limit {
                let name = &gpu.name;
                return Err(format!(
                    "{name} binds at most {limit} bytes, not {bytes}; lower {flags}, or use --device cpu"
                )
                .into());
            }
        }

        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let stride = BATCH_BYTES.max(limits.min_uniform_buffer_offset_alignment as usize);
        Ok(Self {
            batches: gpu.buffer("batches", stride / 4 * batches, BufferUsages::UNIFORM | BufferUsages::COPY_DST),
            params: gpu.buffer("params", words, usage),
            hidden: gpu.buffer("hidden", rows * layout.row(), usage),
            dlogits: gpu.buffer("dlogits", rows * CLASSES_PADDED, usage),
            dhidden: gpu.buffer("dhidden", rows * layout.row(), usage),
            grads: gpu.buffer("grads", words, usage),
            totals: gpu.buffer("totals", rows * 2, usage),
            stride,
        })
    }

    pub fn bind(&self, gpu: &Gpu, kernels: &Kernels, samples: &DeviceSamples, loss_scale: &Buffer) -> BindGroup {
        let Self { batches, params, hidden, dlogits, dhidden, grads, totals, .. } = self;
        let storage = [&samples.images, &samples.samples, params, hidden, dlogits, dhidden, grads, totals];
        kernels.bind(&gpu.device, batches, storage, loss_scale)
    }

    /// Lets `totals` begin with these sums, in the first rows.
    pub fn write_totals(&self, gpu: &Gpu, sums: &[Score]) {
        let rows = self.totals.size() as usize / 8;
        let mut totals = vec![Score::default(); rows];
        // As many as there are rows, unless another device has saved them.
        for (index, &sum) in sums.iter().enumerate() {
            totals[index % rows].add(sum);
        }
        let totals: Vec<_> = totals.iter().map(|total| [total.loss as f32, total.accuracy as f32]).collect();
        gpu.queue.write_buffer(&self.totals, 0, bytemuck::cast_slice(&totals));
    }

    pub fn read_totals(&self, gpu: &Gpu) -> Result<Vec<Score>, Box<dyn Error>> {
        let totals = bytemuck::pod_collect_to_vec::<u8, f32>(&gpu.read(&self.totals)?);
        let score = |&[loss, accuracy]: &[f32; 2]| Score { loss: loss.into(), accuracy: accuracy.into() };
        Ok(totals.as_chunks().0.iter().map(score).collect())
    }

    /// Where in `batches` the next submit's batch of this index lies.
    pub fn batch_offset(&self, index: usize) -> u32 {
        (index * self.stride) as u32
    }

    /// Sets the `Batch` structs of the next submit: batches of these sizes, one after the other in `samples`.
    pub fn write_batches(&self, gpu: &Gpu, mut first: usize, sizes: &[usize]) {
        let mut bytes = vec![0; self.stride * sizes.len()];
        for (slot, &len) in bytes.chunks_exact_mut(self.stride).zip(sizes) {
            slot[..BATCH_BYTES].copy_from_slice(bytemuck::cast_slice(&[first as u32, len as u32]));
            first += padded_rows(len);
        }
        gpu.queue.write_buffer(&self.batches, 0, &bytes);
    }
}
