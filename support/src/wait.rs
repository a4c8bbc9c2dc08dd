//! Waiting for a GPU.

#[cfg(not(target_arch = "wasm32"))]
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use miadam::wgpu::{Device, PollError, PollType, Queue, SubmissionIndex};

/// Why the GPU is not done.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    #[error("it takes more than {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the device is lost")]
    Lost,
    #[error(transparent)]
    Refused(PollError),
    #[error("a browser cannot wait")]
    InBrowser,
}

/// Sleeps until the device has done a submission and what came before it.
///
/// The driver's own wait, on a thread so that it needs no timeout: some drivers spin when given one, and a software
/// adapter lacks the core that spins. Looking every few microseconds costs it a quarter of its speed, too.
///
/// # Errors
/// If the device takes longer than `timeout`, is lost, or refuses.
#[cfg_attr(target_arch = "wasm32", expect(unused_variables, reason = "a device stays on its thread there"))]
pub fn wait(device: &Device, submission: &SubmissionIndex, timeout: Duration) -> Result<(), WaitError> {
    #[cfg(target_arch = "wasm32")]
    return Err(WaitError::InBrowser);
    #[cfg(not(target_arch = "wasm32"))]
    wait_on_a_thread(device, submission, timeout)
}

#[cfg(not(target_arch = "wasm32"))]
fn wait_on_a_thread(device: &Device, submission: &SubmissionIndex, timeout: Duration) -> Result<(), WaitError> {
    let (sender, receiver) = channel();
    let device = device.clone();
    let done = PollType::Wait { submission_index: Some(submission.clone()), timeout: None };
    // After the timeout nobody listens any more.
    thread::spawn(move || drop(sender.send(device.poll(done))));
    match receiver.recv_timeout(timeout) {
        Ok(answer) => answer.map(drop).map_err(WaitError::Refused),
        Err(RecvTimeoutError::Timeout) => Err(WaitError::Timeout(timeout)),
        // The thread has panicked, as wgpu does where a device is lost.
        Err(RecvTimeoutError::Disconnected) => Err(WaitError::Lost),
    }
}

/// Looks again and again until the device has done all that was submitted: slower than [`wait`], but wgpu 30 panics
/// where several threads wait for a device at once.
///
/// # Errors
/// As [`wait`].
pub fn wait_polling(device: &Device, queue: &Queue, timeout: Duration) -> Result<(), WaitError> {
    let (sender, receiver) = channel();
    queue.on_submitted_work_done(move || {
        // After the timeout nobody listens any more.
        let _ = sender.send(());
    });
    let start = Instant::now();
    loop {
        device.poll(PollType::Poll).map_err(WaitError::Refused)?;
        match receiver.try_recv() {
            Ok(()) => return Ok(()),
            Err(TryRecvError::Disconnected) => return Err(WaitError::Lost),
            Err(TryRecvError::Empty) if start.elapsed() > timeout => return Err(WaitError::Timeout(timeout)),
            Err(TryRecvError::Empty) => thread::sleep(Duration::from_micros(50)),
        }
    }
}
