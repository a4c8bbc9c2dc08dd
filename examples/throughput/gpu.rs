//! The GPU optimizer, against `limit.wgsl`.

use std::time::{Duration, Instant};

use half::{bf16, f16};
use miadam::{Dtype, MiAdam, Param, ParamGroup, Slice};

use crate::adapter::{self, AdapterError};
use crate::cases::Case;
use crate::options::Setting;
use crate::report::{Row, Times, median};
use crate::wait::wait;

/// After this the GPU counts as hung.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Every element of every gradient, as the CPU's.
const GRAD: f32 = 0.02;

pub struct Gpu {
    pub name: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Gpu {
    pub fn new(wanted: Option<&str>) -> Result<Self, AdapterError> {
        let adapter = adapter::choose(wanted)?;
        Self::open(&adapter, adapter.limits())
    }

    fn open(adapter: &wgpu::Adapter, limits: wgpu::Limits) -> Result<Self, AdapterError> {
        let (device, queue) = adapter::open(adapter, limits)?;
        Ok(Self { name: adapter::description(&adapter.get_info()), device, queue })
    }

    /// What `work` gives, or why it does not fit this adapter: in wgpu's own hands, that would be a panic.
    pub fn within<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let result = work();
        let errors = [pollster::block_on(validation.pop()), pollster::block_on(scope.pop())];
        match errors.into_iter().flatten().next() {
            Some(error) => Err(error.to_string()),
            None => result,
        }
    }

    pub fn measure(&self, case: &Case, rounds: u32) -> Result<Row, String> {
        let mut optimizer = self.optimizer(case, &Setting::plain())?;
        let limit = Limit::new(self, case);
        let (mut times, mut record) = (Times::default(), Vec::new());
        for round in 0..=rounds {
            let mut encoder = self.encoder();
            let start = Instant::now();
            optimizer.step(&mut encoder).map_err(|error| error.to_string())?;
            let recorded = start.elapsed();
            let step = self.run(encoder)?;
            let mut encoder = self.encoder();
            limit.record(&mut encoder);
            let limit = self.run(encoder)?;
            // The first round touches the memory for the first time.
            if round > 0 {
                record.push(1e6 * recorded.as_secs_f64());
                times.step.push(step);
                times.limit.push(limit);
            }
        }
        let dispatches = optimizer.dispatches().map_err(|error| error.to_string())?;
        Ok(Row { dispatches, record_us: median(&record), ..Row::new(&self.name, case, &times) })
    }

    /// An optimizer over tensors of its own.
    pub fn optimizer(&self, case: &Case, setting: &Setting) -> Result<MiAdam, String> {
        let (buffers, places) = case.places();
        let buffers = buffers.into_iter().map(|len| self.buffer(len)).collect::<Result<Vec<_>, _>>()?;
        let tensors = places.into_iter().zip(&case.lens).enumerate();
        let params = tensors.map(|(number, (places, &len))| {
            let [param, grad] = places.map(|(buffer, first)| {
                let offset = setting.dtype.width() * first as u64;
                Slice::new(&buffers[buffer], offset, len as u64).with_dtype(setting.dtype)
            });
            self.fill(&grad);
            Param::new(number.to_string(), param, grad)
        });
        let group = ParamGroup::new(setting.hyperparams(case), params);
        let mut optimizer = MiAdam::new(&self.device, &self.queue, [group]).map_err(|error| error.to_string())?;
        optimizer.set_grad_options(setting.grad_options).map_err(|error| error.to_string())?;
        Ok(optimizer)
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// Milliseconds from submission to completion.
    pub fn run(&self, encoder: wgpu::CommandEncoder) -> Result<f64, String> {
        let commands = encoder.finish();
        let start = Instant::now();
        let submission = self.queue.submit([commands]);
        wait(&self.device, &submission, TIMEOUT).map_err(|error| error.to_string())?;
        Ok(1e3 * start.elapsed().as_secs_f64())
    }

    /// With numbers as a gradient has them: zeros may be faster.
    fn fill(&self, slice: &Slice) {
        // Two elements in half precision.
        let word = match slice.dtype {
            Dtype::F32 => GRAD.to_bits(),
            Dtype::F16 => 0x1_0001 * u32::from(f16::from_f32(GRAD).to_bits()),
            Dtype::Bf16 => 0x1_0001 * u32::from(bf16::from_f32(GRAD).to_bits()),
        };
        let words = slice.dtype.width() * slice.len / 4;
        self.queue.write_buffer(&slice.buffer, slice.offset, &word.to_ne_bytes().repeat(words as usize));
        // Each at once: all copies together would take as much memory as the gradients.
        self.queue.submit([]);
    }

    fn buffer(&self, len: usize) -> Result<wgpu::Buffer, String> {
        let size = 4 * len as u64;
        let most = self.device.limits().max_buffer_size;
        if size > most {
            return Err(format!("a buffer of {size} bytes is above the adapter's {most}"));
        }
        Ok(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }))
    }
}

