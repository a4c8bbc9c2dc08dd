//! The whole story on the GPU: buffers of one's own, a tiny loss, steps, a report, a checkpoint.
use std::{error::Error, process::ExitCode};

use clap::Parser;
use miadam::wgpu::{self, BufferUsages};
use miadam::{Binding, Checkpoint, Hyperparams, MiAdam, Param, ParamGroup};
use miadam_support::{adapter, command_line};

/// The loss ½·Σ (w - 3)² has the gradient w - 3.
const GRADIENT: &str = "
    @group(0) @binding(0) var<storage, read_write> w: array<f32>;
    @group(0) @binding(1) var<storage, read_write> gradient: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        gradient[id.x] = w[id.x] - 3.0;
    }";

/// Elements of w, a multiple of the workgroup's 64.
const LEN: usize = 1024;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    adapter: adapter::AdapterFlags,
}

fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    // A host has its device, its buffers and its kernel already.
    let (device, queue) = adapter::open(&flags.adapter.choose()?, wgpu::Limits::default())?;
    let (size, usage) = (4 * LEN as u64, BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST);
    let buffer = |label| wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
    let [w, gradient] = ["w", "gradient"].map(|label| device.create_buffer(&buffer(label)));
    let source = wgpu::ShaderSource::Wgsl(GRADIENT.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let entries = [w.as_entire_binding(), gradient.as_entire_binding()];
    let entries = [0, 1].map(|n| wgpu::BindGroupEntry { binding: n, resource: entries[n as usize].clone() });
    let layout = &pipeline.get_bind_group_layout(0);
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });

    // The optimizer updates w by what the kernel leaves in `gradient`.
    let group = ParamGroup::new(Hyperparams { lr: 0.05, ..Hyperparams::default() }, [Param::new("w", LEN)]);
    let mut optimizer = MiAdam::new(&device, &queue, [group], [Binding::new("w", &w, &gradient)])?;
    for _ in 0..200 {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(LEN as u32 / 64, 1, 1);
        optimizer.step_in_pass(&mut pass)?;
        drop(pass);
        queue.submit([encoder.finish()]);
    }

    // Readbacks are recorded as steps are, and nobody waits for them before `wait`.
    let mut encoder = device.create_command_encoder(&Default::default());
    let report = optimizer.read_report(&mut encoder)?;
    let checkpoint = optimizer.read_checkpoint(&mut encoder, true)?;
    queue.submit([encoder.finish()]);
    let (report, checkpoint, mut values) = (report.wait()?, checkpoint.wait()?, vec![0.0_f32; LEN]);
    checkpoint.copy_param("w", &mut values)?;
    command_line::say(&format!("step {}: w[0] is {:.3}, and should be 3", report.step, values[0]))?;

    // In another process, an optimizer with the same parameters by name goes on from the file.
    let file = std::env::temp_dir().join("miadam-minimal.safetensors");
    checkpoint.save(&file)?;
    let saved = Checkpoint::open(&file)?;
    optimizer.load(&saved)?;
    Ok(optimizer.write_params(&saved)?)
}

fn main() -> ExitCode {
    command_line::main(run)
}
