//! How much memory it takes, what happens where there is not as much, and that no step keeps any.
//!
//! The ignored ones take minutes and gigabytes, and one measures the memory of its process, so that they run one by one:
//! `cargo test --release --test suite memory -- --ignored --nocapture --test-threads 1`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use miadam::{Dtype, Error, GradOptions, Hyperparams, MiAdam, Param, ParamGroup, Slice, cpu};

use crate::common::{Gpu, gpu};

fn hyperparams(order: u32, amsgrad: bool) -> Hyperparams {
    Hyperparams { order, amsgrad, lr: 0.5, ..Hyperparams::default() }
}

#[test]
fn state_bytes_are_known_beforehand() {
    let params = || [cpu::Param::new("a", 1001), cpu::Param::new("b", 7).with_dtype(Dtype::F16)];
    for (order, amsgrad) in [(0, false), (1, true), (3, false)] {
        let group = ParamGroup::new(hyperparams(order, amsgrad), params());
        let planes = 2 + u64::from(order) + u64::from(amsgrad);
        // A master copy of the one in half precision.
        assert_eq!(group.state_bytes(), 4 * (planes * 1001 + (planes + 1) * 7));
        assert_eq!(cpu::MiAdam::new([group.clone()]).unwrap().state_bytes(), group.state_bytes());
    }
    let Some(gpu) = gpu() else { return };
    let buffer = || gpu.buffer(&[0.0; 1004]);
    for (order, amsgrad) in [(0, false), (1, true), (3, false)] {
        let [a, b] = [(1001, Dtype::F32), (7, Dtype::F16)].map(|(len, dtype)| {
            let param = Slice::new(&buffer(), 0, len).with_dtype(dtype);
            Param::new(dtype.to_string(), param, Slice::new(&buffer(), 0, len))
        });
        let group = ParamGroup::new(hyperparams(order, amsgrad), [a, b]);
        let bytes = group.state_bytes();
        assert_eq!(MiAdam::new(&gpu.device, &gpu.queue, [group]).unwrap().state_bytes(), bytes);
    }
}

#[test]
fn the_hosts_own_flag_counts() {
    let Some(gpu) = gpu() else { return };
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [ParamGroup::new(hyperparams(1, false), [])]).unwrap();
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
    let buffer = || {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let size = 4 * len;
        gpu.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let (param, grad) = (buffer(), buffer());
    let group = |order| {
        let param = Param::new("w", Slice::whole(&param), Slice::whole(&grad));
        ParamGroup::new(Hyperparams { order, lr: 0.5, ..Hyperparams::default() }, [param])
    };
    // 16 GiB and a half.
    let large = group(64);
    let bytes = large.state_bytes();
    let error = MiAdam::new(&gpu.device, &gpu.queue, [large]).unwrap_err();
    assert_eq!(error, Error::OutOfMemory { bytes }, "{error}");
    // The device is as good as before.
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group(0)]).unwrap();
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).unwrap();
    gpu.queue.submit([encoder.finish()]);
    assert_eq!(gpu.report(&optimizer).step, 1);
    println!("the device is usable");
}

/// A software driver's memory is its process's, which Linux can bound.
#[test]
#[cfg(target_os = "linux")]
fn state_that_does_not_fit_is_an_error() {
    let Some(gpu) = gpu() else { return };
    if gpu.device.adapter_info().device_type != wgpu::DeviceType::Cpu {
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
    let buffers = [gpu.buffer(&[0.0; 5000]), gpu.buffer(&[1e-3; 5000])];
    let param = Param::new("w", Slice::whole(&buffers[0]), Slice::whole(&buffers[1]));
    let group = ParamGroup::new(Hyperparams { switch_step: 50_000, ..Hyperparams::default() }, [param]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group]).unwrap();
    optimizer.set_grad_options(GradOptions { clip_norm: Some(1.0), ..GradOptions::default() }).unwrap();
    let mut marks = Vec::new();
    let start = Instant::now();
    for step in 0..100_000 {
        // Another learning rate each, so that each is written.
        optimizer.set_lr(0, 1e-3 / f64::from(1 + step % 1000)).unwrap();
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        gpu.queue.submit([encoder.finish()]);
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
        let group = ParamGroup::new(Hyperparams::default(), [cpu::Param::new("w", LEN)]);
        let mut optimizer = cpu::MiAdam::new([group]).unwrap();
        let (mut w, grad) = (vec![0.0f32; LEN], vec![0.5f32; LEN]);
        let start = Instant::now();
        for _ in 0..2 {
            optimizer.step(&mut [&mut w], &[&grad]).unwrap();
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
        let buffer =
            gpu.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        let part = vec![value; 16 << 20];
        for offset in (0..size).step_by(64 << 20) {
            gpu.queue.write_buffer(&buffer, offset, bytemuck::cast_slice(&part));
            gpu.queue.submit([]);
            gpu.wait();
        }
        buffer
    };
    let (w, grad) = (buffer(0.0), buffer(0.5));
    let param = Param::new("w", Slice::whole(&w), Slice::whole(&grad));
    let mut optimizer =
        MiAdam::new(&gpu.device, &gpu.queue, [ParamGroup::new(Hyperparams::default(), [param])]).unwrap();
    println!("GPU: {} dispatches", optimizer.dispatches().unwrap());
    let start = Instant::now();
    for _ in 0..2 {
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        gpu.queue.submit([encoder.finish()]);
    }
    gpu.wait();
    println!("GPU: two steps in {:?}", start.elapsed());
    let found = gpu.read(&w);
    assert!(found.iter().all(|&value| value == found[0]) && found[0] < -1e-3);
}
