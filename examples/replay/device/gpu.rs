use std::time::Duration;

use miadam::{Dtype, MiAdam, Param, ParamGroup, Report, Slice, State};
use wgpu::{BufferUsages, ErrorFilter, MapMode};

use super::super::case::{Case, Tensor};
use super::super::values::Values;
use super::wait::wait;
use super::{Device, DeviceError};

/// How long one submission may take. A software device needs about a second for a billion bytes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The GPU optimizer over two buffers a tensor.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    optimizer: MiAdam,
    tensors: Vec<Buffers>,
}

struct Buffers {
    param: wgpu::Buffer,
    grad: wgpu::Buffer,
    len: usize,
    dtype: Dtype,
}

impl Gpu {
    pub fn new(device: wgpu::Device, queue: wgpu::Queue, case: &Case) -> Result<Self, DeviceError> {
        let tensors =
            case.tensors().map(|tensor| Buffers::new(&device, &queue, tensor)).collect::<Result<Vec<_>, _>>()?;
        let mut buffers = tensors.iter();
        let groups = case.groups.iter().map(|group| {
            let params = group.params.iter().zip(&mut buffers).map(
                |(Tensor { name, .. }, Buffers { param, grad, len, dtype })| {
                    let [param, grad] = [param, grad].map(|b| Slice::new(b, 0, *len as u64).with_dtype(*dtype));
                    Param::new(name, param, grad)
                },
            );
            ParamGroup::new(group.hyperparams.clone(), params)
        });
        let mut optimizer = MiAdam::new(&device, &queue, groups)?;
        optimizer.set_grad_options(case.grad_options)?;
        Ok(Self { device, queue, optimizer, tensors })
    }

    /// Submits and waits: a queue that runs ahead would hold a copy of every step's gradients.
    fn run(&self, encoder: wgpu::CommandEncoder) -> Result<(), DeviceError> {
        let submission = guard(&self.device, "run its commands", || self.queue.submit([encoder.finish()]))?;
        wait(&self.device, &submission, TIMEOUT).map_err(|error| refused("finish its commands", error))
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("replay") })
    }
}

impl Buffers {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue, tensor: &Tensor) -> Result<Self, DeviceError> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let len = tensor.values.len();
        let [param, grad] = [buffer(device, len, usage)?, buffer(device, len, usage)?];
        let dtype = tensor.dtype;
        write(device, queue, &param, &Values::new(dtype, &tensor.values))?;
        Ok(Self { param, grad, len, dtype })
    }
}

impl Device for Gpu {
    fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), DeviceError> {
        Ok(self.optimizer.set_lr(group, lr)?)
    }

    fn step(&mut self, grads: &[Vec<f32>]) -> Result<(), DeviceError> {
        for (tensor, grad) in self.tensors.iter().zip(grads) {
            write(&self.device, &self.queue, &tensor.grad, &Values::new(tensor.dtype, grad))?;
        }
        let mut encoder = self.encoder();
        self.optimizer.step(&mut encoder)?;
        self.run(encoder)
    }

    fn params(&mut self) -> Result<Vec<Vec<f32>>, DeviceError> {
        let mut encoder = self.encoder();
        let copy = |Buffers { param, len, dtype, .. }: &Buffers| {
            let copy = buffer(&self.device, *len, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
            encoder.copy_buffer_to_buffer(param, 0, &copy, 0, param.size());
            Ok((copy, *len, *dtype))
        };
        let copies = self.tensors.iter().map(copy).collect::<Result<Vec<_>, DeviceError>>()?;
        for (copy, ..) in &copies {
            // A failure shows when the range is asked for.
            encoder.map_buffer_on_submit(copy, MapMode::Read, .., |_| ());
        }
        self.run(encoder)?;
        let read = |(copy, len, dtype): (wgpu::Buffer, usize, Dtype)| {
            let range = copy.get_mapped_range(..).map_err(|error| refused("read a parameter back", error))?;
            Ok(Values::from_bytes(dtype, &range, len).single())
        };
        copies.into_iter().map(read).collect()
    }

    fn state(&mut self) -> Result<State, DeviceError> {
        let mut encoder = self.encoder();
        let state = self.optimizer.read_state(&mut encoder)?;
        self.run(encoder)?;
        Ok(pollster::block_on(state)?)
    }

    fn report(&mut self) -> Result<Report, DeviceError> {
        let mut encoder = self.encoder();
        let report = self.optimizer.read_report(&mut encoder)?;
        self.run(encoder)?;
        Ok(pollster::block_on(report)?)
    }
}

/// A buffer for `len` elements: at least one, since an empty buffer cannot be mapped.
fn buffer(device: &wgpu::Device, len: usize, usage: BufferUsages) -> Result<wgpu::Buffer, DeviceError> {
    let size = 4 * len.max(1) as u64;
    let available = device.limits().max_buffer_size;
    if size > available {
        return Err(miadam::Error::LimitTooSmall { limit: "max_buffer_size", needed: size, available }.into());
    }
    guard(device, "create a buffer", || {
        device.create_buffer(&wgpu::BufferDescriptor { label: Some("replay"), size, usage, mapped_at_creation: false })
    })
}

fn write(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
    values: &Values,
) -> Result<(), DeviceError> {
    let mut bytes = values.bytes();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    guard(device, "take a tensor", || queue.write_buffer(buffer, 0, &bytes))
}

/// Runs `act`, and returns what the device objected to; outside a scope an error would abort the program.
fn guard<T>(device: &wgpu::Device, operation: &'static str, act: impl FnOnce() -> T) -> Result<T, DeviceError> {
    let filters = [ErrorFilter::OutOfMemory, ErrorFilter::Internal, ErrorFilter::Validation];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let value = act();
    // Innermost first.
    let errors = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop()));
    match errors.last() {
        None => Ok(value),
        Some(error) => Err(refused(operation, error)),
    }
}

fn refused(operation: &'static str, reason: impl ToString) -> DeviceError {
    DeviceError::Refused { operation, reason: reason.to_string() }
}
