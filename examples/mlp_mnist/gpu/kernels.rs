//! The pipelines of the shaders, and the one bind group layout that they share.

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry,
    BindingResource, BindingType, Buffer, BufferBinding, BufferBindingType, BufferSize, ComputePipeline,
    ComputePipelineDescriptor, Device, PipelineCompilationOptions, PipelineLayoutDescriptor, ShaderModuleDescriptor,
    ShaderSource, ShaderStages,
};

use miadam::Dtype;

const COMMON: &str = include_str!("../shaders/common.wgsl");
/// The crate's conversions.
const HALF: &str = include_str!("../../../shaders/half.wgsl");

/// Bytes of `Batch` in common.wgsl.
pub const BATCH_BYTES: usize = 8;

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
    /// `quads` is a fourth of the padded number of hidden units; `dtype` is that of weights and gradients; `adds` says
    /// whether gradients are added to those that are there.
    pub fn new(device: &Device, quads: usize, dtype: Dtype, adds: bool) -> Self {
        let values = match dtype {
            Dtype::F32 => include_str!("../shaders/f32.wgsl").to_owned(),
            Dtype::F16 => [HALF, include_str!("../shaders/f16.wgsl")].concat(),
            Dtype::Bf16 => [HALF, include_str!("../shaders/bf16.wgsl")].concat(),
        };
        let storage = |binding| entry(binding, BufferBindingType::Storage { read_only: binding <= 3 });
        let uniforms = [0, 9].map(|binding| entry(binding, BufferBindingType::Uniform));
        let entries: Vec<_> = uniforms.into_iter().chain((1..9).map(storage)).collect();
        let layout = device.create_bind_group_layout(&BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&PipelineLayoutDescriptor {
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = |name: &str, source: &str| {
            let module = device.create_shader_module(ShaderModuleDescriptor {
                label: Some(name),
                source: ShaderSource::Wgsl([COMMON, &values, source].concat().into()),
            });
            device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(name),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(name),
                compilation_options: PipelineCompilationOptions {
                    constants: &[("QUADS", quads as f64), ("ADD", f64::from(u8::from(adds)))],
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

    /// `batches` holds `Batch` structs, of which a dispatch chooses one by its dynamic offset; `storage` are bindings 1 to 8.
    pub fn bind(&self, device: &Device, batches: &Buffer, storage: [&Buffer; 8], loss_scale: &Buffer) -> BindGroup {
        let batch = BufferBinding { buffer: batches, offset: 0, size: BufferSize::new(BATCH_BYTES as u64) };
        let buffers = storage.into_iter().chain([loss_scale]);
        let resources = [BindingResource::Buffer(batch)].into_iter().chain(buffers.map(Buffer::as_entire_binding));
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| BindGroupEntry { binding, resource }).collect();
        device.create_bind_group(&BindGroupDescriptor { label: None, layout: &self.layout, entries: &entries })
    }
}

fn entry(binding: u32, ty: BufferBindingType) -> BindGroupLayoutEntry {
    BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer { ty, has_dynamic_offset: binding == 0, min_binding_size: None },
        count: None,
    }
}
