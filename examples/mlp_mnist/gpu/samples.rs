//! Images and labels on the GPU.

use std::error::Error;

use wgpu::{Buffer, BufferUsages};

use super::device::Gpu;
use super::layout::padded_rows;
use crate::data::Samples;

pub struct DeviceSamples {
    /// A byte per pixel, uploaded once.
    pub images: Buffer,
    /// 16 · image + label of every sample, batch by batch.
    pub samples: Buffer,
    pub len: usize,
    pub batch_size: usize,
    labels: Vec<u8>,
}

impl DeviceSamples {
    /// Uploads the samples to be used in their own order until [`upload_order`](Self::upload_order) says another.
    pub fn new(gpu: &Gpu, samples: &Samples, batch_size: usize) -> Result<Self, Box<dyn Error>> {
        let limit = gpu.device.limits().max_storage_buffer_binding_size;
        if samples.images.len() as u64 > limit {
            let (len, name) = (samples.len(), &gpu.name);
            return Err(format!(
                "--data: {len} images are more than the {limit} bytes that {name} binds at once; use --device cpu"
            )
            .into());
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let slots = samples.len().div_ceil(batch_size) * padded_rows(batch_size);
        let device_samples = Self {
            images: gpu.buffer("images", samples.images.len() / 4, usage),
            samples: gpu.buffer("samples", slots, usage),
            len: samples.len(),
            batch_size,
            labels: samples.labels.clone(),
        };
        gpu.queue.write_buffer(&device_samples.images, 0, &samples.images);
        device_samples.upload_order(gpu, &(0..samples.len() as u32).collect::<Vec<_>>());
        Ok(device_samples)
    }

    pub fn upload_order(&self, gpu: &Gpu, order: &[u32]) {
        let mut slots = Vec::with_capacity(self.samples.size() as usize / 4);
        for batch in order.chunks(self.batch_size) {
            slots.extend(batch.iter().map(|&sample| 16 * sample + u32::from(self.labels[sample as usize])));
            // Rows that pad a batch are computed and not counted; any image will do.
            slots.resize(slots.len().next_multiple_of(padded_rows(1)), 0);
        }
        gpu.queue.write_buffer(&self.samples, 0, bytemuck::cast_slice(&slots));
    }
}
