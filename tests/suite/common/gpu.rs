use std::ops::Deref;
use std::sync::OnceLock;
use std::time::Duration;

use miadam::{Checkpoint, MiAdam, Report, State};
use wgpu::BufferUsages;

/// The support crate's device, with panics in place of errors, and buffers of `f32`.
#[derive(Clone)]
pub struct Gpu(miadam_support::gpu::Gpu);

impl Deref for Gpu {
    type Target = miadam_support::gpu::Gpu;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The device that tests share, or None where `MIADAM_ALLOW_NO_ADAPTER` permits going without. It has nothing but
/// `Limits::default()`: 8 storage buffers a stage, 128 MiB a binding.
pub fn gpu() -> Option<Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    GPU.get_or_init(|| Gpu::new(wgpu::Limits::default())).clone()
}

impl Gpu {
    /// A device of the test's own.
    pub fn new(limits: wgpu::Limits) -> Option<Self> {
        miadam_support::gpu::Gpu::for_test(limits).map(Self)
    }

    /// One of several devices of an adapter.
    pub fn on(adapter: &wgpu::Adapter) -> Self {
        Self(miadam_support::gpu::Gpu::open(adapter, wgpu::Limits::default()).unwrap().shared())
    }

    /// What lives on the device: buffers, bind groups and their layouts, pipelines and modules.
    pub fn live_objects(&self) -> [isize; 5] {
        let hal = self.device.get_internal_counters().hal;
        [&hal.buffers, &hal.bind_groups, &hal.bind_group_layouts, &hal.compute_pipelines, &hal.shader_modules]
            .map(|counter| counter.read())
    }

    pub fn buffer_of(&self, contents: &[f32]) -> wgpu::Buffer {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        self.buffer_with("test", bytemuck::cast_slice(contents), usage).unwrap()
    }

    pub fn floats(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(&self.read(buffer).unwrap())
    }

    pub fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.queue.submit([encoder.finish()]);
    }

    /// For all that is submitted.
    pub fn wait(&self) {
        miadam_support::wait::wait_polling(&self.device, &self.queue, Duration::from_secs(120)).unwrap();
    }

    /// A step, submitted.
    pub fn step(&self, optimizer: &mut MiAdam) {
        let mut encoder = self.encoder();
        optimizer.step(&mut encoder).unwrap();
        self.submit(encoder);
    }

    pub fn report(&self, optimizer: &MiAdam) -> Report {
        let mut encoder = self.encoder();
        let report = optimizer.read_report(&mut encoder).unwrap();
        self.submit(encoder);
        report.wait().unwrap()
    }

    pub fn state(&self, optimizer: &MiAdam) -> State {
        let mut encoder = self.encoder();
        let state = optimizer.read_state(&mut encoder).unwrap();
        self.submit(encoder);
        state.wait().unwrap()
    }

    pub fn checkpoint(&self, optimizer: &MiAdam, with_params: bool) -> Checkpoint {
        let mut encoder = self.encoder();
        let checkpoint = optimizer.read_checkpoint(&mut encoder, with_params).unwrap();
        self.submit(encoder);
        checkpoint.wait().unwrap()
    }
}
