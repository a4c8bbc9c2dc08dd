//! Waiting for a GPU.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use wgpu::{Device, PollError, PollType, SubmissionIndex};

/// Sleeps until the device has done a submission and what came before it.
///
/// The driver's own wait, on a thread so that it needs no timeout: some drivers spin when given one, and a software
/// adapter lacks the core that spins. Looking every few microseconds costs it a quarter of its speed, too.
pub fn wait(device: &Device, submission: &SubmissionIndex, timeout: Duration) -> Result<(), PollError> {
    let (sender, receiver) = channel();
    let device = device.clone();
    let done = PollType::Wait { submission_index: Some(submission.clone()), timeout: None };
    // After the timeout nobody listens any more.
    let thread = thread::spawn(move || drop(sender.send(device.poll(done))));
    match receiver.recv_timeout(timeout) {
        Ok(answer) => answer.map(drop),
        Err(RecvTimeoutError::Timeout) => Err(PollError::Timeout),
        // wgpu panics where a device is lost: here, too, as if there was no thread.
        Err(RecvTimeoutError::Disconnected) => thread.join().map_err(|panic| resume_unwind(panic)),
    }
}
