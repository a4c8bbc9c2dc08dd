//! How much memory it takes, what happens where there is not as much, and that no step keeps any.
//!
//! The ignored ones take minutes and gigabytes, and one measures the memory of its process, so that they run one by one:
//! `cargo test --release --test suite memory -- --ignored --nocapture --test-threads 1`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use miadam::{Binding, Dtype, Error, GradOptions, Hyperparams, MiAdam, Param, ParamGroup, cpu};

use crate::common::{Gpu, empty_groups, empty_on_gpu, gpu};

fn hyperparams(order: u32, amsgrad: bool) -> Hyperparams {
    Hyperparams { order, amsgrad, lr: 0.5, ..Hyperparams::default() }
}

#[test]
fn state_bytes_are_known_beforehand() {
    for (order, amsgrad) in [(0, false), (1, true), (3, false)] {
        let params = [Param::new("a", 1001), Param::new("b", 7).with_dtype(Dtype::F16)];
        let group = ParamGroup::new(hyperparams(order, amsgrad), params);
        let planes = 2 + u64::from(order) + u64::from(amsgrad);
        // In whole quads, with a master copy of the one in half precision.
        assert_eq!(group.state_bytes(), 16 * (planes * 251 + (planes + 1) * 2));
        // The CPU does without what fills the quads.
        let twin = cpu::MiAdam::new([group.clone()]).unwrap();
        assert_eq!(twin.state_bytes(), 4 * (planes * 1001 + (planes + 1) * 7));
        let Some(gpu) = gpu() else { continue };
        let buffers = [(); 4].map(|()| gpu.buffer_of(&[0.0; 1004]));
        let bindings = [Binding::new("a", &buffers[0], &buffers[1]), Binding::new("b", &buffers[2], &buffers[3])];
        let bindings = bindings.map(|binding| binding.with_grad_dtype(Dtype::F32));
        let optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group.clone()], bindings).unwrap();
        assert_eq!(optimizer.state_bytes(), group.state_bytes());
    }
}

#[test]
fn the_hosts_own_flag_counts() {
    let Some(gpu) = gpu() else { return };
    let mut optimizer = empty_on_gpu(&gpu, empty_groups([hyperparams(1, false)])).unwrap();
    let lost = Arc::new(AtomicBool::new(false));
    optimizer.set_lost_flag(Arc::clone(&lost));
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).unwrap();
    lost.store(true, Ordering::Relaxed);
    assert_eq!(optimizer.step(&mut encoder), Err(Error::DeviceLost));
    assert_eq!(optimizer.read_state(&mut encoder).err(), Some(Error::DeviceLost));
    assert_eq!(optimizer.set_grad_options(GradOptions { clip_norm: Some(1.0), ..GradOptions::default() }), Ok(()));
}

/// Set where memory is bounded.
const BOUNDED: &str = "MIADAM_TEST_BOUNDED";

/// Asks for more state than there is memory; run by the test below in a process of its own, whose memory is bounded.
#[test]
#[ignore = "run by state_that_does_not_fit_is_an_error"]
fn ask_for_too_much() {
    if std::env::var_os(BOUNDED).is_none() {
        return;
    }
    let gpu = Gpu::new(wgpu::Limits::default()).unwrap();
    let len = 64 << 20;
    let [param, grad] = [(); 2].map(|()| gpu.buffer("large", 4 * len, wgpu::BufferUsages::STORAGE).unwrap());
    let binding = || Binding::new("w", &param, &grad);
    let group = |order| {
        ParamGroup::new(Hyperparams { order, lr: 0.5, ..Hyperparams::default() }, [Param::new("w", len as usize)])
    };
    // 16 GiB and a half.
    let large = group(64);
    let bytes = large.state_bytes();
    let error = MiAdam::new(&gpu.device, &gpu.queue, [large], [binding()]).unwrap_err();
    assert_eq!(error, Error::OutOfMemory { bytes }, "{error}");
    // The device is as good as before.
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group(0)], [binding()]).unwrap();
    gpu.step(&mut optimizer);
    assert_eq!(gpu.report(&optimizer).step, 1);
    println!("the device is usable");
}

