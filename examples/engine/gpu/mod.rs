//! The engine on a GPU, and all that a host has to do for the optimizer there: it records the step into its own encoder behind the
//! kernels of the gradients, tells where the gradients lie this time, and notices when the device is lost.

mod kernels;
mod pool;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use miadam::wgpu::{
    BindGroupDescriptor, BindGroupEntry, BufferUsages, CommandEncoder, ComputePass, ComputePassDescriptor,
    ComputePipeline, SubmissionIndex,
};
use miadam::{Binding, Checkpoint, Gpu as GpuState, MiAdam, ParamGroup, Report};
use miadam_support::gpu::Gpu;
use miadam_support::wait::wait;

use crate::device::{Device, Kernel, Named, Result};
use kernels::WORKGROUP;
use pool::{Pool, Slice};

/// After this the GPU counts as hung.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Usage of all tensors: the optimizer copies parameters into checkpoints and back.
const TENSOR: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);

/// Two frames are in flight: the host records one while the device works on the other. Each has tensors of its own, so that
/// gradients lie elsewhere from one step to the next.
struct Frame {
    tensors: Pool,
    shapes: Pool,
    submission: Option<SubmissionIndex>,
}

pub struct GpuDevice {
    gpu: Gpu,
    lost: Arc<AtomicBool>,
    kernels: HashMap<Kernel, ComputePipeline>,
    kept: Pool,
    /// The frame at work, then the other.
    frames: [Frame; 2],
    /// What is recorded of the frame at work.
    recording: Option<(CommandEncoder, ComputePass<'static>)>,
}

impl GpuDevice {
    pub fn new(gpu: Gpu) -> Result<Self> {
        let lost = Arc::new(AtomicBool::new(false));
        let flag = lost.clone();
        gpu.device.set_device_lost_callback(move |_, _| flag.store(true, Ordering::Relaxed));
        let frame = |_| Frame {
            tensors: Pool::new("tensors of a frame", TENSOR, 4 << 20),
            shapes: Pool::new("shapes of a frame", BufferUsages::UNIFORM | BufferUsages::COPY_DST, 32 << 10),
            submission: None,
        };
        Ok(Self {
            lost,
            kernels: gpu.guard("compile its kernels", || kernels::compile(&gpu.device))?,
            kept: Pool::new("parameters", TENSOR, 1 << 20),
            frames: [0, 1].map(frame),
            recording: None,
            gpu,
        })
    }

    /// Where a tensor and its gradient lie. One that rests has no gradient, and stands for its own.
    fn bindings<'a>(params: &[Named<'a, Slice>]) -> impl Iterator<Item = Binding<'a>> {
        params.iter().filter_map(|named| Some(Binding::new(named.name, named.param.place(), named.grad?.place())))
    }
}

impl Device for GpuDevice {
    type Slice = Slice;
    type State = GpuState;

    fn keep(&mut self, values: &[f32]) -> Result<Slice> {
        let tensor = self.kept.allocate(&self.gpu, 4 * values.len() as u64)?;
        self.write(&tensor, values)?;
        Ok(tensor)
    }

    fn begin(&mut self) -> Result<()> {
        self.frames.swap(0, 1);
        let Frame { tensors, shapes, submission } = &mut self.frames[0];
        if let Some(submission) = submission.take() {
            wait(&self.gpu.device, &submission, TIMEOUT)?;
        }
        tensors.reset();
        shapes.reset();
        let mut encoder = self.gpu.encoder();
        let pass = encoder.begin_compute_pass(&ComputePassDescriptor::default()).forget_lifetime();
        self.recording = Some((encoder, pass));
        Ok(())
    }

    fn allocate(&mut self, len: usize) -> Result<Slice> {
        Ok(self.frames[0].tensors.allocate(&self.gpu, 4 * len as u64)?)
    }

    fn run(&mut self, kernel: Kernel, tensors: &[&Slice], shape: [usize; 4], threads: usize) -> Result<()> {
        let uniform = self.frames[0].shapes.allocate(&self.gpu, 16)?;
        let shape = shape.map(|size| size as u32);
        let Some((_, pass)) = &mut self.recording else { return Err("a kernel outside a frame".into()) };
        let pipeline = &self.kernels[&kernel];
        let entries = (0..).zip([&uniform].into_iter().chain(tensors.iter().copied()));
        let entries = entries.map(|(binding, slice)| BindGroupEntry { binding, resource: slice.resource() });
        let entries: Vec<_> = entries.collect();
        let Gpu { device, queue, .. } = &self.gpu;
        self.gpu.guard("record a kernel", || {
            queue.write_buffer(&uniform.buffer, uniform.offset, bytemuck::cast_slice(&shape));
            let layout = &pipeline.get_bind_group_layout(0);
            let bind_group = device.create_bind_group(&BindGroupDescriptor { label: None, layout, entries: &entries });
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(threads.div_ceil(WORKGROUP) as u32, 1, 1);
        })?;
        Ok(())
    }

    fn submit(&mut self) -> Result<()> {
        let Some((encoder, pass)) = self.recording.take() else { return Ok(()) };
        // The pass ends before its encoder.
        drop(pass);
        let queue = &self.gpu.queue;
        let submission = self.gpu.guard("run its commands", || queue.submit([encoder.finish()]))?;
        self.frames[0].submission = Some(submission);
        Ok(())
    }

    fn write(&mut self, tensor: &Slice, values: &[f32]) -> Result<()> {
        Ok(self.gpu.write(&tensor.buffer, tensor.offset, bytemuck::cast_slice(values))?)
    }

    fn read(&mut self, tensor: &Slice) -> Result<Vec<f32>> {
        let bytes = self.gpu.read_part(&tensor.buffer, tensor.offset, tensor.size)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    fn optimizer(&mut self, groups: Vec<ParamGroup>, params: &[Named<'_, Slice>]) -> Result<MiAdam> {
        let Gpu { device, queue, .. } = &self.gpu;
        let mut optimizer = MiAdam::new(device, queue, groups, Self::bindings(params))?;
        optimizer.set_lost_flag(self.lost.clone());
        Ok(optimizer)
    }

    fn step(&mut self, optimizer: &mut MiAdam, params: &[Named<'_, Slice>]) -> Result<()> {
        optimizer.rebind(Self::bindings(params))?;
        let Some((_, pass)) = &mut self.recording else { return Err("a step outside a frame".into()) };
        Ok(optimizer.step_in_pass(pass)?)
    }

    fn report(&mut self, optimizer: &MiAdam) -> Result<Report> {
        let mut encoder = self.gpu.encoder();
        let report = optimizer.read_report(&mut encoder)?;
        self.gpu.queue.submit([encoder.finish()]);
        Ok(report.wait()?)
    }

    fn checkpoint(&mut self, optimizer: &MiAdam, _: &[Named<'_, Slice>]) -> Result<Checkpoint> {
        let mut encoder = self.gpu.encoder();
        let checkpoint = optimizer.read_checkpoint(&mut encoder, true)?;
        self.gpu.queue.submit([encoder.finish()]);
        Ok(checkpoint.wait()?)
    }

    fn restore(&mut self, optimizer: &mut MiAdam, _: &[Named<'_, Slice>], checkpoint: &Checkpoint) -> Result<()> {
        optimizer.load(checkpoint)?;
        Ok(optimizer.write_params(checkpoint)?)
    }

    fn is_lost(&self) -> bool {
        // wgpu calls back when it is polled next, and something may fail before.
        self.lost.load(Ordering::Relaxed) || self.gpu.is_lost()
    }

    fn lose(&mut self) {
        self.gpu.device.destroy();
    }
}
