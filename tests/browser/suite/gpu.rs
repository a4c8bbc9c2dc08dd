//! A device of its own for each test, and its buffers.

use std::sync::{Arc, Mutex};

use js_sys::{Function, Promise};
use miadam::wgpu::{Buffer, BufferDescriptor, BufferUsages, CommandEncoder, Device, DeviceDescriptor, Instance, Queue};
use miadam::{Binding, Checkpoint, Error, Hyperparams, MiAdam, Param, ParamGroup};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

pub struct Gpu {
    pub device: Device,
    pub queue: Queue,
    /// What has reached the host's handler.
    uncaptured: Arc<Mutex<Vec<String>>>,
}

/// What the tests' tensors need: kernels and copies.
const USAGE: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_DST).union(BufferUsages::COPY_SRC);

impl Gpu {
    pub async fn open() -> Self {
        let adapter = Instance::default().request_adapter(&Default::default()).await.expect("WebGPU has an adapter");
        // Nothing that only some of the adapters have.
        let (device, queue) = adapter.request_device(&DeviceDescriptor::default()).await.expect("it gives a device");
        let uncaptured = Arc::<Mutex<Vec<String>>>::default();
        let handler = uncaptured.clone();
        device.on_uncaptured_error(Arc::new(move |error| handler.lock().unwrap().push(error.to_string())));
        Self { device, queue, uncaptured }
    }

    /// What is refused to the optimizer must be an error there, and never one of the host's.
    pub async fn assert_host_heard_nothing(&self) {
        pause(50).await;
        let heard = self.uncaptured.lock().unwrap();
        assert!(heard.is_empty(), "the host heard of {heard:?}");
    }

    /// A buffer of zeros.
    pub fn zeros(&self, size: u64) -> Buffer {
        let descriptor = BufferDescriptor { label: None, size, usage: USAGE, mapped_at_creation: false };
        self.device.create_buffer(&descriptor)
    }

    pub fn filled(&self, bytes: &[u8]) -> Buffer {
        let buffer = self.zeros(bytes.len() as u64);
        self.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    pub fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// A parameter `w` of so many elements whose gradient is 1, and its optimizer.
    pub async fn small(&self, hyperparams: Hyperparams, len: usize) -> Result<(MiAdam, Buffer), Error> {
        let (param, grad) = (self.zeros(4 * len as u64), self.filled(bytemuck::cast_slice(&vec![1.0_f32; len])));
        let group = ParamGroup::new(hyperparams, [Param::new("w", len)]);
        let optimizer =
            MiAdam::new_async(&self.device, &self.queue, [group], [Binding::new("w", &param, &grad)]).await?;
        Ok((optimizer, param))
    }

    /// One step, submitted.
    pub fn step(&self, optimizer: &mut MiAdam) -> Result<(), Error> {
        let mut encoder = self.encoder();
        optimizer.step(&mut encoder)?;
        self.queue.submit([encoder.finish()]);
        Ok(())
    }

    /// The state and the parameters. Nobody polls: a readback wakes by itself.
    pub async fn checkpoint(&self, optimizer: &MiAdam) -> Result<Checkpoint, Error> {
        let mut encoder = self.encoder();
        let checkpoint = optimizer.read_checkpoint(&mut encoder, true)?;
        self.queue.submit([encoder.finish()]);
        checkpoint.await
    }
}

/// The parameter's values.
pub fn values(checkpoint: &Checkpoint, name: &str, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    checkpoint.copy_param(name, &mut values).expect("the checkpoint has the parameter");
    values
}

/// Lets what waits in the browser run: promises, callbacks, the device.
pub async fn pause(milliseconds: u32) {
    let timeout = Function::new_with_args("ms", "return new Promise(done => setTimeout(done, ms))");
    let promise = timeout.call1(&JsValue::NULL, &milliseconds.into()).expect("a promise");
    JsFuture::from(Promise::from(promise)).await.expect("a timeout ends");
}
