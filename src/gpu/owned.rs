//! The optimizer's own buffers that take much memory, and when they are freed.
//!
//! Natively wgpu frees a buffer with its last user, and recorded commands are users. A browser frees it when its garbage
//! collector finds it, which may be never in time, or when somebody destroys it. Recorded commands that use a destroyed buffer
//! can no longer be submitted. So in a browser the last owner destroys a buffer, but not before the commands that were recorded
//! until then have run or were dropped.

use std::ops::Deref;
use std::sync::Arc;

/// A buffer that is freed with its last owner. Whoever keeps a bind group keeps the owned buffers that it has.
#[derive(Debug, Clone)]
pub(super) struct Owned(Arc<Last>);

/// The one value that all owners share. It is dropped with the last of them.
#[derive(Debug)]
struct Last {
    buffer: wgpu::Buffer,
    #[cfg(target_arch = "wasm32")]
    eras: Eras,
}

impl Owned {
    #[cfg_attr(not(target_arch = "wasm32"), expect(unused_variables, reason = "only a browser needs eras"))]
    #[cfg_attr(
        target_arch = "wasm32",
        expect(clippy::arc_with_non_send_sync, reason = "a browser's buffers stay on their thread")
    )]
    pub fn new(buffer: wgpu::Buffer, eras: &Eras) -> Self {
        Self(Arc::new(Last {
            buffer,
            #[cfg(target_arch = "wasm32")]
            eras: eras.clone(),
        }))
    }
}

impl Deref for Owned {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.0.buffer
    }
}

/// A callback for commands that are being recorded. It does nothing but to be there until they have run, or are dropped.
pub(super) type Hold = Box<dyn FnOnce() + Send>;

/// An encoder or a pass, which commands are recorded in.
pub(super) trait Commands {
    fn when_run(&self, hold: Hold);
}

impl Commands for wgpu::CommandEncoder {
    fn when_run(&self, hold: Hold) {
        self.on_submitted_work_done(hold);
    }
}

impl Commands for wgpu::ComputePass<'_> {
    fn when_run(&self, hold: Hold) {
        self.on_submitted_work_done(hold);
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) use native::Eras;
#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::Hold;

    /// wgpu itself knows what commands use.
    #[derive(Debug, Clone, Default)]
    pub struct Eras;

    impl Eras {
        pub fn hold(&self) -> Option<Hold> {
            None
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub(super) use browser::Eras;
#[cfg(target_arch = "wasm32")]
mod browser {
    use std::cell::{OnceCell, RefCell};
    use std::rc::Rc;

    use send_wrapper::SendWrapper;

    use super::{Hold, Last};

    /// The present era.
    #[derive(Debug, Clone, Default)]
    pub struct Eras(Rc<RefCell<Rc<Era>>>);

    /// An era ends when a buffer is dropped that commands may use: those that were recorded in it or before. Each of them holds
    /// its era, and an era holds the next one, so that the buffer is destroyed after the last of them.
    #[derive(Debug, Default)]
    struct Era(OnceCell<End>);

    #[derive(Debug)]
    struct End {
        dropped: wgpu::Buffer,
        next: Rc<Era>,
    }

    impl Eras {
        /// The present era, for the commands that are being recorded now to hold.
        pub fn hold(&self) -> Option<Hold> {
            // A browser calls back on the thread that has submitted.
            let held = SendWrapper::new(self.0.borrow().clone());
            Some(Box::new(move || drop(held)))
        }
    }

    impl Drop for Last {
        fn drop(&mut self) {
            let mut era = self.eras.0.borrow_mut();
            if Rc::strong_count(&era) == 1 {
                self.buffer.destroy();
            } else {
                let next = Rc::<Era>::default();
                let ended = std::mem::replace(&mut *era, next.clone());
                // The present era has not ended before.
                let _ = ended.0.set(End { dropped: self.buffer.clone(), next });
            }
        }
    }

    impl Drop for Era {
        fn drop(&mut self) {
            // One after the other: each in the drop of the one before would take a stack as deep as they are many.
            let mut end = self.0.take();
            while let Some(End { dropped, next }) = end {
                dropped.destroy();
                end = Rc::into_inner(next).and_then(|mut era| era.0.take());
            }
        }
    }
}
