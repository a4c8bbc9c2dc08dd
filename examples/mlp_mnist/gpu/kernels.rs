//! The pipelines of the shaders, and the one bind group layout that they share.

use miadam::Dtype;
use miadam::wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry,
    BindingResource, BindingType, Buffer, BufferBinding, BufferBindingType, BufferSize, ComputePipeline,
    ComputePipelineDescriptor, Device, PipelineCompilationOptions, PipelineLayoutDescriptor, ShaderModuleDescriptor,
    ShaderSource, ShaderStages,
};

const COMMON: &str = include_str!("../shaders/common.wgsl");
/// The crate's conversions.
const HALF: &str = include_str!("../../../shaders/shared/half.wgsl");

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
        let entries: Vec<_> = (0..10).map(entry).collect();
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

    /// `buffers` are bindings 0 to 9. The first holds `Batch` structs, of which a dispatch chooses one by its offset.
    pub fn bind(&self, device: &Device, buffers: [&Buffer; 10]) -> BindGroup {
        let entries = (0..).zip(buffers).map(|(binding, buffer)| {
            let size = if binding == 0 { BufferSize::new(BATCH_BYTES as u64) } else { None };
            let resource = BindingResource::Buffer(BufferBinding { buffer, offset: 0, size });
            BindGroupEntry { binding, resource }
        });
        let entries: Vec<_> = entries.collect();
        device.create_bind_group(&BindGroupDescriptor { label: None, layout: &self.layout, entries: &entries })
    }
}

fn entry(binding: u32) -> BindGroupLayoutEntry {
    let ty = match binding {
        0 | 9 => BufferBindingType::Uniform,
        _ => BufferBindingType::Storage { read_only: binding <= 3 },
    };
    BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer { ty, has_dynamic_offset: binding == 0, min_binding_size: None },
        count: None,
    }
}
