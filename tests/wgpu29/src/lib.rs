//! Steps, moved gradients, clipping, freezing and a checkpoint on a device of wgpu 29, against the CPU's.
#![cfg(test)]

use miadam::{Binding, Checkpoint, GradOptions, Hyperparams, MiAdam, OnDevice, Optimizer, Param, ParamGroup, cpu};
use wgpu::{BufferUsages, Instance, InstanceDescriptor};

const LENS: [(&str, usize); 2] = [("weights", 1000), ("bias", 10)];

struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Gpu {
    /// None only where MIADAM_ALLOW_NO_ADAPTER says that this is all right.
    fn open() -> Option<Self> {
        let instance = Instance::new(InstanceDescriptor::new_without_display_handle());
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
        let adapter = match adapter {
            Err(_) if std::env::var_os("MIADAM_ALLOW_NO_ADAPTER").is_some() => return None,
            adapter => adapter.unwrap(),
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
        Some(Self { device, queue })
    }

    fn buffer(&self, values: &[f32]) -> wgpu::Buffer {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let size = 4 * values.len() as u64;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        self.queue.write_buffer(&buffer, 0, &bytes);
        buffer
    }

    fn step(&self, optimizer: &mut MiAdam) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder).unwrap();
        self.queue.submit([encoder.finish()]);
    }

    fn checkpoint(&self, optimizer: &MiAdam) -> Checkpoint {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let checkpoint = optimizer.read_checkpoint(&mut encoder, true).unwrap();
        self.queue.submit([encoder.finish()]);
        checkpoint.wait().unwrap()
    }
}

fn group() -> ParamGroup {
    let hyperparams = Hyperparams { switch_step: 15, ..Hyperparams::default() };
    ParamGroup::new(hyperparams, LENS.map(|(name, len)| Param::new(name, len)))
}

fn prepare<D: OnDevice>(optimizer: &mut Optimizer<D>, step: usize) {
    match step {
        0 => optimizer.set_grad_options(GradOptions { clip_norm: Some(1.0), ..GradOptions::default() }).unwrap(),
        5 => optimizer.freeze(["bias"]).unwrap(),
        10 => optimizer.thaw(["bias"]).unwrap(),
        _ => {}
    }
}

/// The gradients of even and odd steps.
fn grads(len: usize) -> [Vec<f32>; 2] {
    [0.1, 0.7].map(|phase| (0..len).map(|element| (element as f32 + phase).sin()).collect())
}

fn params(checkpoint: &Checkpoint) -> Vec<f32> {
    let values = LENS.map(|(name, len)| {
        let mut values = vec![0.0; len];
        checkpoint.copy_param(name, &mut values).unwrap();
        values
    });
    values.concat()
}

#[test]
fn an_engine_on_wgpu_29_trains_as_the_cpu_does() {
    let Some(gpu) = Gpu::open() else { return };
    let buffers = LENS.map(|(_, len)| gpu.buffer(&vec![1.0; len]));
    let places = LENS.map(|(_, len)| grads(len).map(|grads| gpu.buffer(&grads)));
    let bindings = |step: usize| {
        let tensors = LENS.iter().zip(&buffers).zip(&places);
        tensors.map(move |((&(name, _), buffer), places)| Binding::new(name, buffer, &places[step % 2]))
    };
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group()], bindings(0)).unwrap();
    let mut twin = cpu::MiAdam::new([group()]).unwrap();
    let mut twin_params = LENS.map(|(_, len)| vec![1.0_f32; len]);
    for step in 0..20 {
        prepare(&mut optimizer, step);
        prepare(&mut twin, step);
        optimizer.rebind(bindings(step)).unwrap();
        gpu.step(&mut optimizer);
        let mut twin_grads = LENS.map(|(_, len)| grads(len)[step % 2].clone());
        let tensors = LENS.iter().zip(&mut twin_params).zip(&mut twin_grads);
        twin.step(tensors.map(|((&(name, _), param), grad)| cpu::Binding::new(name, param, grad))).unwrap();
    }
    let checkpoint = gpu.checkpoint(&optimizer);
    assert_eq!(checkpoint.step(), 20);
    for (found, expected) in params(&checkpoint).iter().zip(twin_params.concat()) {
        // Twenty steps of 2e-3, each within some roundings of a division and a root.
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }

    // The next step, and the same after a load.
    optimizer.rebind(bindings(0)).unwrap();
    gpu.step(&mut optimizer);
    let next = gpu.checkpoint(&optimizer).to_bytes().unwrap();
    let mut resumed = MiAdam::new(&gpu.device, &gpu.queue, [group()], bindings(0)).unwrap();
    resumed.load(&Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap()).unwrap();
    resumed.write_params(&checkpoint).unwrap();
    gpu.step(&mut resumed);
    assert!(gpu.checkpoint(&resumed).to_bytes().unwrap() == next);
}