/// The load/store kernel over the same bytes, cut only where a binding ends.
struct Limit {
    pipeline: wgpu::ComputePipeline,
    parts: Vec<(wgpu::BindGroup, [u32; 2])>,
}

impl Limit {
    fn new(gpu: &Gpu, case: &Case) -> Self {
        let device = &gpu.device;
        let module = device.create_shader_module(wgpu::include_wgsl!("limit.wgsl"));
        let order = u64::from(case.order);
        // Explicit, so that the integrals are bound at order 0, too, as the optimizer does.
        let entry = |binding| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: false },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &[0, 1, 2, 3].map(entry),
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&bindings)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&layout),
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[("ORDER", f64::from(case.order))],
                ..Default::default()
            },
            cache: None,
        });
        let most =
            device.limits().max_storage_buffer_binding_size.min(device.limits().max_buffer_size) / 16 / order.max(2);
        let mut left = (case.elements() as u64).div_ceil(4);
        let mut parts = Vec::new();
        while left > 0 {
            let quads = left.min(most);
            let entries: Vec<_> = [1, 1, 2, order]
                .into_iter()
                .zip(0..)
                .map(|(planes, binding)| {
                    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                        label: None,
                        size: (16 * quads * planes).max(16),
                        usage: wgpu::BufferUsages::STORAGE,
                        mapped_at_creation: false,
                    });
                    (binding, buffer)
                })
                .collect();
            let entries: Vec<_> = entries
                .iter()
                .map(|(binding, buffer)| wgpu::BindGroupEntry {
                    binding: *binding,
                    resource: buffer.as_entire_binding(),
                })
                .collect();
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &bindings,
                entries: &entries,
            });
            let workgroups = quads.div_ceil(256);
            let rows = workgroups.div_ceil(65_535);
            parts.push((group, [workgroups.div_ceil(rows) as u32, rows as u32]));
            left -= quads;
        }
        Self { pipeline, parts }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        for (group, [x, y]) in &self.parts {
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::Home;

    /// The default adapter's device with small buffers, or nothing if MIADAM_ALLOW_NO_ADAPTER says that this is all right.
    fn small_gpu() -> Option<Gpu> {
        match adapter::choose(None) {
            Ok(adapter) => {
                let size = 1 << 20;
                let limits =
                    wgpu::Limits { max_buffer_size: size, max_storage_buffer_binding_size: size, ..adapter.limits() };
                Some(Gpu::open(&adapter, limits).unwrap())
            }
            Err(error @ AdapterError::Missing) if std::env::var_os("MIADAM_ALLOW_NO_ADAPTER").is_some() => {
                eprintln!("not tested: {error}");
                None
            }
            Err(error) => panic!("{error}; or set MIADAM_ALLOW_NO_ADAPTER to skip this test"),
        }
    }

    #[test]
    fn a_case_too_large_for_the_adapter_leaves_the_next_one_alone() {
        let Some(gpu) = small_gpu() else { return };
        for (home, len, count) in [(Home::Pool, 1024, 1024), (Home::Separate, 1 << 20, 1)] {
            let large = Case { name: "large", home, lens: vec![len; count], order: 1 };
            let reason = gpu.within(|| gpu.measure(&large, 1)).map(|row| row.ms).unwrap_err();
            assert!(reason.contains("4194304 bytes") && reason.contains("1048576"), "{reason}");
            let small = Case { name: "small", home, lens: vec![1024; 8], order: 1 };
            gpu.within(|| gpu.measure(&small, 1)).map(|row| row.ms).unwrap();
        }
    }
}
