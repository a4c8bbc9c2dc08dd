//! Copies of device memory to the host, without waiting.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::futures::BoxFuture;
use super::known::Known;
use super::memory::Memory;
use super::owned::Owned;
use crate::abi::Progress;
use crate::error::Error;

/// A value on its way from the device.
///
/// It is a future. It resolves once the encoder that it was recorded in is submitted and the host polls its device; no step
/// waits for it. A native host that polls nowhere else calls [`wait`](Self::wait). To drop it gives its value up; the recorded copy runs
/// all the same, and nothing else changes.
#[must_use = "a readback does nothing unless it is awaited or waited for"]
pub struct Readback<T> {
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "only `wait` needs it"))]
    memory: Memory,
    value: BoxFuture<Result<T, Error>>,
}

impl<T> std::fmt::Debug for Readback<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readback").finish_non_exhaustive()
    }
}

impl<T> Future for Readback<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.value.as_mut().poll(context)
    }
}

impl<T> Readback<T> {
    /// The value that `convert` makes of the contents of all ranges.
    pub(super) fn new(
        memory: &Memory,
        copies: Copies,
        convert: impl FnOnce(&Contents) -> Result<T, Error> + wgpu::WasmNotSend + 'static,
    ) -> Self {
        let settled = memory.clone();
        Self { memory: memory.clone(), value: Box::pin(async move { convert(&copies.read(&settled).await?) }) }
    }

    /// Polls the device until the value is there, and sleeps in between. The encoder must be submitted before.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if the device is lost, and [`Error::ReadbackLost`] if the encoder was dropped or refused, or if the device has
    /// had nothing to do for a second, since the encoder was then never submitted. In a browser [`Error::CannotWait`].
    pub fn wait(self) -> Result<T, Error> {
        self.wait_natively()
    }

