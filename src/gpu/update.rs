use std::collections::HashMap;

use super::{Advance, Memory, scoped, shader};
use crate::Error;
use crate::layout::update as binding;
use crate::plan::{Dispatch, Form, Kernel, Limits, Page, Plan, Shape, StateLayout};

/// The moments and the integrals of a page of state.
#[derive(Debug)]
pub(crate) struct PageBuffers {
    pub moments: wgpu::Buffer,
    pub integrals: wgpu::Buffer,
}

impl PageBuffers {
    pub fn new(memory: &Memory, layout: &StateLayout) -> Result<Vec<Self>, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let make = |page: &Page| {
            let [moments, integrals] =
                memory.zeros([("miadam moments", page.moments), ("miadam integrals", page.integrals)], usage)?;
            Ok(Self { moments, integrals })
        };
        layout.pages.iter().map(make).collect::<Result<_, _>>().map_err(|error| match error {
            Error::OutOfMemory { .. } => Error::OutOfMemory { bytes: layout.bytes() },
            other => other,
        })
    }
}

/// The variants of the update kernel, compiled when a plan first needs them.
#[derive(Debug, Default)]
pub(crate) struct Pipelines(HashMap<Kernel, wgpu::ComputePipeline>);

impl Pipelines {
    fn get(&mut self, memory: &Memory, limits: &Limits, kernel: Kernel) -> Result<&wgpu::ComputePipeline, Error> {
        use std::collections::hash_map::Entry;
        match self.0.entry(kernel) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(free) => {
                let device = &memory.device;
                let pipeline = scoped(device, "compile the update kernel", 0, || {
                    pipeline(device, kernel, window_count(kernel.form, limits))
                })?;
                Ok(free.insert(pipeline))
            }
        }
    }
}

/// The windows that a form's shader binds.
fn window_count(form: Form, limits: &Limits) -> usize {
    match form {
        Form::One => 1,
        Form::Two => 2,
        Form::Many => limits.windows,
    }
}

fn pipeline(device: &wgpu::Device, kernel: Kernel, windows: usize) -> wgpu::ComputePipeline {
    let entries: Vec<_> = (0..binding::WINDOWS + windows as u32)
        .map(|number| wgpu::BindGroupLayoutEntry {
            binding: number,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage {
                    read_only: number == binding::CHUNKS || number == binding::COEFS,
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    let bindings = device
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("miadam update"), entries: &entries });
    compile(device, "miadam update", &shader::update_wgsl(kernel, windows), "update", &bindings)
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

/// A plan with everything that recording it needs.
#[derive(Debug)]
pub(crate) struct Prepared(Vec<PreparedDispatch>);

#[derive(Debug)]
struct PreparedDispatch {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 2],
}

impl Prepared {
    /// `buffers` are the callers' by number.
    pub fn new(
        memory: &Memory,
        limits: &Limits,
        pipelines: &mut Pipelines,
        plan: &Plan,
        pages: &[PageBuffers],
        advance: &Advance,
        buffers: &[wgpu::Buffer],
    ) -> Result<Self, Error> {
        let prepare = |dispatch: &Dispatch| {
            let pipeline = pipelines.get(memory, limits, dispatch.kernel)?.clone();
            let chunks = memory.filled("miadam chunks", &dispatch.chunks)?;
            let spare = spare_windows(memory, limits, dispatch)?;
            let page = &pages[dispatch.page];
            let coefs = match dispatch.kernel.shape {
                Shape::Run => advance.coefs_of(dispatch.chunks[0].group),
                Shape::Table => advance.coefs.as_entire_buffer_binding(),
            };
            let state = [&page.moments, &page.integrals].map(wgpu::Buffer::as_entire_buffer_binding);
            let windows = dispatch.windows.iter().map(|window| wgpu::BufferBinding {
                buffer: &buffers[window.buffer],
                offset: window.offset,
                size: wgpu::BufferSize::new(window.size),
            });
            let resources = [chunks.as_entire_buffer_binding(), coefs].into_iter().chain(state).chain(windows);
            let resources = resources.chain(spare.iter().flat_map(|(buffer, count)| {
                (0..*count as u64).map(move |number| wgpu::BufferBinding {
                    buffer,
                    offset: number * limits.alignment,
                    size: wgpu::BufferSize::new(16),
                })
            }));
            let entries: Vec<_> = resources
                .zip(0..)
                .map(|(buffer, binding)| wgpu::BindGroupEntry {
                    binding,
                    resource: wgpu::BindingResource::Buffer(buffer),
                })
                .collect();
            let bind_group = scoped(&memory.device, "bind the parameters", 0, || {
                memory.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("miadam update"),
                    layout: &pipeline.get_bind_group_layout(0),
                    entries: &entries,
                })
            })?;
            Ok(PreparedDispatch { pipeline, bind_group, workgroups: dispatch.workgroups })
        };
        plan.dispatches.iter().map(prepare).collect::<Result<_, _>>().map(Self)
    }

    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        for PreparedDispatch { pipeline, bind_group, workgroups: [x, y] } in &self.0 {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
    }

    pub fn dispatches(&self) -> usize {
        self.0.len()
    }
}

/// Something to bind where a dispatch has fewer windows than its shader: ranges that no other binding overlaps.
fn spare_windows(
    memory: &Memory,
    limits: &Limits,
    dispatch: &Dispatch,
) -> Result<Option<(wgpu::Buffer, usize)>, Error> {
    let count = window_count(dispatch.kernel.form, limits) - dispatch.windows.len();
    if count == 0 {
        return Ok(None);
    }
    let [buffer] =
        memory.zeros([("miadam spare windows", count as u64 * limits.alignment)], wgpu::BufferUsages::STORAGE)?;
    Ok(Some((buffer, count)))
}
