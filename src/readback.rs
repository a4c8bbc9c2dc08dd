//! Copies of device state to the host, without waiting.

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use crate::Error;
use crate::gpu::{Memory, PageBuffers};
use crate::layout::{Progress, QUAD, Scaler};
use crate::plan::{StateLayout, Tensor};
use crate::report::KnownStep;
use crate::state::{Planes, State, TensorState};

/// Bytes on their way from the device.
struct Staged {
    buffer: wgpu::Buffer,
    arrival: OneshotReceiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Staged {
    fn new(encoder: &mut wgpu::CommandEncoder, source: &wgpu::Buffer, buffer: wgpu::Buffer) -> Self {
        encoder.copy_buffer_to_buffer(source, 0, &buffer, 0, source.size());
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

/// Records copies of whole buffers, and gives the future of their contents.
fn record(
    memory: &Memory,
    encoder: &mut wgpu::CommandEncoder,
    sources: &[&wgpu::Buffer],
) -> Result<impl Future<Output = Result<Vec<Vec<u8>>, Error>> + use<>, Error> {
    // All buffers before the first copy, so that an error leaves the encoder as it was.
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let make = |source: &&wgpu::Buffer| memory.zeros([("miadam readback", source.size())], usage);
    let buffers: Vec<_> = sources.iter().map(make).collect::<Result<_, _>>()?;
    let staged: Vec<_> =
        sources.iter().zip(buffers).map(|(source, [buffer])| Staged::new(encoder, source, buffer)).collect();
    Ok(async move {
        let mut contents = Vec::with_capacity(staged.len());
        for buffer in staged {
            contents.push(buffer.read().await?);
        }
        Ok(contents)
    })
}

/// The step counter and the state.
#[allow(clippy::too_many_arguments)]
pub(crate) fn record_state(
    memory: &Memory,
    encoder: &mut wgpu::CommandEncoder,
    progress: &wgpu::Buffer,
    pages: &[PageBuffers],
    layout: &StateLayout,
    tensors: &[Tensor],
    named: Vec<(String, Planes)>,
    known: KnownStep,
) -> Result<impl Future<Output = Result<State, Error>> + use<>, Error> {
    let page_buffers = pages.iter().flat_map(|page| [&page.moments, &page.integrals]);
    let sources: Vec<_> = std::iter::once(progress).chain(page_buffers).collect();
    let contents = record(memory, encoder, &sources)?;
    let (layout, tensors) = (layout.clone(), tensors.to_vec());
    Ok(async move {
        let state = assemble(&contents.await?, &layout, &tensors, &named);
        known.raise(state.step);
        Ok(state)
    })
}

/// The step counter with what is counted beside it, and the loss scale.
pub(crate) fn record_progress(
    memory: &Memory,
    encoder: &mut wgpu::CommandEncoder,
    [progress, scaler]: [&wgpu::Buffer; 2],
    known: KnownStep,
) -> Result<impl Future<Output = Result<(Progress, Scaler), Error>> + use<>, Error> {
    let contents = record(memory, encoder, &[progress, scaler])?;
    Ok(async move {
        let contents = contents.await?;
        let progress: Progress = head(&contents[0]);
        known.raise(progress.step);
        Ok((progress, head(&contents[1])))
    })
}

fn head<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> T {
    bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()])
}

/// Puts the planes of every segment where they belong.
fn assemble(contents: &[Vec<u8>], layout: &StateLayout, tensors: &[Tensor], named: &[(String, Planes)]) -> State {
    let Progress { step, .. } = head(&contents[0]);
    let zeros =
        |(tensor, (name, planes)): (&Tensor, &(String, Planes))| TensorState::zeros(name, tensor.len as usize, *planes);
    let mut states: Vec<_> = tensors.iter().zip(named).map(zeros).collect();
    for segment in &layout.segments {
        let [moments, integrals] = [&contents[1 + 2 * segment.page], &contents[2 + 2 * segment.page]];
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
    State { step, tensors: states }
}
