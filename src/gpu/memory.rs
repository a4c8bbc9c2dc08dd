use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use crate::Error;

/// Runs `make` and returns what wgpu objected to, if anything. Errors never reach the host's handler.
pub(crate) fn scoped<T>(
    device: &wgpu::Device,
    operation: &'static str,
    bytes: u64,
    make: impl FnOnce() -> T,
) -> Result<T, Error> {
    use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
    let scopes = [OutOfMemory, Internal, Validation].map(|filter| device.push_error_scope(filter));
    let made = make();
    let mut found = Ok(made);
    // Guards are popped in the reverse order of their making.
    for scope in scopes.into_iter().rev() {
        if let Some(error) = ready(scope.pop()).flatten() {
            found = Err(match error {
                wgpu::Error::OutOfMemory { .. } if bytes > 0 => Error::OutOfMemory { bytes },
                other => Error::Gpu { operation, reason: one_line(&other.to_string()) },
            });
        }
    }
    found
}

/// The value of a future that is ready at once. Natively a popped scope always is; in a browser it is not, and
/// blocking on it is impossible, so that there such an error shows only in the browser's console.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Makes buffers on the host's device.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// The host's own knowledge of a loss.
    pub lost: Option<Arc<AtomicBool>>,
}

impl Memory {
    /// Finds a lost device out without polling it, which would panic: one that is there refuses a buffer without a
    /// usage, a lost one swallows all errors. In a browser the answer comes too late, and is taken for yes.
    pub fn check_alive(&self) -> Result<(), Error> {
        if self.lost.as_ref().is_some_and(|lost| lost.load(Ordering::Relaxed)) {
            return Err(Error::DeviceLost);
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let impossible = wgpu::BufferUsages::empty();
        let descriptor = wgpu::BufferDescriptor { label: None, size: 4, usage: impossible, mapped_at_creation: false };
        drop(self.device.create_buffer(&descriptor));
        match ready(scope.pop()) {
            Some(None) => Err(Error::DeviceLost),
            Some(Some(_)) | None => Ok(()),
        }
    }

    /// Buffers of the given labels and sizes, all 0, or an error and none of them. Sizes are raised to `least`,
    /// since an empty buffer cannot be bound.
    pub fn zeros<const N: usize>(
        &self,
        buffers: [(&'static str, u64); N],
        usage: wgpu::BufferUsages,
    ) -> Result<[wgpu::Buffer; N], Error> {
        const LEAST: u64 = 16;
        let total = buffers.iter().map(|(_, size)| size.max(&LEAST)).sum();
        scoped(&self.device, "create buffers", total, || {
            buffers.map(|(label, size)| {
                self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size: size.max(LEAST),
                    usage,
                    // Mapping at creation panics where the memory is not to be had.
                    mapped_at_creation: false,
                })
            })
        })
    }

    /// A read-only storage buffer with the given contents from the queue's next submission on.
    pub fn filled<T: bytemuck::NoUninit>(&self, label: &'static str, contents: &[T]) -> Result<wgpu::Buffer, Error> {
        let contents: &[u8] = bytemuck::cast_slice(contents);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let [buffer] = self.zeros([(label, contents.len() as u64)], usage)?;
        self.write(&buffer, 0, contents)?;
        Ok(buffer)
    }

    /// Writes before the queue's next submission.
    pub fn write(&self, buffer: &wgpu::Buffer, offset: u64, contents: &[u8]) -> Result<(), Error> {
        scoped(&self.device, "write a buffer", contents.len() as u64, || {
            self.queue.write_buffer(buffer, offset, contents);
        })
    }
}
