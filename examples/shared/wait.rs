//! Waiting for a GPU.

use std::time::{Duration, Instant};

use wgpu::{Device, PollError, PollType, SubmissionIndex};

/// Between two looks: short beside what there is to wait for.
const NAP: Duration = Duration::from_micros(20);

/// Sleeps until the device has done a submission and what came before it. A blocking wait with a timeout spins in
/// some drivers, and on a software adapter takes a core away from the work that it waits for.
pub fn wait(device: &Device, submission: &SubmissionIndex, timeout: Duration) -> Result<(), PollError> {
    let deadline = Instant::now() + timeout;
    loop {
        let look = PollType::Wait { submission_index: Some(submission.clone()), timeout: Some(Duration::ZERO) };
        match device.poll(look) {
            Ok(_) => return Ok(()),
            Err(PollError::Timeout) if Instant::now() < deadline => std::thread::sleep(NAP),
            Err(error) => return Err(error),
        }
    }
}
