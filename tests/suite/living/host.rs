use std::collections::BTreeMap;
use std::sync::OnceLock;

use miadam::{
    Binding, Checkpoint, Dtype, Hyperparams, MiAdam, OnDevice, Optimizer, Param, ParamGroup, ParamState, Rows, cpu,
};

use crate::common::{Gpu, Start, Values, gpu};

/// The gradients of one step by name. A parameter without one is frozen or skipped.
pub type Grads = BTreeMap<String, Vec<f32>>;

pub fn param(start: &Start) -> Param {
    Param::new(&start.name, start.values.len()).with_dtype(start.dtype)
}

/// An optimizer with parameters that come and go, on either device.
pub trait Host: Sized {
    type Device: OnDevice;

    /// None where there is no device.
    fn new(group: ParamGroup, starts: &[Start]) -> Option<Self>;

    fn optimizer(&mut self) -> &mut Optimizer<Self::Device>;

    /// To a group of this number.
    fn add_params(&mut self, group: usize, starts: &[Start]);

    fn add_group(&mut self, group: ParamGroup, starts: &[Start]);

    /// Parameters with their gathered values.
    fn remap(&mut self, moved: &[Start], before: usize, rows: &[u32]);

    fn swap_averages(&mut self);

    /// With the parameters in it.
    fn checkpoint(&self) -> Checkpoint;

    /// Goes on in another optimizer, which has loaded what this one has saved.
    fn resume(&mut self);

    fn step(&mut self, grads: &Grads);

    /// A step that is recorded but never runs, if the device has such.
    fn lose_step(&mut self);

    fn values(&self, name: &str) -> Values;

    fn state(&self) -> Vec<ParamState>;
}

/// A device whose bindings hold 64 KiB.
fn small_gpu() -> Option<Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() };
    GPU.get_or_init(|| Gpu::new(limits)).clone()
}

/// The groups of a checkpoint, with other hyperparameters where that does not change the planes: it has those to go on with.
fn groups(checkpoint: &Checkpoint) -> Vec<ParamGroup> {
    let param = |name: &String| {
        let (dtype, bytes) = checkpoint.param(name).unwrap();
        Param::new(name, bytes.len() / dtype.width() as usize).with_dtype(dtype)
    };
    let group = |(hyperparams, names): (&Hyperparams, &[String])| {
        ParamGroup::new(Hyperparams { lr: 7.0, ..hyperparams.clone() }, names.iter().map(param))
    };
    checkpoint.groups().map(group).collect()
}

pub struct HostOnCpu {
    optimizer: cpu::MiAdam,
    params: BTreeMap<String, Values>,
}

impl HostOnCpu {
    fn take(&mut self, starts: &[Start]) {
        self.params.extend(starts.iter().map(|start| (start.name.clone(), Values::new(start.dtype, &start.values))));
    }
}

impl Host for HostOnCpu {
    type Device = cpu::Cpu;

    fn new(group: ParamGroup, starts: &[Start]) -> Option<Self> {
        let mut host = Self { optimizer: cpu::MiAdam::new([group]).unwrap(), params: BTreeMap::new() };
        host.take(starts);
        Some(host)
    }

    fn optimizer(&mut self) -> &mut cpu::MiAdam {
        &mut self.optimizer
    }

    fn add_params(&mut self, group: usize, starts: &[Start]) {
        self.optimizer.add_params(group, starts.iter().map(param)).unwrap();
        self.take(starts);
    }

    fn add_group(&mut self, group: ParamGroup, starts: &[Start]) {
        self.optimizer.add_group(group).unwrap();
        self.take(starts);
    }

    fn remap(&mut self, moved: &[Start], before: usize, rows: &[u32]) {
        self.optimizer.remap(moved.iter().map(|start| &start.name), before, rows).unwrap();
        self.take(moved);
    }

    fn checkpoint(&self) -> Checkpoint {
        let mut checkpoint = self.optimizer.read_checkpoint();
        for (name, values) in &self.params {
            checkpoint.insert_param(name, &values.clone().as_mut()).unwrap();
        }
        checkpoint
    }

    fn resume(&mut self) {
        let checkpoint = self.checkpoint();
        self.optimizer = cpu::MiAdam::new(groups(&checkpoint)).unwrap();
        self.optimizer.load(&checkpoint).unwrap();
    }

    fn swap_averages(&mut self) {
        let mut none = vec![[0.0; 0]; self.params.len()];
        let bindings = self.params.iter_mut().zip(&mut none);
        let bindings = bindings.map(|((name, param), none)| cpu::Binding::new(name, param, none));
        self.optimizer.swap_averages(bindings).unwrap();
    }

    fn step(&mut self, grads: &Grads) {
        let mut grads = grads.clone();
        let params = self.params.iter_mut();
        let bindings = params.filter_map(|(name, param)| Some((name, param, grads.remove(name)?)));
        let mut bindings: Vec<_> = bindings.collect();
        let bindings = bindings.iter_mut().map(|(name, param, grad)| cpu::Binding::new(name, &mut **param, grad));
        self.optimizer.step(bindings).unwrap();
    }

    fn lose_step(&mut self) {}

