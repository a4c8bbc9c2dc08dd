//! On the GPU: a kernel computes the gradients, and the optimizer's step follows in the same pass.

use std::error::Error;

use miadam::wgpu::{self, Buffer, BufferUsages};
use miadam::{Binding, MiAdam, Param, ParamGroup};
use miadam_support::command_line::without_warnings;
use miadam_support::gpu::{Gpu, GpuError};

use super::{Run, coordinates, points};
use crate::flat_minima::landscapes::{BOWL, Landscape, Point, REACH, SPACING, WIDTHS};

const SOURCE: &str = include_str!("gradient.wgsl");
const WORKGROUP: usize = 64;
/// Steps in one submission, so that none takes long.
const BATCH: u32 = 100;

/// A GPU with the compiled gradients of both landscapes.
pub struct Kernel {
    gpu: Gpu,
    pipelines: [wgpu::ComputePipeline; 2],
}

/// A swarm's buffers.
struct Swarm {
    optimizer: MiAdam,
    values: Buffer,
    trace: Buffer,
    bind_group: wgpu::BindGroup,
}

impl Kernel {
    /// # Errors
    /// If the device refuses the shader.
    pub fn new(gpu: Gpu) -> Result<Self, GpuError> {
        let pipelines = gpu.guard("compile the gradient's shader", || {
            let source = wgpu::ShaderSource::Wgsl(SOURCE.into());
            let module =
                gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("gradient"), source });
            Landscape::ALL.map(|landscape| pipeline(&gpu.device, &module, landscape))
        })?;
        Ok(Self { gpu, pipelines })
    }

    pub fn name(&self) -> &str {
        &self.gpu.name
    }

    fn pipeline(&self, landscape: Landscape) -> &wgpu::ComputePipeline {
        &self.pipelines[usize::from(landscape != Landscape::ALL[0])]
    }

    /// The gradients at some points, for the tests.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradients(&self, landscape: Landscape, places: &[Point]) -> Result<Vec<Point>, GpuError> {
        let (values, gradients) = self.buffers(places)?;
        let bind_group = self.bind_group(landscape, [&values, &gradients])?;
        let mut encoder = self.gpu.encoder();
        self.record(&mut encoder.begin_compute_pass(&Default::default()), landscape, &bind_group, places.len());
        self.gpu.run(encoder)?;
        Ok(points(&floats(&self.gpu.read(&gradients)?)))
    }

    pub(super) fn run(&self, run: &Run<'_>) -> Result<Vec<Vec<Point>>, Box<dyn Error>> {
        let mut swarm = self.swarm(run)?;
        let size = swarm.values.size();
        let mut step = 0;
        for (index, &watched) in (0..).zip(run.watched) {
            while step < watched {
                let until = watched.min(step + BATCH);
                let mut encoder = self.gpu.encoder();
                for step in step + 1..=until {
                    self.record_step(&mut encoder, run, &mut swarm, step)?;
                }
                if until == watched {
                    encoder.copy_buffer_to_buffer(&swarm.values, 0, &swarm.trace, index * size, size);
                }
                self.gpu.run(encoder)?;
                step = until;
            }
        }
        let trace = floats(&self.gpu.read(&swarm.trace)?);
        Ok(trace.chunks(2 * run.starts.len()).map(points).collect())
    }

    fn swarm(&self, run: &Run<'_>) -> Result<Swarm, Box<dyn Error>> {
        let (values, gradients) = self.buffers(run.starts)?;
        let trace_size = run.watched.len() as u64 * values.size();
        let trace = self.gpu.buffer("trace", trace_size, BufferUsages::COPY_SRC | BufferUsages::COPY_DST)?;
        let bind_group = self.bind_group(run.landscape, [&values, &gradients])?;
        let group = ParamGroup::new(run.contender.first.clone(), [Param::new("points", 2 * run.starts.len())]);
        let binding = Binding::new("points", &values, &gradients);
        let optimizer = without_warnings(|| MiAdam::new(&self.gpu.device, &self.gpu.queue, [group], [binding]))?;
        Ok(Swarm { optimizer, values, trace, bind_group })
    }

    /// The points, and their gradients.
    fn buffers(&self, starts: &[Point]) -> Result<(Buffer, Buffer), GpuError> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let values = coordinates(starts);
        let values = self.gpu.buffer_with("points", bytemuck::cast_slice(&values), usage)?;
        let gradients = self.gpu.buffer("gradients", values.size(), usage)?;
        Ok((values, gradients))
    }

    fn bind_group(&self, landscape: Landscape, buffers: [&Buffer; 2]) -> Result<wgpu::BindGroup, GpuError> {
        let entries =
            [0, 1].map(|n| wgpu::BindGroupEntry { binding: n, resource: buffers[n as usize].as_entire_binding() });
        let layout = &self.pipeline(landscape).get_bind_group_layout(0);
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries: &entries };
        self.gpu.guard("bind the points", || self.gpu.device.create_bind_group(&descriptor))
    }

    fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        landscape: Landscape,
        bind_group: &wgpu::BindGroup,
        starts: usize,
    ) {
        pass.set_pipeline(self.pipeline(landscape));
        pass.set_bind_group(0, bind_group, &[]);
        pass.dispatch_workgroups(starts.div_ceil(WORKGROUP) as u32, 1, 1);
    }

    fn record_step(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        run: &Run<'_>,
        swarm: &mut Swarm,
        step: u32,
    ) -> Result<(), miadam::Error> {
        if let Some((_, then)) = run.contender.then.as_ref().filter(|(switch, _)| *switch == step) {
            without_warnings(|| swarm.optimizer.set_hyperparams(0, then.clone()))?;
        }
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.record(&mut pass, run.landscape, &swarm.bind_group, run.starts.len());
        swarm.optimizer.step_in_pass(&mut pass)
    }
}

fn pipeline(device: &wgpu::Device, module: &wgpu::ShaderModule, landscape: Landscape) -> wgpu::ComputePipeline {
    let [wide, narrow] = WIDTHS;
    let constants = [
        ("IS_WAVES", f64::from(landscape == Landscape::Waves)),
        ("BOWL", BOWL),
        ("SPACING", SPACING),
        ("REACH", f64::from(REACH)),
        ("WIDE", wide),
        ("NARROW", narrow),
    ];
    let compilation_options = wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() };
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(landscape.name()),
        layout: None,
        module,
        entry_point: None,
        compilation_options,
        cache: None,
    })
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}
