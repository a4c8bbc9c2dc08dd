use std::collections::HashMap;

use super::{Memory, scoped, shader};
use crate::Error;
use crate::layout::update as binding;
use crate::plan::{Form, Kernel, Limits};

/// The variants of the update kernel, compiled when a plan first needs them.
#[derive(Debug, Default)]
pub(crate) struct Pipelines(HashMap<Kernel, wgpu::ComputePipeline>);

impl Pipelines {
    pub fn get(&mut self, memory: &Memory, limits: &Limits, kernel: Kernel) -> Result<wgpu::ComputePipeline, Error> {
        if let Some(known) = self.0.get(&kernel) {
            return Ok(known.clone());
        }
        let device = &memory.device;
        let pipeline = scoped(device, "compile the update kernel", 0, || {
            let windows = window_count(kernel.form, limits);
            let bindings = layout(device, windows);
            compile(device, "miadam update", &shader::update_wgsl(kernel, windows), "update", &bindings)
        })?;
        self.0.insert(kernel, pipeline.clone());
        Ok(pipeline)
    }
}

/// The windows that a form's shader binds.
pub(super) fn window_count(form: Form, limits: &Limits) -> usize {
    match form {
        Form::One => 1,
        Form::Two => 2,
        Form::Many => limits.windows,
    }
}

fn layout(device: &wgpu::Device, windows: usize) -> wgpu::BindGroupLayout {
    let entry = |number| {
        let read_only = number == binding::CHUNKS || number == binding::COEFS;
        storage_entry(number, read_only, false)
    };
    let entries: Vec<_> = (0..binding::WINDOWS + windows as u32).map(entry).collect();
    device
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("miadam update"), entries: &entries })
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
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}
