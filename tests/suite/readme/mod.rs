//! README's snippets, run. Each file beside this one is a snippet, letter for letter.

mod changing;
mod checkpoints;
mod cpu;
mod device;
mod embedding;
mod half_precision;
mod logging;
mod training_loop;

use std::path::{Path, PathBuf};

use miadam::wgpu::{BufferDescriptor, BufferUsages};
use miadam::{Binding, Dtype, Hyperparams, MiAdam, Param, ParamGroup, Phase};
use miadam_support::gpu::Gpu;

/// The gradient of every element.
const GRAD: f32 = 0.5;

/// 1000 weights, their gradients, 10 biases, their gradients.
fn pool(gpu: &Gpu) -> miadam::wgpu::Buffer {
    let values = [(0.0, 1000), (GRAD, 1000), (0.0, 10), (GRAD, 10)].map(|(value, len)| vec![value; len]).concat();
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
    gpu.buffer_with("pool", bytemuck::cast_slice::<f32, _>(&values), usage).unwrap()
}

#[test]
fn the_readme_has_these_snippets() {
    let readme = include_str!("../../../README.md");
    for (name, snippet) in [
        ("device", include_str!("device.rs")),
        ("embedding", include_str!("embedding.rs")),
        ("training_loop", include_str!("training_loop.rs")),
        ("logging", include_str!("logging.rs")),
        ("changing", include_str!("changing.rs")),
        ("checkpoints", include_str!("checkpoints.rs")),
        ("half_precision", include_str!("half_precision.rs")),
        ("cpu", include_str!("cpu.rs")),
    ] {
        assert!(readme.contains(&format!("```rust\n{snippet}```\n")), "README lacks {name}.rs as it is");
    }
    assert_eq!(readme.matches("```rust").count(), 8, "README has a snippet that is not run");
}

/// All pages, by their paths in the repository.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !is_hidden && !path.ends_with("target") {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_link_to_a_file_of_the_repository_leads_there() {
    let mut found = Vec::new();
    pages(Path::new(env!("CARGO_MANIFEST_DIR")), &mut found);
    assert!(found.len() > 5, "{found:?}");
    for page in found {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_local = !link.is_empty() && !link.contains("://");
            assert!(!is_local || page.parent().unwrap().join(link).exists(), "{}: {link}", page.display());
        }
    }
}

