//! A device that dies at any moment, while one thread works with the optimizer and another polls and destroys.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use miadam::{
    Binding, Checkpoint, Dtype, Error, GradOptions, GradScaler, Hyperparams, MiAdam, Param, ParamGroup, Readback,
};

use crate::common::{Gpu, Random};

const LEN: usize = 100;

/// Devices that die. Each sees some tens of operations, so that there are thousands of orders.
const DEVICES: u64 = 150;

fn group() -> ParamGroup {
    let hyperparams = Hyperparams { switch_step: 3, ..Hyperparams::default() };
    ParamGroup::new(hyperparams, [Param::new("w", LEN).with_dtype(Dtype::Bf16)])
}

struct Worker {
    gpu: Gpu,
    buffers: [wgpu::Buffer; 4],
    optimizer: MiAdam,
    saved: Checkpoint,
    reports: Vec<Readback<miadam::Report>>,
    checkpoints: Vec<Readback<Checkpoint>>,
}

/// The errors that a lost device may give. Any other fails the test.
fn is_loss(error: &Error) -> bool {
    matches!(error, Error::DeviceLost | Error::ReadbackLost)
}

impl Worker {
    fn new(gpu: Gpu) -> Self {
        let buffers = [0; 4].map(|_| gpu.buffer_of(&[0.5; LEN]));
        let optimizer = Self::optimizer(&gpu, &buffers).unwrap();
        let saved = gpu.checkpoint(&optimizer, true);
        Self { gpu, buffers, optimizer, saved, reports: Vec::new(), checkpoints: Vec::new() }
    }

    fn optimizer(gpu: &Gpu, buffers: &[wgpu::Buffer; 4]) -> Result<MiAdam, Error> {
        MiAdam::new(
            &gpu.device,
            &gpu.queue,
            [group()],
            [Binding::new("w", &buffers[0], &buffers[1]).with_grad_dtype(Dtype::F32)],
        )
    }

    /// One operation, as a host would do it.
    fn act(&mut self, random: &mut Random) -> Result<(), Error> {
        let Self { gpu, buffers, optimizer, saved, reports, checkpoints } = self;
        let saved_bytes = group().state_bytes();
        let mut encoder = gpu.encoder();
        match random.below(13) {
            0 | 1 => {
                optimizer.step(&mut encoder)?;
                gpu.submit(encoder);
            }
            2 => {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                optimizer.step_in_pass(&mut pass)?;
                drop(pass);
                gpu.submit(encoder);
            }
            3 => {
                reports.push(optimizer.read_report(&mut encoder)?);
                gpu.submit(encoder);
            }
            4 => {
                checkpoints.push(optimizer.read_checkpoint(&mut encoder, true)?);
                gpu.submit(encoder);
            }
            5 => reports.pop().map_or(Ok(()), |report| report.wait().map(drop))?,
            6 => checkpoints.pop().map_or(Ok(()), |checkpoint| checkpoint.wait().map(drop))?,
            7 => {
                reports.clear();
                checkpoints.clear();
            }
            // Once the integrals are released, the checkpoint no longer fits.
            8 if optimizer.state_bytes() < saved_bytes => {}
            8 => optimizer.load(saved)?,
            9 => optimizer.write_params(saved)?,
            10 => {
                let grad = &buffers[1 + random.below(3)];
                optimizer.rebind([Binding::new("w", &buffers[0], grad).with_grad_dtype(Dtype::F32)])?;
            }
            11 => {
                let scaler = (random.below(2) == 0).then(GradScaler::default);
                optimizer.set_grad_options(GradOptions { scaler, ..GradOptions::default() })?;
            }
            _ => match optimizer.release_integrals() {
                Err(Error::IntegralsInUse { .. }) => {}
                other => drop(other?),
            },
        }
        Ok(())
    }
}

#[test]
fn nothing_panics_on_a_device_that_dies_at_any_moment() {
    let (mut acts, mut losses) = (0, 0);
    for seed in 0..DEVICES {
        let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
        let device = gpu.device.clone();
        let mut worker = Worker::new(gpu);
        let (dead, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut random = Random(seed);
        // Before the first operation, or after some of them.
        let moment = random.below(20);
        thread::scope(|scope| {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) < moment {
                    device.poll(wgpu::PollType::Poll).unwrap();
                    thread::sleep(Duration::from_micros(20));
                }
                device.destroy();
                dead.store(true, Ordering::Relaxed);
                for _ in 0..20 {
                    device.poll(wgpu::PollType::Poll).unwrap();
                    thread::sleep(Duration::from_micros(20));
                }
            });
            // Some operations more once it is known to be dead.
            let mut left = 15;
            while left > 0 {
                let was_dead = dead.load(Ordering::Relaxed);
                left -= usize::from(was_dead);
                match worker.act(&mut random) {
                    Ok(()) => {}
                    Err(error) if is_loss(&error) => losses += 1,
                    Err(error) => panic!("seed {seed}: {error}"),
                }
                acts += 1;
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        let again = Worker::optimizer(&worker.gpu, &worker.buffers);
        assert_eq!(again.err(), Some(Error::DeviceLost), "seed {seed}");
        // Everything is dropped here, after its device.
    }
    assert!(acts > 3000 && losses > 1000, "{acts} operations, {losses} losses");
}
