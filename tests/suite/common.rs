//! What the tests share: a device, tensors placed in its buffers, and the CPU twin beside the GPU optimizer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::time::{Duration, Instant};

use miadam::{GradOptions, Hyperparams, MiAdam, Param, ParamGroup, Report, Slice, State, cpu};
use wgpu::BufferUsages;

/// A device with nothing but `Limits::default()`: 8 storage buffers a stage, 128 MiB a binding.
#[derive(Clone)]
pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

/// The shared device, or None where `MIADAM_ALLOW_NO_ADAPTER` permits going without.
pub fn gpu() -> Option<Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    GPU.get_or_init(|| Gpu::new(wgpu::Limits::default())).clone()
}

impl Gpu {
    /// What lives on the device: buffers, bind groups and their layouts, pipelines and modules.
    pub fn live_objects(&self) -> [isize; 5] {
        let hal = self.device.get_internal_counters().hal;
        [&hal.buffers, &hal.bind_groups, &hal.bind_group_layouts, &hal.compute_pipelines, &hal.shader_modules]
            .map(|counter| counter.read())
    }

    pub fn new(limits: wgpu::Limits) -> Option<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::PRIMARY,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapter = match pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())) {
            Ok(adapter) => adapter,
            Err(error) if std::env::var_os("MIADAM_ALLOW_NO_ADAPTER").is_some() => {
                eprintln!("SKIPPED, no adapter: {error}");
                return None;
            }
            Err(error) => panic!(
                "no GPU adapter ({error}); install mesa-vulkan-drivers and libvulkan1 for a software one, \
                 or set MIADAM_ALLOW_NO_ADAPTER=1 to skip the GPU tests"
            ),
        };
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        Some(Self { device, queue })
    }

    pub fn buffer(&self, contents: &[f32]) -> wgpu::Buffer {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * contents.len() as u64,
            usage,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(contents));
        buffer
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    pub fn wait(&self) {
        // No `PollType::Wait`: with a timeout it spins on a core that a software driver needs, and tests that share
        // the device and wait at once make wgpu 30 panic.
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        self.queue.on_submitted_work_done(move || flag.store(true, Ordering::Relaxed));
        let start = Instant::now();
        while !done.load(Ordering::Relaxed) {
            self.device.poll(wgpu::PollType::Poll).unwrap();
            assert!(start.elapsed() < Duration::from_secs(120), "the device hangs");
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    pub fn read(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
        self.wait();
        bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap())
    }

    pub fn report(&self, optimizer: &MiAdam) -> Report {
        let mut encoder = self.encoder();
        let report = optimizer.read_report(&mut encoder).unwrap();
        self.queue.submit([encoder.finish()]);
        self.wait();
        pollster::block_on(report).unwrap()
    }

    pub fn state(&self, optimizer: &MiAdam) -> State {
        let mut encoder = self.encoder();
        let state = optimizer.read_state(&mut encoder).unwrap();
        self.queue.submit([encoder.finish()]);
        self.wait();
        pollster::block_on(state).unwrap()
    }
}

/// All bits, for comparisons that know no rounding and where NaN equals itself.
pub fn bits(buffers: &[Vec<f32>]) -> Vec<u32> {
    buffers.iter().flatten().map(|value| value.to_bits()).collect()
}

/// Where a tensor lies among a rig's buffers, in elements.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    pub group: usize,
    pub len: usize,
    pub param: (usize, usize),
    pub grad: (usize, usize),
}

/// How [`scatter`] spreads tensors over buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Parameters and gradients of all tensors interleaved in one buffer.
    OnePool,
    /// One buffer of parameters, one of gradients.
    TwoPools,
    /// Two buffers a tensor.
    Separate,
    /// By turns.
    Mixed,
}

/// Places tensors, given by group and length, with gaps of 0 to 8 elements, so that about half of them start on
/// the 16-byte grid. Returns the buffers' lengths and the tensors' places.
pub fn scatter(random: &mut Random, tensors: &[(usize, usize)], home: Home) -> (Vec<usize>, Vec<Spot>) {
    let mut buffers = vec![0, 0];
    let mut place = |buffer: usize, len: usize, buffers: &mut Vec<usize>| {
        let gap = if random.below(2) == 0 { buffers[buffer].wrapping_neg() % 4 } else { random.below(9) };
        let start = buffers[buffer] + gap;
        // A few elements behind the last tensor, too.
        buffers[buffer] = start + len + 3;
        (buffer, start)
    };
    let spots = tensors.iter().enumerate().map(|(number, &(group, len))| {
        let home = match home {
            Home::Mixed => [Home::OnePool, Home::TwoPools, Home::Separate][number % 3],
            home => home,
        };
        let [param, grad] = match home {
            Home::OnePool => [0, 0],
            Home::TwoPools => [0, 1],
            Home::Separate | Home::Mixed => {
                buffers.extend([0, 0]);
                [buffers.len() - 2, buffers.len() - 1]
            }
        };
        Spot { group, len, param: place(param, len, &mut buffers), grad: place(grad, len, &mut buffers) }
    });
    let spots = spots.collect();
    for len in &mut buffers {
        *len = (*len).max(4);
    }
    (buffers, spots)
}

/// Fills what belongs to no tensor; never written, or a test fails.
pub const SENTINEL: f32 = -12345.678;

/// One GPU optimizer and its CPU twin over the same tensors.
pub struct Rig {
    pub gpu: Gpu,
    pub optimizer: MiAdam,
    pub twin: cpu::MiAdam,
    pub buffers: Vec<wgpu::Buffer>,
    /// What the buffers should hold: the CPU twin's results among untouched contents.
    pub expected: Vec<Vec<f32>>,
    pub spots: Vec<Spot>,
}

