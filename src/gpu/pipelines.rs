use std::collections::HashMap;

use super::{Memory, scoped, shader};
use crate::Error;
use crate::layout::{measure, update};
use crate::plan::{Extras, Form, Kernel, Limits};

/// The variants of the kernels that reach the caller's tensors, compiled when a plan first needs them.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    update: HashMap<Kernel, wgpu::ComputePipeline>,
    adopt: HashMap<Kernel, wgpu::ComputePipeline>,
    measure: HashMap<Kernel, wgpu::ComputePipeline>,
}

impl Pipelines {
    pub fn update(&mut self, memory: &Memory, limits: &Limits, kernel: Kernel) -> Result<wgpu::ComputePipeline, Error> {
        get(&mut self.update, kernel, || {
            let device = &memory.device;
            scoped(device, "compile the update kernel", 0, || {
                let windows = window_count(kernel.form, limits);
                let bindings = update_layout(device, windows);
                compile(device, "miadam update", &shader::update_wgsl(kernel, windows), "each_quad", &bindings)
            })
        })
    }

    /// What makes the master copies that an update kernel updates; it takes the same bind group.
    pub fn adopt(&mut self, memory: &Memory, limits: &Limits, kernel: Kernel) -> Result<wgpu::ComputePipeline, Error> {
        get(&mut self.adopt, Kernel { extras: Extras::default(), ..kernel }, || {
            let device = &memory.device;
            scoped(device, "compile the adopt kernel", 0, || {
                let windows = window_count(kernel.form, limits);
                let bindings = update_layout(device, windows);
                compile(device, "miadam adopt", &shader::adopt_wgsl(kernel, windows), "each_quad", &bindings)
            })
        })
    }

    /// The measure kernel for the tensors of an update kernel.
    pub fn measure(
        &mut self,
        memory: &Memory,
        limits: &Limits,
        kernel: Kernel,
    ) -> Result<wgpu::ComputePipeline, Error> {
        get(&mut self.measure, Kernel { extras: Extras::default(), ..kernel }, || {
            let device = &memory.device;
            scoped(device, "compile the measure kernel", 0, || {
                let windows = window_count(kernel.form, limits);
                let own = [(measure::CHUNKS, true), (measure::PARTIALS, false)];
                let bindings = layout(device, "miadam measure", &own, windows);
                compile(device, "miadam measure", &shader::measure_wgsl(kernel, windows), "measure", &bindings)
            })
        })
    }
}

fn get(
    known: &mut HashMap<Kernel, wgpu::ComputePipeline>,
    kernel: Kernel,
    make: impl FnOnce() -> Result<wgpu::ComputePipeline, Error>,
) -> Result<wgpu::ComputePipeline, Error> {
    if let Some(known) = known.get(&kernel) {
        return Ok(known.clone());
    }
    let pipeline = make()?;
    known.insert(kernel, pipeline.clone());
    Ok(pipeline)
}

/// The windows that a form's shader binds.
pub(super) fn window_count(form: Form, limits: &Limits) -> usize {
    match form {
        Form::One => 1,
        Form::Two => 2,
        Form::Pairs | Form::Many => limits.windows,
    }
}

fn update_layout(device: &wgpu::Device, windows: usize) -> wgpu::BindGroupLayout {
    let own = [(update::CHUNKS, true), (update::COEFS, true), (update::MOMENTS, false), (update::INTEGRALS, false)];
    layout(device, "miadam update", &own, windows)
}

/// A kernel's own bindings, each with whether it is read-only, and the windows.
fn layout(device: &wgpu::Device, label: &str, own: &[(u32, bool)], windows: usize) -> wgpu::BindGroupLayout {
    let windows = (update::WINDOWS..update::WINDOWS + windows as u32).map(|number| (number, false));
    let entries = own.iter().copied().chain(windows);
    let entries: Vec<_> = entries.map(|(number, read_only)| storage_entry(number, read_only, false)).collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries })
}

pub(super) fn storage_entry(binding: u32, read_only: bool, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only },
            has_dynamic_offset,
            min_binding_size: None,
        },
        count: None,
    }
}

pub(super) fn compile(
    device: &wgpu::Device,
    label: &str,
    source: &str,
    entry_point: &str,
    bindings: &wgpu::BindGroupLayout,
) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(label),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(label),
        bind_group_layouts: &[Some(bindings)],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(label),
        layout: Some(&layout),
        module: &module,
        entry_point: Some(entry_point),
        // All workgroup memory is written before it is read.
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    })
}