/// A software driver's memory is its process's, which Linux can bound.
#[test]
#[cfg(target_os = "linux")]
fn state_that_does_not_fit_is_an_error() {
    let Some(gpu) = gpu() else { return };
    if gpu.info.device_type != wgpu::DeviceType::Cpu {
        eprintln!("SKIPPED: the GPU has memory of its own");
        return;
    }
    let output = std::process::Command::new("prlimit")
        .arg("--as=8589934592")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "memory::ask_for_too_much", "--ignored", "--nocapture"])
        .env(BOUNDED, "1")
        .output()
        .expect("prlimit, of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("the device is usable"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Bytes of memory that this process has in use.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
}

#[test]
#[ignore = "takes minutes"]
#[cfg(target_os = "linux")]
fn a_hundred_thousand_steps_keep_no_memory() {
    let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
    let buffers = [gpu.buffer_of(&[0.0; 5000]), gpu.buffer_of(&[1e-3; 5000])];
    let hyperparams = Hyperparams { switch_step: 50_000, ..Hyperparams::default() };
    let group = ParamGroup::new(hyperparams, [Param::new("w", 5000)]);
    let binding = Binding::new("w", &buffers[0], &buffers[1]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], [binding]).unwrap();
    optimizer.set_grad_options(GradOptions { clip_norm: Some(1.0), ..GradOptions::default() }).unwrap();
    let mut marks = Vec::new();
    let start = Instant::now();
    for step in 0..100_000 {
        // Another learning rate each, so that each is written.
        optimizer.set_lr(0, 1e-3 / f64::from(1 + step % 1000)).unwrap();
        gpu.step(&mut optimizer);
        if step % 100 == 99 {
            gpu.wait();
        }
        if step % 10_000 == 9999 {
            let buffers = gpu.device.get_internal_counters().hal.buffers.read();
            println!("step {}: {} MB, {buffers} buffers, {:?}", step + 1, resident() >> 20, start.elapsed());
            marks.push((resident(), buffers));
        }
    }
    assert_eq!(gpu.report(&optimizer).step, 100_000);
    let (first, last) = (marks[0], marks[9]);
    // The allocator's and the driver's own coming and going.
    assert!(last.0 < first.0 + (8 << 20), "{marks:?}");
    assert!(last.1 <= first.1 + 16, "{marks:?}");
}

#[test]
#[ignore = "takes 6 GB"]
fn a_quarter_of_a_billion_parameters() {
    const LEN: usize = 256 << 20;
    {
        let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", LEN)]);
        let mut optimizer = cpu::MiAdam::new([group]).unwrap();
        let (mut w, mut grad) = (vec![0.0f32; LEN], vec![0.5f32; LEN]);
        let start = Instant::now();
        for _ in 0..2 {
            optimizer.step([cpu::Binding::new("w", &mut w, &mut grad)]).unwrap();
        }
        println!("CPU: two steps in {:?}", start.elapsed());
        assert!(w.iter().all(|&value| value == w[0]) && w[0] < -1e-3);
    }
    // Buffers of 1 GiB, bindings of 128 MiB.
    let limits = wgpu::Limits { max_buffer_size: 1 << 30, ..wgpu::Limits::default() };
    let Some(gpu) = Gpu::new(limits) else { return };
    let buffer = |value: f32| {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let size = 4 * LEN as u64;
        let buffer = gpu.buffer("large", size, usage).unwrap();
        let part = vec![value; 16 << 20];
        for offset in (0..size).step_by(64 << 20) {
            gpu.queue.write_buffer(&buffer, offset, bytemuck::cast_slice(&part));
            gpu.queue.submit([]);
            gpu.wait();
        }
        buffer
    };
    let (w, grad) = (buffer(0.0), buffer(0.5));
    let group = ParamGroup::new(Hyperparams::default(), [Param::new("w", LEN)]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], [Binding::new("w", &w, &grad)]).unwrap();
    println!("GPU: {} dispatches", optimizer.dispatches().unwrap());
    let start = Instant::now();
    for _ in 0..2 {
        gpu.step(&mut optimizer);
    }
    gpu.wait();
    println!("GPU: two steps in {:?}", start.elapsed());
    let found = gpu.floats(&w);
    assert!(found.iter().all(|&value| value == found[0]) && found[0] < -1e-3);
}

