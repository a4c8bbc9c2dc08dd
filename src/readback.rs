//! Copies of device memory to the host, without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use crate::Error;
use crate::gpu::Memory;
use crate::layout::{Progress, QUAD};
use crate::plan::{StateLayout, Tensor};
use crate::state::{Planes, TensorState};

/// A part of a buffer that is to be copied, in whole 32-bit words.
#[derive(Clone, Copy)]
pub(crate) struct Range<'a> {
    pub buffer: &'a wgpu::Buffer,
    pub offset: u64,
    pub size: u64,
}

impl<'a> Range<'a> {
    pub fn whole(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, size: buffer.size() }
    }
}

/// Bytes on their way from the device.
struct Staged {
    buffer: wgpu::Buffer,
    arrival: OneshotReceiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Staged {
    fn new(
        encoder: &mut wgpu::CommandEncoder,
        Range { buffer: source, offset, size }: &Range<'_>,
        buffer: wgpu::Buffer,
    ) -> Self {
        if *size > 0 {
            encoder.copy_buffer_to_buffer(source, *offset, &buffer, 0, *size);
        }
        let (sender, arrival) = oneshot_channel();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |result| {
            // Nobody waits any more if this fails.
            let _ = sender.send(result);
        });
        Self { buffer, arrival }
    }

    async fn read(self) -> Result<Vec<u8>, Error> {
        self.arrival.receive().await.ok_or(Error::ReadbackLost)?.map_err(|_| Error::ReadbackLost)?;
        let bytes = self.buffer.get_mapped_range(..).map_err(|_| Error::ReadbackLost)?.to_vec();
        self.buffer.unmap();
        Ok(bytes)
    }
}

/// Tells the host that a step has run, if nobody else asks.
pub(crate) struct Watch(wgpu::Buffer);

impl Watch {
    pub fn new(memory: &Memory) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let [buffer] = memory.zeros([("miadam watch", size_of::<Progress>() as u64)], usage)?;
        Ok(Self(buffer))
    }

    /// Sets the flag once this point of the encoder has been reached after a step. An encoder that is refused is submitted all the
    /// same, but copies nothing.
    pub fn record(self, encoder: &mut wgpu::CommandEncoder, progress: &wgpu::Buffer, advanced: Arc<AtomicBool>) {
        let Self(buffer) = self;
        encoder.copy_buffer_to_buffer(progress, 0, &buffer, 0, buffer.size());
        let mapped = buffer.clone();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |result| {
            if result.is_ok()
                && let Ok(bytes) = mapped.get_mapped_range(..)
            {
                advanced.fetch_or(head::<Progress>(&bytes).advanced == 1, Ordering::Relaxed);
            }
        });
    }
}

/// Records the copies, and gives the future of their contents. Of an empty range there are a few bytes.
pub(crate) fn record(
    memory: &Memory,
    encoder: &mut wgpu::CommandEncoder,
    ranges: &[Range<'_>],
) -> Result<impl Future<Output = Result<Vec<Vec<u8>>, Error>> + use<>, Error> {
    // All buffers before the first copy, so that an error leaves the encoder as it was.
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let make = |range: &Range<'_>| memory.zeros([("miadam readback", range.size)], usage);
    let buffers: Vec<_> = ranges.iter().map(make).collect::<Result<_, _>>()?;
    let staged: Vec<_> =
        ranges.iter().zip(buffers).map(|(range, [buffer])| Staged::new(encoder, range, buffer)).collect();
    Ok(async move {
        let mut contents = Vec::with_capacity(staged.len());
        for buffer in staged {
            contents.push(buffer.read().await?);
        }
        Ok(contents)
    })
}

/// The value that bytes begin with.
pub(crate) fn head<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> T {
    bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()])
}

/// Where the planes of every parameter's state lie in its pages.
pub(crate) struct StatePlanes {
    pub layout: StateLayout,
    pub tensors: Vec<Tensor>,
    /// Each parameter's name, and the planes it has.
    pub named: Vec<(String, Planes)>,
}

impl StatePlanes {
    /// Puts the planes of every segment where they belong, from each page's moments and integrals.
    pub fn assemble(&self, contents: &[Vec<u8>]) -> Vec<TensorState> {
        let zeros = |(tensor, (name, planes)): (&Tensor, &(String, Planes))| {
            TensorState::zeros(name, tensor.len as usize, *planes)
        };
        let mut states: Vec<_> = self.tensors.iter().zip(&self.named).map(zeros).collect();
        for segment in &self.layout.segments {
            let [moments, integrals] = [&contents[2 * segment.page], &contents[2 * segment.page + 1]];
            let (mut next_moment, mut next_integral) = (segment.moments, segment.integrals);
            for plane in states[segment.tensor].planes_mut(segment.start as usize, segment.len as usize) {
                let (source, next) =
                    if plane.is_integral { (integrals, &mut next_integral) } else { (moments, &mut next_moment) };
                let first = (*next * QUAD * 4) as usize;
                let bytes = &source[first..first + 4 * plane.values.len()];
                bytemuck::cast_slice_mut(plane.values).copy_from_slice(bytes);
                *next += segment.stride;
            }
        }
        states
    }
}
