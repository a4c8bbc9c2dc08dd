//! Answers that may come later.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A future behind a pointer. A browser's objects stay on their thread.
#[cfg(not(target_arch = "wasm32"))]
pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
#[cfg(target_arch = "wasm32")]
pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// The future's value, if it has one now.
pub(super) fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
