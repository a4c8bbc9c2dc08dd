//! The device, its faults, and copies back from it.

mod trainer;

use std::sync::{Arc, Mutex};

use futures_channel::oneshot;
use miadam::wgpu::{
    Adapter, Buffer, BufferDescriptor, BufferUsages, CommandEncoder, Device, DeviceDescriptor, Instance, Limits,
    MapMode, Queue,
};

use crate::Result;

pub use trainer::GpuPair;

/// Every error of a lost device begins with these words, so that the page can tell it from others.
pub const LOST: &str = "The GPU was lost";

#[derive(Clone)]
pub struct Gpu {
    pub device: Device,
    pub queue: Queue,
    /// The first thing that went wrong.
    fault: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    pub async fn open() -> Result<Self> {
        let adapter = Instance::default().request_adapter(&Default::default()).await;
        let adapter = adapter.map_err(|_| "This browser has WebGPU, but no GPU for it.".to_owned())?;
        check_limits(&adapter)?;
        let device =
            adapter.request_device(&DeviceDescriptor { required_limits: Limits::default(), ..Default::default() });
        let (device, queue) =
            device.await.map_err(|error| format!("The GPU gives no device: {}.", plain(&error.to_string())))?;
        let fault = Arc::<Mutex<Option<String>>>::default();
        let (of_errors, of_loss) = (fault.clone(), fault.clone());
        device.on_uncaptured_error(Arc::new(move |error| note(&of_errors, format!("The GPU refuses: {error}."))));
        device.set_device_lost_callback(move |_, message| {
            let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
            note(&of_loss, format!("{LOST}{message}."));
        });
        Ok(Self { device, queue, fault })
    }

    /// Gives the first error that the device has told so far.
    pub fn check(&self) -> Result<()> {
        let fault = self.fault.lock().map_err(|_| LOST.to_owned())?;
        fault.clone().map_or(Ok(()), Err)
    }

    pub fn buffer(&self, label: &str, size: u64, usage: BufferUsages) -> Buffer {
        self.device.create_buffer(&BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
    }

    pub fn buffer_with(&self, label: &str, bytes: &[u8], usage: BufferUsages) -> Buffer {
        let buffer = self.buffer(label, bytes.len() as u64, usage | BufferUsages::COPY_DST);
        self.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    pub fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// Submits the encoder, and gives these buffers as they are then, one after the other.
    pub async fn run_and_read(&self, mut encoder: CommandEncoder, buffers: &[&Buffer]) -> Result<Vec<f32>> {
        let size = buffers.iter().map(|buffer| buffer.size()).sum();
        let copy = self.buffer("copy", size, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        let mut offset = 0;
        for buffer in buffers {
            encoder.copy_buffer_to_buffer(buffer, 0, &copy, offset, buffer.size());
            offset += buffer.size();
        }
        self.queue.submit([encoder.finish()]);
        let (sender, arrival) = oneshot::channel();
        copy.map_async(MapMode::Read, .., move |result| {
            // Nobody waits any more if this fails.
            let _ = sender.send(result);
        });
        let arrived = arrival.await;
        self.check()?;
        if !matches!(arrived, Ok(Ok(()))) {
            return Err(format!("{LOST}."));
        }
        let view = copy.get_mapped_range(..).map_err(|_| format!("{LOST}."))?;
        let values = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        // In a browser only this frees it at once.
        copy.destroy();
        Ok(values)
    }

    /// What the library says, or what the device has said before: that is its cause.
    pub fn explain(&self, error: miadam::Error) -> String {
        match (self.check(), error) {
            (Err(fault), _) => fault,
            (_, miadam::Error::DeviceLost | miadam::Error::ReadbackLost) => format!("{LOST}."),
            (_, error) => format!("{error}."),
        }
    }
}

/// What a browser's exception says, without its class's name in Rust and without its stack.
fn plain(error: &str) -> &str {
    let line = error.lines().next().unwrap_or_default();
    line.strip_prefix("JsValue(").map_or(line, |rest| rest.trim_end_matches(')')).trim_end_matches('.')
}

fn note(fault: &Mutex<Option<String>>, message: String) {
    if let Ok(mut fault) = fault.lock() {
        fault.get_or_insert(message);
    }
}

/// An adapter below WebGPU's own minimum, as compatibility mode has them, is refused before anything is compiled for it.
fn check_limits(adapter: &Adapter) -> Result<()> {
    let mut short = Vec::new();
    Limits::default().check_limits_with_fail_fn(&adapter.limits(), false, |name, wanted, found| {
        short.push(format!("{name} {found} of {wanted}"));
    });
    match short.is_empty() {
        true => Ok(()),
        false => Err(format!("This GPU is below WebGPU's usual limits: {}.", short.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::plain;

    #[wasm_bindgen_test]
    fn exceptions_are_said_plainly() {
        assert_eq!(plain("JsValue(OperationError: no device\nundefined)"), "OperationError: no device");
        assert_eq!(plain("out of devices."), "out of devices");
    }
}
