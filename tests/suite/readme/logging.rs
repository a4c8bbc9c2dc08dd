use miadam::{Error, MiAdam, wgpu};

pub fn log(device: &wgpu::Device, queue: &wgpu::Queue, optimizer: &MiAdam) -> Result<(), Error> {
    let mut encoder = device.create_command_encoder(&Default::default());
    let report = optimizer.read_report(&mut encoder)?; // a future
    queue.submit([encoder.finish()]);
    // … record and submit the next steps meanwhile; then await the report, or wait for it:
    let report = report.wait()?;
    println!("step {}, {} skipped, gradient norm {:?}", report.step, report.skipped, report.grad_norm);
    Ok(())
}
