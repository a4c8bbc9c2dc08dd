//! An open GPU, and waiting for it.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wgpu::{
    Adapter, Buffer, BufferDescriptor, BufferUsages, Device, DeviceType, Limits, MapMode, Queue, SubmissionIndex,
};

use crate::adapter::{self, AdapterError};
use crate::wait::wait;

/// After this the GPU counts as hung.
const TIMEOUT: Duration = Duration::from_secs(120);
pub struct Gpu {
    pub device: Device,
    pub queue: Queue,
    /// As people know it, with its backend.
    pub name: String,
    /// The first error that wgpu reported.
    failure: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    /// The best adapter whose name contains `wanted`, hardware or software.
    pub fn open(wanted: Option<&str>) -> Result<Self, AdapterError> {
        Self::of(&adapter::choose(wanted)?)
    }

    /// The best hardware GPU, if there is one: software adapters are slower than the CPU path.
    pub fn open_hardware() -> Result<Option<Self>, AdapterError> {
        match adapter::choose(None) {
            Ok(adapter) if adapter.get_info().device_type != DeviceType::Cpu => Self::of(&adapter).map(Some),
            Ok(_) | Err(AdapterError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(adapter: &Adapter) -> Result<Self, AdapterError> {
        let (device, queue) = adapter::open(adapter, Limits::default())?;
        let name = adapter::description(&adapter.get_info());
        let failure = Arc::new(Mutex::new(None));
        let first = Arc::clone(&failure);
        // Without a handler wgpu panics.
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.to_string());
        }));
        Ok(Self { device, queue, name, failure })
    }

    /// The error of anything done so far.
    pub fn check(&self) -> Result<(), Box<dyn Error>> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: &str) -> Box<dyn Error> {
        format!("{}: {error}; lower --hidden or --batch-size, or use --device cpu", self.name).into()
    }

    /// A zeroed buffer of so many words of four bytes.
    pub fn buffer(&self, label: &str, words: usize, usage: BufferUsages) -> Buffer {
        let size = 4 * words as u64;
        self.device.create_buffer(&BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
    }

    /// Sleeps until the GPU is done.
    pub fn wait(&self, submission: &SubmissionIndex) -> Result<(), Box<dyn Error>> {
        self.check()?;
        wait(&self.device, submission, TIMEOUT)
            .map_err(|error| self.failed(&format!("it does not get done: {error}")))?;
        self.check()
    }

    /// A copy of a buffer's bytes.
    pub fn read(&self, source: &Buffer) -> Result<Vec<u8>, Box<dyn Error>> {
        let copy = self.buffer("copy", source.size() as usize / 4, BufferUsages::COPY_DST | BufferUsages::MAP_READ);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, 0, &copy, 0, source.size());
        let submission = self.queue.submit([encoder.finish()]);
        // A failure shows when the range is asked for.
        copy.map_async(MapMode::Read, .., |_| ());
        self.wait(&submission)?;
        Ok(copy.get_mapped_range(..)?.to_vec())
    }
}