/// Tensors in buffers of their own, as many as the largest language models have several times over.
fn many(gpu: &Gpu, count: usize) -> MiAdam {
    let names: Vec<_> = (0..count).map(|number| format!("layer.{number}")).collect();
    let buffers: Vec<_> = (0..2 * count).map(|_| gpu.buffer_of(&[0.5; 64])).collect();
    let params = names.iter().map(|name| Param::new(name, 64));
    let bindings = names.iter().enumerate().map(|(n, name)| Binding::new(name, &buffers[2 * n], &buffers[2 * n + 1]));
    let group = ParamGroup::new(hyperparams(1, false), params);
    MiAdam::new(&gpu.device, &gpu.queue, [group], bindings).unwrap()
}

#[test]
fn a_readback_of_many_tensors_takes_few_buffers() {
    // Counters are the device's: nothing else may run on it, hence a device of its own.
    let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
    let mut optimizer = many(&gpu, 1000);
    gpu.step(&mut optimizer);
    gpu.wait();
    let before = gpu.live_objects()[0];
    let mut encoder = gpu.encoder();
    let checkpoint = optimizer.read_checkpoint(&mut encoder, true).unwrap();
    let made = gpu.live_objects()[0] - before;
    assert!((1..=4).contains(&made), "{made} buffers");
    gpu.submit(encoder);
    let checkpoint = checkpoint.wait().unwrap();
    let mut resumed = many(&gpu, 1000);
    resumed.load(&checkpoint).unwrap();
    resumed.write_params(&checkpoint).unwrap();
    assert!(gpu.state(&resumed) == gpu.state(&optimizer));
    assert!(gpu.checkpoint(&resumed, true) == checkpoint);
}

#[test]
fn readbacks_keep_within_the_largest_buffer_there_may_be() {
    let limits =
        wgpu::Limits { max_buffer_size: 1 << 17, max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() };
    let Some(gpu) = Gpu::new(limits) else { return };
    let [param, grad] = [0; 2].map(|_| gpu.buffer_of(&vec![0.5; 16_000]));
    let group = ParamGroup::new(hyperparams(1, false), [Param::new("w", 16_000)]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], [Binding::new("w", &param, &grad)]).unwrap();
    gpu.step(&mut optimizer);
    let checkpoint = gpu.checkpoint(&optimizer, true);
    optimizer.load(&checkpoint).unwrap();
    assert_eq!(gpu.checkpoint(&optimizer, true), checkpoint);
}

/// `cargo test --release --test suite -- --ignored --nocapture twenty_one_thousand` prints the times.
#[test]
#[ignore = "prints times, for docs/checkpoint.md"]
fn twenty_one_thousand_tensors() {
    let Some(gpu) = Gpu::new(wgpu::Limits::default()) else { return };
    let mut optimizer = many(&gpu, 21_000);
    gpu.step(&mut optimizer);
    gpu.wait();
    let time = |what: &str, start: std::time::Instant| eprintln!("{what}: {:.2} s", start.elapsed().as_secs_f64());
    let start = std::time::Instant::now();
    let checkpoint = gpu.checkpoint(&optimizer, true);
    time("read_checkpoint", start);
    let start = std::time::Instant::now();
    optimizer.load(&checkpoint).unwrap();
    time("load", start);
    let start = std::time::Instant::now();
    optimizer.write_params(&checkpoint).unwrap();
    gpu.wait();
    time("write_params", start);
}
