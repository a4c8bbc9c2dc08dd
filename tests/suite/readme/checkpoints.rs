use std::path::Path;

use miadam::{Checkpoint, Error, MiAdam, wgpu};

pub fn save(device: &wgpu::Device, queue: &wgpu::Queue, optimizer: &MiAdam, file: &Path) -> Result<(), Error> {
    let mut encoder = device.create_command_encoder(&Default::default());
    let checkpoint = optimizer.read_checkpoint(&mut encoder, true)?; // with the parameters in it
    queue.submit([encoder.finish()]);
    checkpoint.wait()?.save(file)
}

/// In another process: `optimizer` has the same parameters by name.
pub fn resume(optimizer: &mut MiAdam, file: &Path) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(file)?;
    optimizer.load(&checkpoint)?;
    optimizer.write_params(&checkpoint)
}
