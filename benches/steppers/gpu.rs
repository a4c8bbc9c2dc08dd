//! The GPU optimizer over buffers of the caller's.

use std::time::Duration;

use miadam::{MiAdam, Param, ParamGroup, Slice};

use super::GRAD;
use super::wait::wait;
use crate::cases::Case;

/// After this the GPU counts as hung.
const TIMEOUT: Duration = Duration::from_secs(300);

/// An adapter's device, with all that the adapter can do.
pub struct Gpu {
    pub info: wgpu::AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Gpu {
    /// The default adapter of the backends, or why there is none.
    pub fn new(backends: wgpu::Backends) -> Result<Self, String> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = pollster::block_on(instance.request_adapter(&options)).map_err(|error| error.to_string())?;
        let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
        let (device, queue) =
            pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| error.to_string())?;
        Ok(Self { info: adapter.get_info(), device, queue })
    }

    /// Whether the adapter has buffers as large as the case asks for.
    pub fn check_size(&self, case: &Case) -> Result<(), String> {
        let len = case.places().0.into_iter().max().unwrap_or(0);
        let (size, most) = (4 * len as u64, self.device.limits().max_buffer_size);
        if size > most { Err(format!("a buffer of {size} bytes is above the adapter's {most}")) } else { Ok(()) }
    }

    /// A zeroed buffer of `len` elements.
    fn buffer(&self, len: usize) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * len as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    fn fill(&self, slice: &Slice, value: f32) {
        let bytes = value.to_ne_bytes().repeat(slice.len as usize);
        self.queue.write_buffer(&slice.buffer, slice.offset, &bytes);
    }

    fn submit_and_wait(&self, encoder: wgpu::CommandEncoder) -> Result<(), String> {
        let submission = self.queue.submit([encoder.finish()]);
        wait(&self.device, &submission, TIMEOUT).map_err(|error| error.to_string())
    }
}

pub struct GpuStepper<'a> {
    gpu: &'a Gpu,
    optimizer: MiAdam,
}

impl<'a> GpuStepper<'a> {
    /// Or why the case does not fit this adapter.
    pub fn new(gpu: &'a Gpu, case: &Case) -> Result<Self, String> {
        gpu.check_size(case)?;
        let out_of_memory = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let stepper = Self::new_in_scope(gpu, case);
        match pollster::block_on(out_of_memory.pop()) {
            Some(error) => Err(error.to_string()),
            None => stepper,
        }
    }

    fn new_in_scope(gpu: &'a Gpu, case: &Case) -> Result<Self, String> {
        let (buffers, places) = case.places();
        let buffers: Vec<_> = buffers.into_iter().map(|len| gpu.buffer(len)).collect();
        let tensors = places.into_iter().zip(&case.lens).enumerate();
        let params = tensors.map(|(number, (places, &len))| {
            let [param, grad] =
                places.map(|(buffer, first)| Slice::new(&buffers[buffer], 4 * first as u64, len as u64));
            gpu.fill(&grad, GRAD);
            Param::new(number.to_string(), param, grad)
        });
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, [ParamGroup::new(case.hyperparams(), params)])
            .map_err(|error| error.to_string())?;
        Ok(Self { gpu, optimizer })
    }

    /// One step: recorded, submitted and waited for.
    pub fn step(&mut self) -> Result<(), String> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.optimizer.step(&mut encoder).map_err(|error| error.to_string())?;
        self.gpu.submit_and_wait(encoder)
    }

    /// The parameters of the first and the last tensor.
    pub fn ends(&self) -> Result<Vec<f32>, String> {
        let mut params = self.optimizer.params().map(|param| &param.param);
        let ends: Vec<_> = params.next().into_iter().chain(params.last()).collect();
        let size = ends.iter().map(|slice| 4 * slice.len).sum();
        let copy = self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let mut offset = 0;
        for slice in ends {
            encoder.copy_buffer_to_buffer(&slice.buffer, slice.offset, &copy, offset, 4 * slice.len);
            offset += 4 * slice.len;
        }
        // The mapping is there once the submission has been waited for.
        encoder.map_buffer_on_submit(&copy, wgpu::MapMode::Read, .., |_| ());
        self.gpu.submit_and_wait(encoder)?;
        let bytes = copy.get_mapped_range(..).map_err(|error| error.to_string())?;
        Ok(bytes.as_chunks().0.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect())
    }
}