    fn values(&self, name: &str) -> Values {
        self.params[name].clone()
    }

    fn state(&self) -> Vec<ParamState> {
        self.optimizer.read_state().params
    }
}

/// On a device with the usual limits, or with the smallest that there may be: state takes many pages there.
pub struct HostOnGpu<const SMALL: bool = false> {
    pub gpu: Gpu,
    pub optimizer: MiAdam,
    /// Each parameter with its gradient.
    pub buffers: BTreeMap<String, [wgpu::Buffer; 2]>,
}

impl<const SMALL: bool> HostOnGpu<SMALL> {
    fn buffers(gpu: &Gpu, start: &Start) -> [wgpu::Buffer; 2] {
        let mut bytes = Values::new(start.dtype, &start.values).bytes();
        bytes.resize(bytes.len().next_multiple_of(4).max(4), 0);
        let words: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        // A gradient that is read although there is none shows.
        [gpu.buffer_of(&words), gpu.buffer_of(&vec![f32::NAN; start.values.len().max(1)])]
    }

    fn bindings<'a>(starts: &'a [Start], buffers: &[[wgpu::Buffer; 2]]) -> Vec<Binding<'a>> {
        let pairs = starts.iter().zip(buffers);
        pairs.map(|(start, [p, g])| Binding::new(&start.name, p, g).with_grad_dtype(Dtype::F32)).collect()
    }

    fn take(&mut self, starts: &[Start], buffers: Vec<[wgpu::Buffer; 2]>) {
        self.buffers.extend(starts.iter().map(|start| start.name.clone()).zip(buffers));
    }
}

impl<const SMALL: bool> Host for HostOnGpu<SMALL> {
    type Device = miadam::Gpu;

    fn new(group: ParamGroup, starts: &[Start]) -> Option<Self> {
        let gpu = if SMALL { small_gpu()? } else { gpu()? };
        let buffers: Vec<_> = starts.iter().map(|start| Self::buffers(&gpu, start)).collect();
        let bindings = Self::bindings(starts, &buffers);
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], bindings).unwrap();
        let mut host = Self { gpu, optimizer, buffers: BTreeMap::new() };
        host.take(starts, buffers);
        Some(host)
    }

    fn optimizer(&mut self) -> &mut MiAdam {
        &mut self.optimizer
    }

    fn add_params(&mut self, group: usize, starts: &[Start]) {
        let buffers: Vec<_> = starts.iter().map(|start| Self::buffers(&self.gpu, start)).collect();
        self.optimizer.add_params(group, starts.iter().map(param), Self::bindings(starts, &buffers)).unwrap();
        self.take(starts, buffers);
    }

    fn add_group(&mut self, group: ParamGroup, starts: &[Start]) {
        let buffers: Vec<_> = starts.iter().map(|start| Self::buffers(&self.gpu, start)).collect();
        self.optimizer.add_group(group, Self::bindings(starts, &buffers)).unwrap();
        self.take(starts, buffers);
    }

    fn remap(&mut self, moved: &[Start], before: usize, rows: &[u32]) {
        let buffers: Vec<_> = moved.iter().map(|start| Self::buffers(&self.gpu, start)).collect();
        let numbers =
            self.gpu.buffer_of(&[rows, &[0]].concat().iter().map(|&row| f32::from_bits(row)).collect::<Vec<_>>());
        let rows = Rows::new(before, &numbers, rows.len());
        let mut encoder = self.gpu.encoder();
        self.optimizer.remap(&mut encoder, Self::bindings(moved, &buffers), &rows).unwrap();
        self.gpu.submit(encoder);
        self.take(moved, buffers);
    }

    fn checkpoint(&self) -> Checkpoint {
        self.gpu.checkpoint(&self.optimizer, true)
    }

    fn resume(&mut self) {
        let checkpoint = self.checkpoint();
        let bindings = self.optimizer.bindings();
        self.optimizer = MiAdam::new(&self.gpu.device, &self.gpu.queue, groups(&checkpoint), bindings).unwrap();
        self.optimizer.load(&checkpoint).unwrap();
    }

    fn swap_averages(&mut self) {
        let mut encoder = self.gpu.encoder();
        self.optimizer.swap_averages(&mut encoder).unwrap();
        self.gpu.submit(encoder);
    }

    fn step(&mut self, grads: &Grads) {
        for (name, [_, buffer]) in &self.buffers {
            let none = vec![f32::NAN; buffer.size() as usize / 4];
            let grad = grads.get(name).filter(|grad| !grad.is_empty()).unwrap_or(&none);
            self.gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(grad));
        }
        self.gpu.step(&mut self.optimizer);
    }

    fn lose_step(&mut self) {
        self.optimizer.step(&mut self.gpu.encoder()).unwrap();
    }

    fn values(&self, name: &str) -> Values {
        let bytes = self.gpu.read(&self.buffers[name][0]).unwrap();
        let param = self.optimizer.params().find(|param| param.name == name).unwrap();
        Values::from_bytes(param.dtype, &bytes, param.len)
    }

    fn state(&self) -> Vec<ParamState> {
        self.gpu.state(&self.optimizer).params
    }
}