impl Rig {
    /// `spots` in the order of their groups.
    pub fn new(gpu: Gpu, groups: &[Hyperparams], buffer_lens: &[usize], spots: &[Spot], seed: u64) -> Self {
        let mut expected: Vec<_> = buffer_lens.iter().map(|&len| vec![SENTINEL; len]).collect();
        let mut random = Random(seed);
        for spot in spots {
            // Small, so that rounding θ to f32 hides little of the update.
            expected[spot.param.0][spot.param.1..][..spot.len].fill_with(|| 0.01 * random.normal());
            expected[spot.grad.0][spot.grad.1..][..spot.len].fill(0.0);
        }
        let buffers: Vec<_> = expected.iter().map(|contents| gpu.buffer(contents)).collect();
        let name = |number| format!("tensor.{number}");
        let in_group = |group| spots.iter().zip(0..).filter(move |(spot, _)| spot.group == group);
        let optimizer = MiAdam::new(
            &gpu.device,
            &gpu.queue,
            groups.iter().enumerate().map(|(group, hyperparams)| {
                let params = in_group(group).map(|(spot, number): (&Spot, usize)| {
                    let [param, grad] = [spot.param, spot.grad]
                        .map(|(buffer, at)| Slice::new(&buffers[buffer], 4 * at as u64, spot.len as u64));
                    Param::new(name(number), param, grad)
                });
                ParamGroup::new(hyperparams.clone(), params.collect::<Vec<_>>())
            }),
        )
        .unwrap();
        let twin = cpu::MiAdam::new(groups.iter().enumerate().map(|(group, hyperparams)| {
            let params = in_group(group).map(|(spot, number): (&Spot, usize)| cpu::Param::new(name(number), spot.len));
            ParamGroup::new(hyperparams.clone(), params.collect::<Vec<_>>())
        }))
        .unwrap();
        Self { gpu, optimizer, twin, buffers, expected, spots: spots.to_vec() }
    }

    /// New gradients on both sides.
    pub fn set_grads(&mut self, mut value: impl FnMut() -> f32) {
        for spot in &self.spots {
            let range = spot.grad.1..spot.grad.1 + spot.len;
            let grad = &mut self.expected[spot.grad.0][range];
            grad.fill_with(&mut value);
            let offset = 4 * spot.grad.1 as u64;
            self.gpu.queue.write_buffer(&self.buffers[spot.grad.0], offset, bytemuck::cast_slice(grad));
        }
    }

    /// The same options on both sides.
    pub fn set_grad_options(&mut self, options: GradOptions) {
        self.optimizer.set_grad_options(options).unwrap();
        self.twin.set_grad_options(options).unwrap();
    }

    /// One step on the CPU.
    pub fn step_twin(&mut self) {
        let slice = |(buffer, at): (usize, usize), len: usize| self.expected[buffer][at..][..len].to_vec();
        let mut params: Vec<_> = self.spots.iter().map(|s| slice(s.param, s.len)).collect();
        let mut grads: Vec<_> = self.spots.iter().map(|s| slice(s.grad, s.len)).collect();
        if self.twin.grad_options().zero {
            let mut slices: Vec<_> = params.iter_mut().map(|param| cpu::ValuesMut::F32(param)).collect();
            let mut grads: Vec<_> = grads.iter_mut().map(|grad| cpu::ValuesMut::F32(grad)).collect();
            self.twin.step_values(&mut slices, &mut grads).unwrap();
        } else {
            let mut slices: Vec<_> = params.iter_mut().map(|param| &mut param[..]).collect();
            let grads: Vec<_> = grads.iter().map(|grad| &grad[..]).collect();
            self.twin.step(&mut slices, &grads).unwrap();
        }
        for (spot, (param, grad)) in self.spots.iter().zip(params.iter().zip(&grads)) {
            self.expected[spot.param.0][spot.param.1..][..spot.len].copy_from_slice(param);
            self.expected[spot.grad.0][spot.grad.1..][..spot.len].copy_from_slice(grad);
        }
    }

    /// One step on the GPU, submitted.
    pub fn step_gpu(&mut self) {
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).unwrap();
        self.gpu.queue.submit([encoder.finish()]);
    }

    /// Gradients and all that belongs to no tensor keep their bits.
    pub fn assert_untouched(&self, found: &[Vec<f32>]) {
        let mut is_param: Vec<_> = found.iter().map(|buffer| vec![false; buffer.len()]).collect();
        for spot in &self.spots {
            is_param[spot.param.0][spot.param.1..][..spot.len].fill(true);
        }
        for (buffer, is_param) in is_param.iter().enumerate() {
            for (at, _) in is_param.iter().enumerate().filter(|(_, is_param)| !**is_param) {
                let (found, expected) = (found[buffer][at], self.expected[buffer][at]);
                assert_eq!(found.to_bits(), expected.to_bits(), "buffer {buffer}, element {at} was touched");
            }
        }
    }

    /// Buffers as they are on the device.
    pub fn found(&self) -> Vec<Vec<f32>> {
        self.buffers.iter().map(|buffer| self.gpu.read(buffer)).collect()
    }
}

/// A small deterministic generator (SplitMix64), so that a failing seed can be run again.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// Roughly normal: the sum of twelve uniforms.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// Everything logged so far; messages name their values, by which a test finds its own.
pub fn logged() -> &'static Mutex<Vec<String>> {
    struct Keeper;
    static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    impl log::Log for Keeper {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            if record.target().starts_with("miadam") {
                MESSAGES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
            }
        }
        fn flush(&self) {}
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
    &MESSAGES
}
