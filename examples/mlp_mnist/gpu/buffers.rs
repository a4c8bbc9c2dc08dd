//! What a batch is computed with and in.

use std::error::Error;

use miadam::Dtype;
use miadam::wgpu::{Buffer, BufferUsages};
use miadam_support::gpu::{Gpu, GpuError};
use miadam_support::mnist::network::{Score, Weights};
use miadam_support::values::Values;

use super::layout::{CLASSES_PADDED, Layout};

/// The names are those of common.wgsl.
pub struct Buffers {
    pub params: Buffer,
    pub hidden: Buffer,
    pub dlogits: Buffer,
    pub dhidden: Buffer,
    pub grads: Buffer,
    pub totals: Buffer,
}

impl Buffers {
    /// Buffers for these weights and their gradients, both stored as `dtype`, and for batches of at most so many rows.
    pub fn new(
        gpu: &Gpu,
        layout: Layout,
        dtype: Dtype,
        weights: &Weights,
        rows: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let params = Values::new(dtype, &layout.pack(weights)).bytes();
        let activations = 4 * rows * layout.row();
        let limit = gpu.device.limits().max_storage_buffer_binding_size;
        for (flags, bytes) in [("--hidden", params.len()), ("--batch-size or --hidden", activations)] {
            if bytes as u64 > limit {
                let name = &gpu.name;
                return Err(format!(
                    "{name} binds at most {limit} bytes, not {bytes}; lower {flags}, or use --device cpu"
                )
                .into());
            }
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let buffer = |label, bytes: usize| gpu.buffer(label, bytes as u64, usage);
        Ok(Self {
            hidden: buffer("hidden", activations)?,
            dlogits: buffer("dlogits", 4 * rows * CLASSES_PADDED)?,
            dhidden: buffer("dhidden", activations)?,
            grads: buffer("grads", params.len())?,
            totals: buffer("totals", 8 * rows)?,
            params: gpu.buffer_with("params", &params, usage)?,
        })
    }

    /// Lets `totals` begin with these sums, in the first rows.
    pub fn write_totals(&self, gpu: &Gpu, sums: &[Score]) -> Result<(), GpuError> {
        let rows = self.totals.size() as usize / 8;
        let mut totals = vec![Score::default(); rows];
        // There are as many sums as rows, unless another device has saved them.
        for (index, &sum) in sums.iter().enumerate() {
            totals[index % rows].add(sum);
        }
        let totals: Vec<_> = totals.iter().map(|total| [total.loss as f32, total.accuracy as f32]).collect();
        gpu.write(&self.totals, 0, bytemuck::cast_slice(&totals))
    }

    pub fn read_totals(&self, gpu: &Gpu) -> Result<Vec<Score>, GpuError> {
        let totals = bytemuck::pod_collect_to_vec::<u8, f32>(&gpu.read(&self.totals)?);
        let score = |&[loss, accuracy]: &[f32; 2]| Score { loss: loss.into(), accuracy: accuracy.into() };
        Ok(totals.as_chunks().0.iter().map(score).collect())
    }
}
