//! The question whether the device is lost, which must not take a poll: that would panic on a lost one.

use super::futures::BoxFuture;

#[cfg(target_arch = "wasm32")]
pub(super) use browser::Probe;
#[cfg(not(target_arch = "wasm32"))]
pub(super) use native::Probe;

/// Asks the device for a buffer without a usage, which is impossible. A living device refuses it, a lost one swallows all
/// errors: then the answer is `None`.
fn ask(device: &wgpu::Device) -> BoxFuture<Option<wgpu::Error>> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let impossible = wgpu::BufferUsages::empty();
    let descriptor = wgpu::BufferDescriptor { label: None, size: 4, usage: impossible, mapped_at_creation: false };
    drop(device.create_buffer(&descriptor));
    Box::pin(scope.pop())
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::task::Poll;

    use super::super::futures::poll;
    use crate::error::Error;

    /// It is asked anew each time, since the answer comes at once.
    #[derive(Debug, Clone, Default)]
    pub struct Probe;

    impl Probe {
        pub fn check(&self, device: &wgpu::Device) -> Result<(), Error> {
            match poll(&mut super::ask(device)) {
                Poll::Ready(None) => Err(Error::DeviceLost),
                Poll::Ready(Some(_)) | Poll::Pending => Ok(()),
            }
        }

        pub async fn settle(&self, device: &wgpu::Device) -> Result<(), Error> {
            self.check(device)
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod browser {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::task::Poll;

    use super::super::futures::{BoxFuture, poll};
    use crate::error::Error;

    /// The answer comes later. It is asked again with each answer, so that a loss is found a little after it has come.
    #[derive(Clone, Default)]
    pub struct Probe {
        asked: Rc<RefCell<Option<BoxFuture<Option<wgpu::Error>>>>>,
        is_lost: Rc<Cell<bool>>,
    }

    impl std::fmt::Debug for Probe {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Probe").field("is_lost", &self.is_lost).finish_non_exhaustive()
        }
    }

    impl Probe {
        /// Looks at the last answer.
        pub fn check(&self, device: &wgpu::Device) -> Result<(), Error> {
            let mut asked = self.asked.borrow_mut();
            match asked.as_mut().map(poll) {
                Some(Poll::Pending) => return self.result(),
                Some(Poll::Ready(answer)) => self.is_lost.set(self.is_lost.get() || answer.is_none()),
                None => {}
            }
            *asked = Some(super::ask(device));
            self.result()
        }

        /// Asks, and awaits the answer.
        pub async fn settle(&self, device: &wgpu::Device) -> Result<(), Error> {
            let answer = super::ask(device).await;
            self.is_lost.set(self.is_lost.get() || answer.is_none());
            self.result()
        }

        fn result(&self) -> Result<(), Error> {
            if self.is_lost.get() { Err(Error::DeviceLost) } else { Ok(()) }
        }
    }
}
