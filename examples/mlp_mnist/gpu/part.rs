//! The training or the test samples on the GPU.

use std::error::Error;
use std::ops::Range;

use miadam::wgpu::{BindGroup, Buffer, BufferUsages, ComputePass};
use miadam_support::gpu::{Gpu, GpuError};
use miadam_support::mnist::data::Samples;

use super::buffers::Buffers;
use super::kernels::{BATCH_BYTES, Kernels};
use super::layout::padded_rows;

pub struct Part {
    /// The number of samples.
    pub len: usize,
    pub batch_size: usize,
    labels: Vec<u8>,
    /// `samples` of common.wgsl.
    slots: Buffer,
    bindings: BindGroup,
    /// Bytes from one `Batch` to the next.
    stride: usize,
}

impl Part {
    /// Uploads the samples to be used in their own order until [`upload_order`](Self::upload_order) says another.
    pub fn new(
        gpu: &Gpu,
        samples: &Samples,
        batch_size: usize,
        kernels: &Kernels,
        buffers: &Buffers,
        loss_scale: &Buffer,
    ) -> Result<Self, Box<dyn Error>> {
        let (len, limits) = (samples.len(), gpu.device.limits());
        let limit = limits.max_storage_buffer_binding_size;
        if samples.images.len() as u64 > limit {
            let name = &gpu.name;
            return Err(format!(
                "--data: {len} images are more than the {limit} bytes that {name} binds at once; use --device cpu"
            )
            .into());
        }
        let (count, rows) = (len.div_ceil(batch_size), padded_rows(batch_size));
        let stride = BATCH_BYTES.max(limits.min_uniform_buffer_offset_alignment as usize);
        let mut batches = vec![0; stride * count];
        for (index, slot) in batches.chunks_exact_mut(stride).enumerate() {
            let batch = [index * rows, batch_size.min(len - index * batch_size)].map(|number| number as u32);
            slot[..BATCH_BYTES].copy_from_slice(bytemuck::cast_slice(&batch));
        }
        let batches = gpu.buffer_with("batches", &batches, BufferUsages::UNIFORM)?;
        // They have a byte per pixel, and are uploaded once.
        let images = gpu.buffer_with("images", &samples.images, BufferUsages::STORAGE)?;
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let slots = gpu.buffer("samples", (4 * count * rows) as u64, usage)?;
        let Buffers { params, hidden, dlogits, dhidden, grads, totals } = buffers;
        let bound = [&batches, &images, &slots, params, hidden, dlogits, dhidden, grads, totals, loss_scale];
        let bindings = gpu.guard("bind its buffers", || kernels.bind(&gpu.device, bound))?;
        let part = Self { len, batch_size, labels: samples.labels.clone(), slots, bindings, stride };
        part.upload_order(gpu, &(0..len as u32).collect::<Vec<_>>())?;
        Ok(part)
    }

    pub fn upload_order(&self, gpu: &Gpu, order: &[u32]) -> Result<(), GpuError> {
        let mut slots = Vec::with_capacity(self.slots.size() as usize / 4);
        for batch in order.chunks(self.batch_size) {
            slots.extend(batch.iter().map(|&sample| 16 * sample + u32::from(self.labels[sample as usize])));
            // The rows that pad a batch are computed and not counted, so that any image will do.
            slots.resize(padded_rows(slots.len()), 0);
        }
        gpu.write(&self.slots, 0, bytemuck::cast_slice(&slots))
    }

    /// Batches in a pass.
    pub fn count(&self) -> usize {
        self.len.div_ceil(self.batch_size)
    }

    /// Samples in these batches of a pass.
    pub fn samples(&self, batches: Range<usize>) -> usize {
        self.len.min(batches.end * self.batch_size) - batches.start * self.batch_size
    }

    /// Lets what comes next in the pass be for this batch.
    pub fn bind(&self, pass: &mut ComputePass<'_>, batch: usize) {
        pass.set_bind_group(0, &self.bindings, &[(batch * self.stride) as u32]);
    }
}
