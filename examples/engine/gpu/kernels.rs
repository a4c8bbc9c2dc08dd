//! The shaders, compiled. Each binds its shape, then its tensors in the order of its bindings, every one of them `read_write`: wgpu
//! takes a pool's buffer in one kernel only if all of its slices have the same access.

use std::collections::HashMap;

use miadam::wgpu::{
    ComputePipeline, ComputePipelineDescriptor, Device, PipelineCompilationOptions, ShaderModuleDescriptor,
    ShaderSource,
};

use crate::device::Kernel;

const SOURCES: [(Kernel, &str); 13] = [
    (Kernel::Add, include_str!("../shaders/add.wgsl")),
    (Kernel::Attend, include_str!("../shaders/attend.wgsl")),
    (Kernel::AttendBackward, include_str!("../shaders/attend_backward.wgsl")),
    (Kernel::AttendScores, include_str!("../shaders/attend_scores.wgsl")),
    (Kernel::CrossEntropy, include_str!("../shaders/cross_entropy.wgsl")),
    (Kernel::Embed, include_str!("../shaders/embed.wgsl")),
    (Kernel::EmbedBackward, include_str!("../shaders/embed_backward.wgsl")),
    (Kernel::Matmul, include_str!("../shaders/matmul.wgsl")),
    (Kernel::Norm, include_str!("../shaders/norm.wgsl")),
    (Kernel::NormBackward, include_str!("../shaders/norm_backward.wgsl")),
    (Kernel::NormGain, include_str!("../shaders/norm_gain.wgsl")),
    (Kernel::SquareRelu, include_str!("../shaders/square_relu.wgsl")),
    (Kernel::SquareReluBackward, include_str!("../shaders/square_relu_backward.wgsl")),
];

/// Threads of a workgroup, as every shader says.
pub const WORKGROUP: usize = 64;

pub fn compile(device: &Device) -> HashMap<Kernel, ComputePipeline> {
    SOURCES.into_iter().map(|(kernel, source)| (kernel, pipeline(device, source))).collect()
}

fn pipeline(device: &Device, source: &str) -> ComputePipeline {
    let source = ShaderSource::Wgsl(source.into());
    let module = device.create_shader_module(ShaderModuleDescriptor { label: None, source });
    device.create_compute_pipeline(&ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: PipelineCompilationOptions::default(),
        cache: None,
    })
}
