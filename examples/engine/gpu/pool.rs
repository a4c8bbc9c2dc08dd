//! The pool: tensors are slices of a few large buffers, at multiples of 256 bytes, where any kernel can bind them. It hands slices out
//! one after the other, and takes back all of them at once.

use miadam::Slice as Place;
use miadam::wgpu::{BindingResource, Buffer, BufferBinding, BufferSize, BufferUsages};
use miadam_support::gpu::{Gpu, GpuError};

/// What every device's bindings may begin at (`min_storage_buffer_offset_alignment` of the default limits).
const ALIGNMENT: u64 = 256;

/// A part of a buffer. A clone is the same part, and keeps the buffer alive.
#[derive(Debug, Clone)]
pub struct Slice {
    pub buffer: Buffer,
    pub offset: u64,
    pub size: u64,
}

impl Slice {
    /// For a kernel.
    pub fn resource(&self) -> BindingResource<'_> {
        let Self { buffer, offset, size } = self;
        BindingResource::Buffer(BufferBinding { buffer, offset: *offset, size: BufferSize::new(*size) })
    }

    /// For the optimizer.
    pub fn place(&self) -> Place {
        Place::new(&self.buffer, self.offset)
    }
}

/// Buffers of one size, or larger where a tensor is. There is one more whenever they are full, and none of them moves, so that
/// slices stay where they are. Where a slice lies follows from those before it since the last `reset`, and from nothing else: a
/// run that is resumed finds its gradients where they would have been, and so adds up the same norm.
pub struct Pool {
    label: &'static str,
    usage: BufferUsages,
    chunk: u64,
    buffers: Vec<Buffer>,
    /// The buffer that slices come from now, and what is handed out of it.
    current: usize,
    used: u64,
}

impl Pool {
    pub fn new(label: &'static str, usage: BufferUsages, chunk: u64) -> Self {
        Self { label, usage, chunk, buffers: Vec::new(), current: 0, used: 0 }
    }

    pub fn allocate(&mut self, gpu: &Gpu, size: u64) -> Result<Slice, GpuError> {
        let is_full = |pool: &Self| pool.buffers.get(pool.current).is_some_and(|own| pool.used + size > own.size());
        while is_full(self) {
            self.current += 1;
            self.used = 0;
        }
        if self.current == self.buffers.len() {
            let new = gpu.buffer(self.label, self.chunk.max(size), self.usage)?;
            log::info!("{}: buffer {} of {} bytes", self.label, self.buffers.len(), new.size());
            self.buffers.push(new);
        }
        let slice = Slice { buffer: self.buffers[self.current].clone(), offset: self.used, size };
        self.used += size.next_multiple_of(ALIGNMENT);
        Ok(slice)
    }

    /// Takes back all slices: what is handed out next lies where they do.
    pub fn reset(&mut self) {
        self.current = 0;
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use miadam::wgpu::Limits;

    use super::*;

    /// The buffers of slices of these sizes, by number, and where in them they begin.
    fn places(pool: &mut Pool, gpu: &Gpu, sizes: &[u64]) -> Vec<(usize, u64)> {
        let slices: Vec<_> = sizes.iter().map(|&size| pool.allocate(gpu, size).unwrap()).collect();
        let number = |slice: &Slice| pool.buffers.iter().position(|buffer| *buffer == slice.buffer).unwrap();
        slices.iter().map(|slice| (number(slice), slice.offset)).collect()
    }

    #[test]
    fn slices_are_aligned_and_fill_one_buffer_after_the_other() {
        let Some(gpu) = Gpu::for_test(Limits::default()) else { return };
        let mut pool = Pool::new("pool", BufferUsages::STORAGE, 1024);
        let sizes = [4, 256, 300, 512, 4096, 4];
        let expected = [(0, 0), (0, 256), (0, 512), (1, 0), (2, 0), (3, 0)];
        assert_eq!(places(&mut pool, &gpu, &sizes), expected);
        // The same again lies where it lay, and so does what a fresh pool hands out.
        pool.reset();
        assert_eq!(places(&mut pool, &gpu, &sizes), expected);
        assert_eq!(pool.buffers.len(), 4);
        pool.reset();
        let mut fresh = Pool::new("pool", BufferUsages::STORAGE, 1024);
        let others = [512, 512, 512, 4, 1024];
        assert_eq!(places(&mut pool, &gpu, &others), places(&mut fresh, &gpu, &others));
    }
}
