//! The GPU optimizer, against `limit.wgsl`.

use std::time::Instant;

use miadam::wgpu::{self, BufferUsages};

use super::{Row, Times, median, ms};
use crate::cases::Case;
use crate::gpu::{Gpu, GpuError};
use crate::steppers::{GpuStepper, Setup};

/// The median of so many rounds of a plain step.
///
/// # Errors
/// Why the case does not fit this adapter.
pub fn measure(gpu: &Gpu, case: &Case, rounds: u32) -> Result<Row, String> {
    let mut optimizer = GpuStepper::new(gpu, case, &Setup::plain(case))?.optimizer;
    let text = |error: GpuError| error.to_string();
    let limit = Limit::guarded(gpu, case, 2)?;
    let (mut times, mut record) = (Times::default(), Vec::new());
    for round in 0..=rounds {
        let mut encoder = gpu.encoder();
        let start = Instant::now();
        optimizer.step(&mut encoder).map_err(|error| error.to_string())?;
        let recorded = start.elapsed();
        let step = gpu.run(encoder).map_err(text)?;
        let mut encoder = gpu.encoder();
        limit.record(&mut encoder);
        let limit = gpu.run(encoder).map_err(text)?;
        // The first round touches the memory for the first time.
        if round > 0 {
            record.push(1e3 * ms(recorded));
            times.step.push(ms(step));
            times.limit.push(ms(limit));
        }
    }
    let dispatches = optimizer.dispatches().map_err(|error| error.to_string())?;
    Ok(Row { dispatches, record_us: median(&record), ..Row::new(&gpu.name, case, &times) })
}

/// The load/store kernel over the same bytes, cut only where a binding ends.
pub struct Limit {
    pipeline: wgpu::ComputePipeline,
    parts: Vec<(wgpu::BindGroup, [u32; 2])>,
}

impl Limit {
    /// `moments` counts the planes beside the integrals.
    ///
    /// # Errors
    /// Why the case does not fit this adapter.
    pub fn guarded(gpu: &Gpu, case: &Case, moments: u32) -> Result<Self, String> {
        let made = gpu.guard("prepare the limit", || Self::new(gpu, case, moments)).and_then(|limit| limit);
        made.map_err(|error| error.to_string())
    }

    fn new(gpu: &Gpu, case: &Case, moments: u32) -> Result<Self, GpuError> {
        let width = case.state.width();
        let pipeline = pipeline(&gpu.device, case.order, moments, width);
        let moments = u64::from(moments);
        let layout = pipeline.get_bind_group_layout(0);
        let order = u64::from(case.order);
        let limits = gpu.device.limits();
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / 16;
        let most = most / order.max(moments).max(width);
        let mut left = case.state.cells(case.elements() as u64);
        let mut parts = Vec::new();
        while left > 0 {
            let cells = left.min(most);
            let buffer = |planes: u64| gpu.buffer("limit", (16 * cells * planes).max(16), BufferUsages::STORAGE);
            let buffers = [buffer(width)?, buffer(width)?, buffer(moments)?, buffer(order)?];
            let resources = buffers.iter().map(wgpu::Buffer::as_entire_binding);
            let entries = (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource });
            let entries: Vec<_> = entries.collect();
            let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("limit"),
                layout: &layout,
                entries: &entries,
            });
            let workgroups = cells.div_ceil(256);
            let rows = workgroups.div_ceil(65_535);
            parts.push((group, [workgroups.div_ceil(rows) as u32, rows as u32]));
            left -= cells;
        }
        Ok(Self { pipeline, parts })
    }

    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        for (group, [x, y]) in &self.parts {
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
    }
}

fn pipeline(device: &wgpu::Device, order: u32, moments: u32, width: u64) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::include_wgsl!("limit.wgsl"));
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
        label: Some("limit"),
        entries: &[0, 1, 2, 3].map(entry),
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("limit"),
        bind_group_layouts: &[Some(&bindings)],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("limit"),
        layout: Some(&layout),
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[("ORDER", f64::from(order)), ("MOMENTS", f64::from(moments)), ("WIDTH", width as f64)],
            ..Default::default()
        },
        cache: None,
    })
}

#[cfg(test)]
mod tests {
    use miadam::StatePrecision;

    use super::*;
    use crate::adapter;
    use crate::cases::Home;

    #[test]
    fn a_case_too_large_for_the_adapter_leaves_the_next_one_alone() {
        let Some(adapter) = adapter::for_test() else { return };
        let size = 1 << 20;
        let limits = wgpu::Limits { max_buffer_size: size, max_storage_buffer_binding_size: size, ..adapter.limits() };
        let gpu = Gpu::open(&adapter, limits).unwrap();
        for (home, len, count) in [(Home::Pool, 1024, 1024), (Home::Separate, 1 << 20, 1)] {
            let large = Case { name: "large", home, lens: vec![len; count], order: 1, state: StatePrecision::F32 };
            let reason = measure(&gpu, &large, 1).map(|row| row.ms).unwrap_err();
            assert!(reason.contains("4194304 bytes") && reason.contains("1048576"), "{reason}");
            let small = Case { name: "small", home, lens: vec![1024; 8], order: 1, state: StatePrecision::F32 };
            measure(&gpu, &small, 1).map(|row| row.ms).unwrap();
        }
    }
}
