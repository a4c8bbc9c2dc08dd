//! The pipelines of the shaders, and the one bind group layout that they share.

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry,
    BindingType, Buffer, BufferBinding, BufferBindingType, BufferSize, ComputePipeline, ComputePipelineDescriptor,
    Device, PipelineCompilationOptions, PipelineLayoutDescriptor, ShaderModuleDescriptor, ShaderSource, ShaderStages,
};

const COMMON: &str = include_str!("../shaders/common.wgsl");

/// Bytes of `Batch` in common.wgsl.
pub const BATCH_SIZE: u64 = 8;

/// Buffers in the order of their bindings in common.wgsl, from binding 1 on.
pub struct Bindings<'a> {
    /// Holds `Batch` structs; a dispatch chooses one by its dynamic offset.
    pub batches: &'a Buffer,
    pub images: &'a Buffer,
    pub samples: &'a Buffer,
    pub params: &'a Buffer,
    pub hidden: &'a Buffer,
    pub dlogits: &'a Buffer,
    pub dhidden: &'a Buffer,
    pub grads: &'a Buffer,
    pub totals: &'a Buffer,
}

/// One pipeline per shader, in the order in which a batch runs through them.
pub struct Kernels {
    pub forward: ComputePipeline,
    pub classify: ComputePipeline,
    pub backward: ComputePipeline,
    pub gradient1: ComputePipeline,
    pub gradient2: ComputePipeline,
    layout: BindGroupLayout,
}

impl Kernels {
    /// `quads` is a fourth of the padded number of hidden units.
    pub fn new(device: &Device, quads: usize) -> Self {
        let entries = [
            entry(0, BufferBindingType::Uniform),
            entry(1, BufferBindingType::Storage { read_only: true }),
            entry(2, BufferBindingType::Storage { read_only: true }),
            entry(3, BufferBindingType::Storage { read_only: true }),
            entry(4, BufferBindingType::Storage { read_only: false }),
            entry(5, BufferBindingType::Storage { read_only: false }),
            entry(6, BufferBindingType::Storage { read_only: false }),
            entry(7, BufferBindingType::Storage { read_only: false }),
            entry(8, BufferBindingType::Storage { read_only: false }),
        ];
        let layout = device.create_bind_group_layout(&BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&PipelineLayoutDescriptor {
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = |name: &str, source: &str| {
            let module = device.create_shader_module(ShaderModuleDescriptor {
                label: Some(name),
                source: ShaderSource::Wgsl([COMMON, source].concat().into()),
            });
            device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(name),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(name),
                compilation_options: PipelineCompilationOptions {
                    constants: &[("QUADS", quads as f64)],
                    // No kernel uses workgroup memory.
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            })
        };
        Self {
            forward: pipeline("forward", include_str!("../shaders/forward.wgsl")),
            classify: pipeline("classify", include_str!("../shaders/classify.wgsl")),
            backward: pipeline("backward", include_str!("../shaders/backward.wgsl")),
            gradient1: pipeline("gradient1", include_str!("../shaders/gradient1.wgsl")),
            gradient2: pipeline("gradient2", include_str!("../shaders/gradient2.wgsl")),
            layout,
        }
    }

    pub fn bind(&self, device: &Device, buffers: &Bindings<'_>) -> BindGroup {
        let &Bindings { batches, images, samples, params, hidden, dlogits, dhidden, grads, totals } = buffers;
        let batch = BufferBinding { buffer: batches, offset: 0, size: BufferSize::new(BATCH_SIZE) };
        let storage = [images, samples, params, hidden, dlogits, dhidden, grads, totals];
        let resources =
            std::iter::once(wgpu::BindingResource::Buffer(batch)).chain(storage.map(Buffer::as_entire_binding));
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| BindGroupEntry { binding, resource }).collect();
        device.create_bind_group(&BindGroupDescriptor { label: None, layout: &self.layout, entries: &entries })
    }
}

fn entry(binding: u32, ty: BufferBindingType) -> BindGroupLayoutEntry {
    BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer { ty, has_dynamic_offset: ty == BufferBindingType::Uniform, min_binding_size: None },
        count: None,
    }
}
