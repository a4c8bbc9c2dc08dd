//! An open GPU: its buffers, and waiting for what it does.

use std::time::{Duration, Instant};

use miadam::wgpu::{
    Adapter, AdapterInfo, Buffer, BufferDescriptor, BufferUsages, CommandEncoder, Device, Limits, MapMode, Queue,
};

use crate::adapter::{self, AdapterError};
use crate::guard::guard;
use crate::wait::{wait, wait_polling};

/// How long one submission may take, before the GPU counts as hung. A software device needs about a second for a billion
/// bytes.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What the device did not do.
#[derive(Debug, thiserror::Error)]
#[error("the device failed to {operation}: {reason}")]
pub struct GpuError {
    pub operation: &'static str,
    pub reason: String,
}

/// A device with its queue. A clone is the same device.
#[derive(Clone)]
pub struct Gpu {
    pub device: Device,
    pub queue: Queue,
    pub info: AdapterInfo,
    /// As people know it, with its backend.
    pub name: String,
    is_shared: bool,
}

impl Gpu {
    /// # Errors
    /// If the adapter gives no such device.
    pub fn open(adapter: &Adapter, limits: Limits) -> Result<Self, AdapterError> {
        let (device, queue) = adapter::open(adapter, limits)?;
        let info = adapter.get_info();
        Ok(Self { device, queue, name: adapter::description(&info), info, is_shared: false })
    }

    /// For tests: none only where MIADAM_ALLOW_NO_ADAPTER says that this is all right. It is [shared](Self::shared).
    ///
    /// # Panics
    /// If there is none otherwise.
    pub fn for_test(limits: Limits) -> Option<Self> {
        adapter::for_test().map(|adapter| Self::open(&adapter, limits).expect("the adapter gives a device").shared())
    }

    /// The same for several threads, which may wait for it at once: see [`wait_polling`].
    pub fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }

    /// Runs `act`, and returns what the device objected to.
    ///
    /// # Errors
    /// "The device failed to" `operation`, and why.
    pub fn guard<T>(&self, operation: &'static str, act: impl FnOnce() -> T) -> Result<T, GpuError> {
        guard(&self.device, act).map_err(|error| GpuError { operation, reason: error.to_string() })
    }

    /// A zeroed buffer of whole words, and of one at least, since an empty buffer cannot be mapped.
    ///
    /// # Errors
    /// If the device has no room for it, or never has so large a one.
    pub fn buffer(&self, label: &str, size: u64, usage: BufferUsages) -> Result<Buffer, GpuError> {
        let operation = "create a buffer";
        let most = self.device.limits().max_buffer_size;
        if size > most {
            let reason = format!("a buffer of {size} bytes is above the adapter's {most}");
            return Err(GpuError { operation, reason });
        }
        let size = size.max(1).next_multiple_of(4);
        let descriptor = BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        self.guard(operation, || self.device.create_buffer(&descriptor))
    }

    /// A buffer that holds these bytes.
    ///
    /// # Errors
    /// As [`Self::buffer`] and [`Self::write`].
    pub fn buffer_with(&self, label: &str, bytes: &[u8], usage: BufferUsages) -> Result<Buffer, GpuError> {
        let buffer = self.buffer(label, bytes.len() as u64, usage | BufferUsages::COPY_DST)?;
        self.write(&buffer, 0, bytes)?;
        Ok(buffer)
    }

    /// Writes before the next submission, zeros up to the next whole word included.
    ///
    /// # Errors
    /// If the bytes do not fit there.
    pub fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<(), GpuError> {
        let (words, rest) = bytes.as_chunks::<4>();
        self.guard("take what is written to a buffer", || {
            self.queue.write_buffer(buffer, offset, words.as_flattened());
            if !rest.is_empty() {
                let mut last = [0; 4];
                last[..rest.len()].copy_from_slice(rest);
                self.queue.write_buffer(buffer, offset + 4 * words.len() as u64, &last);
            }
        })
    }

    /// Whether the device is lost. A living one refuses a buffer without a usage; a lost one swallows all errors.
    pub fn is_lost(&self) -> bool {
        let impossible = BufferUsages::empty();
        let descriptor = BufferDescriptor { label: None, size: 4, usage: impossible, mapped_at_creation: false };
        self.guard("refuse a buffer", || drop(self.device.create_buffer(&descriptor))).is_ok()
    }

    pub fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// Submits and waits. Gives the time from the submission to its end.
    ///
    /// # Errors
    /// If the commands are wrong, or if they do not end.
    pub fn run(&self, encoder: CommandEncoder) -> Result<Duration, GpuError> {
        let (start, submission) = self.guard("run its commands", || {
            let commands = encoder.finish();
            (Instant::now(), self.queue.submit([commands]))
        })?;
        let waited = match self.is_shared {
            true => wait_polling(&self.device, &self.queue, TIMEOUT),
            false => wait(&self.device, &submission, TIMEOUT),
        };
        match waited {
            Ok(()) => Ok(start.elapsed()),
            Err(error) => Err(GpuError { operation: "finish its commands", reason: error.to_string() }),
        }
    }

    /// A copy of what is in a buffer, which needs the usage `COPY_SRC`.
    ///
    /// # Errors
    /// If the device has no room for a copy, or as [`Self::run`].
    pub fn read(&self, buffer: &Buffer) -> Result<Vec<u8>, GpuError> {
        self.read_part(buffer, 0, buffer.size())
    }

    /// A copy of some whole words in a buffer.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_part(&self, buffer: &Buffer, offset: u64, size: u64) -> Result<Vec<u8>, GpuError> {
        let copy = self.buffer("copy", size, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, offset, &copy, 0, size);
        // A failure shows when the range is asked for.
        encoder.map_buffer_on_submit(&copy, MapMode::Read, .., |_| ());
        self.run(encoder)?;
        let range = copy.get_mapped_range(..);
        let range = range.map_err(|error| GpuError { operation: "read a buffer", reason: error.to_string() })?;
        Ok(range.to_vec())
    }
}