    #[cfg(target_arch = "wasm32")]
    fn wait_natively(self) -> Result<T, Error> {
        Err(Error::CannotWait)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn wait_natively(mut self) -> Result<T, Error> {
        use super::futures::poll;
        use std::time::{Duration, Instant};

        /// Pauses grow up to this. Shorter ones would take a core from a software driver.
        const LONGEST_PAUSE: Duration = Duration::from_millis(2);
        const PATIENCE: Duration = Duration::from_secs(1);

        let mut pause = Duration::from_micros(50);
        let mut idle_since = None;
        loop {
            if let Poll::Ready(value) = poll(&mut self.value) {
                return value;
            }
            self.memory.check_alive()?;
            let is_idle = self.memory.poll_device()?;
            if let Poll::Ready(value) = poll(&mut self.value) {
                return value;
            }
            idle_since = if is_idle { idle_since.or_else(|| Some(Instant::now())) } else { None };
            if idle_since.is_some_and(|since| since.elapsed() > PATIENCE) {
                return Err(Error::ReadbackLost);
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// A part of a buffer that is to be copied, in whole 32-bit words.
#[derive(Clone, Copy)]
pub(super) struct Range<'a> {
    pub buffer: &'a wgpu::Buffer,
    pub offset: u64,
    pub size: u64,
}

impl<'a> Range<'a> {
    pub fn whole(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, size: buffer.size() }
    }
}

/// Copies of several ranges, gathered in few buffers: a buffer for each range would take time that grows with the square of
/// their number.
pub(super) struct Copies {
    buffers: Vec<Arriving>,
    /// Each range's buffer and its bytes there.
    places: Vec<(usize, std::ops::Range<usize>)>,
}

/// A buffer on its way from the device.
struct Arriving {
    buffer: Owned,
    arrival: OneshotReceiver<Result<(), wgpu::BufferAsyncError>>,
}

/// Bytes of a buffer of copies, at most, unless a single range is larger.
const GATHERED: u64 = 64 << 20;

impl Copies {
    /// Records the copies after what comes `first`.
    pub fn record(
        memory: &Memory,
        encoder: &mut wgpu::CommandEncoder,
        ranges: &[Range<'_>],
        first: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<Self, Error> {
        let most = GATHERED.min(memory.device.limits().max_buffer_size);
        let mut sizes = vec![0];
        let mut places = Vec::with_capacity(ranges.len());
        for &Range { size, .. } in ranges {
            if sizes[sizes.len() - 1] + size > most && sizes[sizes.len() - 1] > 0 {
                sizes.push(0);
            }
            let number = sizes.len() - 1;
            places.push((number, sizes[number] as usize..(sizes[number] + size) as usize));
            sizes[number] += size;
        }
        // All buffers before the first copy, so that an error leaves the encoder as it was.
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let make = |&size: &u64| memory.owned_zeros([("miadam readback", size)], usage);
        let buffers: Vec<_> = sizes.iter().map(make).collect::<Result<_, _>>()?;
        memory.check_alive()?;
        first(encoder);
        for (&Range { buffer, offset, size }, (number, bytes)) in ranges.iter().zip(&places) {
            if size > 0 {
                encoder.copy_buffer_to_buffer(buffer, offset, &buffers[*number][0], bytes.start as u64, size);
            }
        }
        memory.hold(encoder);
        let buffers = buffers.into_iter().map(|[buffer]| Arriving::record(encoder, buffer)).collect();
        Ok(Self { buffers, places })
    }

    async fn read(self, memory: &Memory) -> Result<Contents, Error> {
        memory.settle().await?;
        let mut views = Vec::with_capacity(self.buffers.len());
        for arriving in self.buffers {
            views.push(arriving.read().await?);
        }
        Ok(Contents { views, places: self.places })
    }
}

impl Arriving {
    fn record(encoder: &mut wgpu::CommandEncoder, buffer: Owned) -> Self {
        let (sender, arrival) = oneshot_channel();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |result| {
            // Nobody waits any more if this fails.
            let _ = sender.send(result);
        });
        Self { buffer, arrival }
    }

    async fn read(self) -> Result<(wgpu::BufferView, Owned), Error> {
        self.arrival.receive().await.ok_or(Error::ReadbackLost)?.map_err(|_| Error::ReadbackLost)?;
        // Dropping the buffer unmaps it; `unmap` itself would panic on a device that is lost by now.
        Ok((mapped(&self.buffer).ok_or(Error::ReadbackLost)?, self.buffer))
    }
}

/// The bytes of all ranges, where the device has put them.
pub(super) struct Contents {
    /// Each view with its buffer, which must outlive it.
    views: Vec<(wgpu::BufferView, Owned)>,
    places: Vec<(usize, std::ops::Range<usize>)>,
}

impl Contents {
    /// The bytes of the range of this number.
    pub fn range(&self, number: usize) -> &[u8] {
        let (view, bytes) = &self.places[number];
        &self.views[*view].0[bytes.clone()]
    }
}

/// A small copy that tells the host that a step has run, if nobody else asks.
pub(super) struct Watch(wgpu::Buffer);

impl Watch {
    pub fn new(memory: &Memory) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let [buffer] = memory.zeros([("miadam watch", size_of::<Progress>() as u64)], usage)?;
        Ok(Self(buffer))
    }

    /// Makes the counts known once the device has reached this point of the encoder. An encoder that is refused may be
    /// submitted all the same, but then copies nothing.
    pub fn record(self, encoder: &mut wgpu::CommandEncoder, progress: &wgpu::Buffer, known: Arc<Known>) {
        let Self(buffer) = self;
        encoder.copy_buffer_to_buffer(progress, 0, &buffer, 0, buffer.size());
        let copy = buffer.clone();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |result| {
            if result.is_ok()
                && let Some(bytes) = mapped(&copy)
            {
                known.raise(&head(&bytes));
            }
        });
    }
}

/// All of a buffer that is mapped, unless its device was lost since. Version 30 of wgpu then gives an error, and version 29
/// panics.
fn mapped(buffer: &wgpu::Buffer) -> Option<wgpu::BufferView> {
    let range = std::panic::AssertUnwindSafe(|| buffer.get_mapped_range(..).view());
    std::panic::catch_unwind(range).ok().flatten()
}

/// A mapped range, which is a view in version 29 of wgpu and a result in version 30.
trait MappedRange {
    fn view(self) -> Option<wgpu::BufferView>;
}

impl MappedRange for wgpu::BufferView {
    fn view(self) -> Option<wgpu::BufferView> {
        Some(self)
    }
}

impl<E> MappedRange for Result<wgpu::BufferView, E> {
    fn view(self) -> Option<wgpu::BufferView> {
        self.ok()
    }
}

/// The value that bytes begin with.
pub(super) fn head<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> T {
    bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()])
}