#[test]
fn they_train_log_save_and_resume() {
    let Some(gpu) = Gpu::for_test(Default::default()) else { return };
    let (device, queue, pool) = (&gpu.device, &gpu.queue, pool(&gpu));
    let mut optimizer = embedding::optimizer(device, queue, &pool).unwrap();
    embedding::step(device, queue, &mut optimizer).unwrap();
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&gpu.read(&pool).unwrap());
    // Adam's first step is the learning rate, whatever the gradient; ε takes 2e-8 of it.
    let is_moved = |value: &f32| (value / -1e-3 - 1.0).abs() < 1e-5;
    assert!(values[..1000].iter().chain(&values[2000..2010]).all(is_moved));

    training_loop::prepare(&mut optimizer).unwrap();
    embedding::step(device, queue, &mut optimizer).unwrap();
    logging::log(device, queue, &optimizer).unwrap();
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&gpu.read(&pool).unwrap());
    assert!(values[1000..2000].iter().all(|&grad| grad == 0.0), "gradients are reset");

    let folder = std::env::temp_dir().join(format!("miadam-readme-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("run.safetensors");
    checkpoints::save(device, queue, &optimizer, &file).unwrap();
    gpu.write(&pool, 0, &vec![0; 4000]).unwrap();
    let mut resumed = embedding::optimizer(device, queue, &pool).unwrap();
    checkpoints::resume(&mut resumed, &file).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();

    let mut encoder = gpu.encoder();
    let report = resumed.read_report(&mut encoder).unwrap();
    queue.submit([encoder.finish()]);
    let report = report.wait().unwrap();
    assert_eq!((report.step, report.skipped), (2, 0));
    assert_eq!([report.groups[0].phase, report.groups[1].phase], [Phase::Integrating, Phase::Adam]);
    let restored: Vec<f32> = bytemuck::pod_collect_to_vec(&gpu.read(&pool).unwrap());
    assert_eq!(restored[..1000], values[..1000]);
}

#[test]
fn the_device_that_they_open_is_enough() {
    if Gpu::for_test(Default::default()).is_none() {
        return;
    }
    let (device, queue) = pollster::block_on(device::open()).unwrap();
    let usage = BufferUsages::STORAGE;
    let pool = BufferDescriptor { label: None, size: 4 * 2020, usage, mapped_at_creation: false };
    let mut optimizer = embedding::optimizer(&device, &queue, &device.create_buffer(&pool)).unwrap();
    embedding::step(&device, &queue, &mut optimizer).unwrap();
}

#[test]
fn they_change_a_model() {
    let Some(gpu) = Gpu::for_test(Default::default()) else { return };
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
    let ones = |len: usize| gpu.buffer_with("ones", bytemuck::cast_slice(&vec![1.0_f32; len]), usage).unwrap();
    let groups = [["body", "more body"], ["head", "points"]].map(|names| {
        let params = names.map(|name| Param::new(name, 12));
        ParamGroup::new(Hyperparams::default(), params)
    });
    let buffers = ["body", "more body", "head", "points"].map(|name| (name, ones(12), ones(12)));
    let bindings = buffers.iter().map(|(name, param, grad)| Binding::new(name, param, grad));
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups, bindings).unwrap();
    let mut encoder = gpu.encoder();
    changing::step(&mut optimizer, &mut encoder, &["more body".to_owned()]).unwrap();
    gpu.queue.submit([encoder.finish()]);

    let (head, gradients) = (ones(500), ones(500));
    changing::fine_tune(&mut optimizer, &head, &gradients).unwrap();
    let rows = gpu.buffer_with("rows", bytemuck::cast_slice(&[3_u32, 1, 0, 2, 2]), usage).unwrap();
    let moved = [ones(15), ones(15), ones(15), ones(15)];
    let [body, body_grad, points, points_grad] = &moved;
    let places = [Binding::new("body", body, body_grad), Binding::new("points", points, points_grad)];
    changing::prolong(&mut optimizer, 100).unwrap();
    let mut encoder = gpu.encoder();
    changing::densify(&mut optimizer, &mut encoder, places, &rows, [4, 5]).unwrap();
    changing::step(&mut optimizer, &mut encoder, &[]).unwrap();
    let state = optimizer.read_state(&mut encoder).unwrap();
    gpu.queue.submit([encoder.finish()]);
    let state = state.wait().unwrap();
    let counts: Vec<_> = state.params.iter().map(|param| (&param.name[..], param.len(), param.step())).collect();
    assert_eq!(counts, [("body", 15, 1), ("more body", 12, 0), ("points", 15, 2), ("new head", 500, 1)]);
    let first: Vec<f32> = bytemuck::pod_collect_to_vec(&gpu.read(&head).unwrap());
    // The first step of a new head is its learning rate, though the optimizer is at its second.
    assert!(first.iter().all(|value| (1.0 - value - 3e-3).abs() < 1e-6), "{}", first[0]);
}

#[test]
fn they_train_in_half_precision_and_on_the_cpu() {
    let Some(gpu) = Gpu::for_test(Default::default()) else { return };
    let usage = BufferUsages::STORAGE;
    let weights = gpu.buffer("weights", 2000, usage).unwrap();
    let gradients = gpu.buffer("gradients", 4000, usage).unwrap();
    let optimizer = half_precision::half_precision(&gpu.device, &gpu.queue, &weights, &gradients).unwrap();
    assert!(optimizer.params().all(|param| param.dtype == Dtype::Bf16));
    assert!(optimizer.bindings().all(|binding| binding.grad_dtype == Some(Dtype::F32)));

    let (mut weights, mut gradients) = (vec![0.0; 10], vec![GRAD; 10]);
    cpu::on_the_cpu(&mut weights, &mut gradients).unwrap();
    assert!(weights.iter().all(|weight| *weight < 0.0));
}
