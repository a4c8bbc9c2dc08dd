//! Everything that is made on the host's device, inside error scopes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use super::futures::{BoxFuture, poll};
use super::owned::{Commands, Eras, Owned};
use super::probe::Probe;
use crate::error::Error;

/// The host's device and queue, and the answers of error scopes.
///
/// Natively a scope answers at once. In a browser it answers later: its answer is pending until
/// [`settle`](Self::settle) awaits it, or until a later call finds it.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// The host's own knowledge of a loss.
    pub lost: Option<Arc<AtomicBool>>,
    pending: Arc<Mutex<Vec<Pending>>>,
    probe: Probe,
    eras: Eras,
}

/// An operation whose error scope has not answered yet.
struct Pending {
    operation: Operation,
    answer: BoxFuture<Option<wgpu::Error>>,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pending").field(&self.operation.name).finish()
    }
}

/// Something that wgpu may refuse.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    /// The verb and its object, for the error.
    name: &'static str,
    /// Bytes that it asks for.
    bytes: u64,
}

impl Operation {
    fn error(self, error: &wgpu::Error) -> Error {
        match error {
            wgpu::Error::OutOfMemory { .. } if self.bytes > 0 => Error::OutOfMemory { bytes: self.bytes },
            other => Error::Gpu { operation: self.name, reason: one_line(&other.to_string()) },
        }
    }
}

impl Memory {
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self {
            device: device.clone(),
            queue: queue.clone(),
            lost: None,
            pending: Arc::default(),
            probe: Default::default(),
            eras: Default::default(),
        }
    }

    /// Runs `make`, and returns what wgpu objected to, if anything. Errors never reach the host's handler.
    pub fn scoped<T>(&self, name: &'static str, bytes: u64, make: impl FnOnce() -> T) -> Result<T, Error> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let operation = Operation { name, bytes };
        let scopes = [OutOfMemory, Internal, Validation].map(|filter| self.device.push_error_scope(filter));
        let mut made = Ok(make());
        // Guards are popped in the reverse order of their making.
        for scope in scopes.into_iter().rev() {
            let mut answer: BoxFuture<_> = Box::pin(scope.pop());
            match poll(&mut answer) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(error)) => made = Err(operation.error(&error)),
                Poll::Pending => self.lock_pending().push(Pending { operation, answer }),
            }
        }
        // A device that was lost a moment ago refuses its own objects, for whatever reason it says.
        if made.is_err() {
            self.check_alive()?;
        }
        made
    }

    /// Awaits the answers that are pending. Gives the first error among them, unless the device is lost.
    pub async fn settle(&self) -> Result<(), Error> {
        let pending = std::mem::take(&mut *self.lock_pending());
        let mut result = Ok(());
        for Pending { operation, answer } in pending {
            if let Some(error) = answer.await {
                result = result.and(Err(operation.error(&error)));
            }
        }
        self.probe.settle(&self.device).await?;
        result
    }

    /// Looks at the answers that have come meanwhile. Gives the first error among them.
    fn take_answers(&self) -> Result<(), Error> {
        let mut result = Ok(());
        self.lock_pending().retain_mut(|Pending { operation, answer }| match poll(answer) {
            Poll::Pending => true,
            Poll::Ready(None) => false,
            Poll::Ready(Some(error)) => {
                result = std::mem::replace(&mut result, Ok(())).and(Err(operation.error(&error)));
                false
            }
        });
        result
    }

    fn lock_pending(&self) -> std::sync::MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out whether the device is lost, without polling it, which would panic. It is asked before an operation, and again
    /// before anything is recorded: an object that was made on a lost device would spoil the caller's encoder. In a browser
    /// refusals that have come meanwhile are errors here, too.
    pub fn check_alive(&self) -> Result<(), Error> {
        if self.lost.as_ref().is_some_and(|lost| lost.load(Ordering::Relaxed)) {
            return Err(Error::DeviceLost);
        }
        self.probe.check(&self.device)?;
        self.take_answers()
    }

    /// Lets commands that are being recorded hold what is owned until they have run, or are dropped.
    pub fn hold(&self, commands: &impl Commands) {
        if let Some(hold) = self.eras.hold() {
            commands.when_run(hold);
        }
    }

    /// Polls the device once. Says whether it has nothing left to do.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn poll_device(&self) -> Result<bool, Error> {
        // wgpu panics where the driver loses the device at this very moment.
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.device.poll(wgpu::PollType::Poll)));
        match polled {
            Ok(Ok(status)) => Ok(status.is_queue_empty()),
            Ok(Err(_)) => Ok(false),
            Err(_) => Err(Error::DeviceLost),
        }
    }

    /// Buffers of the given labels and sizes, all 0, or an error and none of them. Sizes are raised to at least 16, since
    /// an empty buffer cannot be bound.
    pub fn zeros<const N: usize>(
        &self,
        buffers: [(&'static str, u64); N],
        usage: wgpu::BufferUsages,
    ) -> Result<[wgpu::Buffer; N], Error> {
        const LEAST: u64 = 16;
        let total = buffers.iter().map(|(_, size)| size.max(&LEAST)).sum();
        self.scoped("create buffers", total, || {
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

    /// [`zeros`](Self::zeros) that take much memory.
    pub fn owned_zeros<const N: usize>(
        &self,
        buffers: [(&'static str, u64); N],
        usage: wgpu::BufferUsages,
    ) -> Result<[Owned; N], Error> {
        Ok(self.zeros(buffers, usage)?.map(|buffer| Owned::new(buffer, &self.eras)))
    }

    /// A read-only storage buffer with the given contents from the queue's next submission on.
    pub fn filled<T: bytemuck::NoUninit>(&self, label: &'static str, contents: &[T]) -> Result<wgpu::Buffer, Error> {
        let contents: &[u8] = bytemuck::cast_slice(contents);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let [buffer] = self.zeros([(label, contents.len() as u64)], usage)?;
        self.write(&buffer, 0, contents)?;
        Ok(buffer)
    }

    /// Writes before the queue's next submission.
    pub fn write(&self, buffer: &wgpu::Buffer, offset: u64, contents: &[u8]) -> Result<(), Error> {
        self.scoped("write a buffer", contents.len() as u64, || self.queue.write_buffer(buffer, offset, contents))
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
