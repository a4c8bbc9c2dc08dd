//! Checkpoints: a resumed run has the bits of one that was never stopped, and no file does harm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use half::{bf16, f16};
use miadam::cpu::ValuesMut;
use miadam::{
    Checkpoint, Dtype, Error, GradOptions, GradScaler, HalfParams, Hyperparams, MiAdam, Param, ParamGroup, Schedule,
    Slice, WeightDecay, cpu,
};

use crate::common::{Gpu, Random, gpu};

/// Name, group, length and type.
type Tensor = (&'static str, usize, usize, Dtype);

const TENSORS: [Tensor; 6] = [
    ("a", 0, 5000, Dtype::F32),
    ("b", 0, 37, Dtype::F32),
    ("layer.c", 1, 513, Dtype::Bf16),
    ("layer.d", 2, 4101, Dtype::F16),
    ("e", 2, 6, Dtype::F32),
    ("nothing", 2, 0, Dtype::F32),
];

/// Three groups with all that a checkpoint has to remember; ζ is 4 and 3.
fn groups() -> [Hyperparams; 3] {
    let cosine = Schedule::Cosine { steps: 9, end_factor: 0.1 };
    let warmup = Schedule::LinearWarmup { start_factor: 0.1, steps: 3 };
    [
        Hyperparams {
            order: 2,
            switch_step: 4,
            schedule: Schedule::Sequence(vec![(0, warmup), (3, cosine)]),
            ..Hyperparams::default()
        },
        Hyperparams {
            order: 1,
            switch_step: 3,
            half_params: HalfParams::Stochastic { seed: 5 },
            weight_decay: WeightDecay::Decoupled(0.01),
            ..Hyperparams::default()
        },
        Hyperparams {
            order: 0,
            amsgrad: true,
            schedule: Schedule::Exponential { gamma: 0.9 },
            ..Hyperparams::default()
        },
    ]
}

fn options() -> GradOptions {
    let scaler = GradScaler { init_scale: 8.0, growth_interval: 2, ..GradScaler::default() };
    GradOptions { clip_norm: Some(20.0), scaler: Some(scaler), factor: 0.5, ..GradOptions::default() }
}

/// How the same tensors are laid out and grouped.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// The order of the groups.
    order: [usize; 3],
    /// All parameters in one buffer, or each in its own.
    pool: bool,
}

const LAYOUTS: [Layout; 2] = [Layout { order: [0, 1, 2], pool: true }, Layout { order: [2, 0, 1], pool: false }];

/// The gradient of a tensor at a step, infinite at one of them.
fn grad((name, _, len, _): Tensor, step: usize) -> Vec<f32> {
    let mut random = Random(name.len() as u64 * 1000 + step as u64);
    let mut grad: Vec<_> = (0..len).map(|_| random.normal()).collect();
    if name == "b" && step == 2 {
        grad[7] = f32::INFINITY;
    }
    grad
}

fn start((name, _, len, dtype): Tensor) -> Vec<u8> {
    let mut random = Random(name.len() as u64);
    let values: Vec<f32> = (0..len).map(|_| 0.1 * random.normal()).collect();
    match dtype {
        Dtype::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
        Dtype::Bf16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
    }
}

/// An optimizer with its parameters, on either device.
trait Run: Sized {
    fn new(layout: Layout) -> Option<Self>;
    /// Steps `range`, counted from 0.
    fn steps(&mut self, range: std::ops::Range<usize>);
    fn checkpoint(&mut self) -> Checkpoint;
    fn load(&mut self, checkpoint: &Checkpoint);
}

struct OnGpu {
    gpu: Gpu,
    optimizer: MiAdam,
    grads: BTreeMap<&'static str, wgpu::Buffer>,
}

impl OnGpu {
    fn on(gpu: Gpu, layout: Layout) -> Self {
        let words = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.resize(bytes.len().next_multiple_of(4).max(4), 0);
            bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)
        };
        let pool: Vec<f32> = TENSORS.iter().flat_map(|&tensor| words(&start(tensor))).collect();
        let pool_buffer = gpu.buffer(&pool);
        let (mut offset, mut params, mut grads) = (0, BTreeMap::new(), BTreeMap::new());
        for tensor in TENSORS {
            let (name, group, len, dtype) = tensor;
            let values = words(&start(tensor));
            let (buffer, at) = if layout.pool { (pool_buffer.clone(), offset) } else { (gpu.buffer(&values), 0) };
            offset += 4 * values.len() as u64;
            let grad = gpu.buffer(&vec![0.0; len.max(1)]);
            let param = Slice::new(&buffer, at, len as u64).with_dtype(dtype);
            let param = Param::new(name, param, Slice::new(&grad, 0, len as u64));
            params.entry(group).or_insert_with(Vec::new).push(param);
            grads.insert(name, grad);
        }
        let groups = layout.order.map(|group| ParamGroup::new(self::groups()[group].clone(), params[&group].clone()));
        let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups).unwrap();
        optimizer.set_grad_options(options()).unwrap();
        Self { gpu, optimizer, grads }
    }
}

impl Run for OnGpu {
    fn new(layout: Layout) -> Option<Self> {
        Some(Self::on(gpu()?, layout))
    }

    fn steps(&mut self, range: std::ops::Range<usize>) {
        for step in range {
            for tensor in TENSORS {
                self.gpu.queue.write_buffer(&self.grads[tensor.0], 0, bytemuck::cast_slice(&grad(tensor, step)));
            }
            let mut encoder = self.gpu.encoder();
            self.optimizer.step(&mut encoder).unwrap();
            self.gpu.queue.submit([encoder.finish()]);
        }
    }

    fn checkpoint(&mut self) -> Checkpoint {
        let mut encoder = self.gpu.encoder();
        let checkpoint = self.optimizer.read_checkpoint(&mut encoder, true).unwrap();
        self.gpu.queue.submit([encoder.finish()]);
        self.gpu.wait();
        pollster::block_on(checkpoint).unwrap()
    }

    fn load(&mut self, checkpoint: &Checkpoint) {
        self.optimizer.load(checkpoint).unwrap();
        self.optimizer.write_params(checkpoint).unwrap();
    }
}

enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Values {
    fn new(dtype: Dtype, bytes: &[u8]) -> Self {
        let halves = || bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        match dtype {
            Dtype::F32 => Self::F32(bytemuck::pod_collect_to_vec(bytes)),
            Dtype::F16 => Self::F16(halves().map(f16::from_bits).collect()),
            Dtype::Bf16 => Self::Bf16(halves().map(bf16::from_bits).collect()),
        }
    }

    fn as_mut(&mut self) -> ValuesMut<'_> {
        match self {
            Self::F32(values) => ValuesMut::F32(values),
            Self::F16(values) => ValuesMut::F16(values),
            Self::Bf16(values) => ValuesMut::Bf16(values),
        }
    }
}

struct OnCpu {
    optimizer: cpu::MiAdam,
    /// In the order of the layout's groups.
    tensors: Vec<Tensor>,
    params: Vec<Values>,
}

impl Run for OnCpu {
    fn new(layout: Layout) -> Option<Self> {
        let of = |group: usize| TENSORS.into_iter().filter(move |&(_, own, ..)| own == group);
        let tensors: Vec<_> = layout.order.into_iter().flat_map(of).collect();
        let groups = layout.order.map(|group| {
            let params = of(group).map(|(name, _, len, dtype)| cpu::Param::new(name, len).with_dtype(dtype));
            ParamGroup::new(self::groups()[group].clone(), params.collect::<Vec<_>>())
        });
        let mut optimizer = cpu::MiAdam::new(groups).unwrap();
        optimizer.set_grad_options(options()).unwrap();
        let params = tensors.iter().map(|&tensor| Values::new(tensor.3, &start(tensor))).collect();
        Some(Self { optimizer, tensors, params })
    }

    fn steps(&mut self, range: std::ops::Range<usize>) {
        for step in range {
            let mut grads: Vec<_> = self.tensors.iter().map(|&tensor| grad(tensor, step)).collect();
            let mut grads: Vec<_> = grads.iter_mut().map(|grad| ValuesMut::F32(grad)).collect();
            let mut params: Vec<_> = self.params.iter_mut().map(Values::as_mut).collect();
            self.optimizer.step_values(&mut params, &mut grads).unwrap();
        }
    }

    fn checkpoint(&mut self) -> Checkpoint {
        let mut checkpoint = self.optimizer.checkpoint();
        for (tensor, param) in self.tensors.iter().zip(&mut self.params) {
            checkpoint.insert_param(tensor.0, &param.as_mut()).unwrap();
        }
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) {
        self.optimizer.load(checkpoint).unwrap();
        for (tensor, param) in self.tensors.iter().zip(&mut self.params) {
            let (dtype, bytes) = checkpoint.param(tensor.0).unwrap();
            *param = Values::new(dtype, bytes);
        }
    }
}

/// Everything in a checkpoint by name, however it is grouped.
fn contents(checkpoint: &Checkpoint) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::from([("step".to_owned(), checkpoint.step().to_string())]);
    for tensor in checkpoint.tensors() {
        // Bits that differ show as digits that differ: Rust prints floats so that they come back as they were.
        contents.insert(tensor.name.clone(), format!("{tensor:?} {:?}", checkpoint.param(&tensor.name)));
    }
    for (hyperparams, names) in checkpoint.groups() {
        contents.insert(format!("group of {names:?}"), format!("{hyperparams:?}"));
    }
    contents
}

/// Runs on from step `at` in another process's place: through the bytes of a file, in either layout.
fn resumes<First: Run, Second: Run>(at: usize) -> [Checkpoint; 2] {
    const END: usize = 7;
    let mut results = Vec::new();
    for layout in LAYOUTS {
        let Some(mut first) = First::new(LAYOUTS[0]) else { continue };
        first.steps(0..at);
        let bytes = first.checkpoint().to_bytes().unwrap();
        let loaded = Checkpoint::from_bytes(&bytes).unwrap();
        assert!(loaded == first.checkpoint());
        let mut second = Second::new(layout).unwrap();
        // What it has done before does not matter.
        second.steps(0..2);
        second.load(&loaded);
        assert!(contents(&second.checkpoint()) == contents(&loaded), "{layout:?} at {at}");
        second.steps(at..END);
        results.push(second.checkpoint());
    }
    results.try_into().unwrap_or_else(|_| unreachable!("one for each layout"))
}

fn a_resumed_run_is_the_same<R: Run>() {
    let Some(mut whole) = R::new(LAYOUTS[0]) else { return };
    whole.steps(0..7);
    let expected = whole.checkpoint();
    // Six steps taken and one skipped.
    assert_eq!(expected.step(), 6);
    // Before the first step, before the skipped one, after it, at both switches and after them.
    for at in 0..7 {
        for found in resumes::<R, R>(at) {
            assert!(contents(&found) == contents(&expected), "resumed at {at}");
        }
    }
}

#[test]
fn a_run_resumed_on_the_cpu_is_the_same() {
    a_resumed_run_is_the_same::<OnCpu>();
}

#[test]
fn a_run_resumed_on_the_gpu_is_the_same() {
    a_resumed_run_is_the_same::<OnGpu>();
}

#[test]
fn what_one_device_saves_the_other_loads() {
    if gpu().is_none() {
        return;
    }
    // Loading is exact, which `resumes` checks; what follows is the other device's.
    let near = |found: [Checkpoint; 2], expected: &Checkpoint| {
        for found in found {
            let values = |checkpoint: &Checkpoint| {
                let mut tensors = checkpoint.tensors().to_vec();
                tensors.sort_by(|a, b| a.name.cmp(&b.name));
                tensors.into_iter().flat_map(|tensor| tensor.second_moment).collect::<Vec<_>>()
            };
            for (found, expected) in values(&found).iter().zip(values(expected)) {
                // Seven steps of three roundings, and the clipping factor's.
                assert!((found - expected).abs() <= 64.0 * f32::EPSILON * expected.abs().max(1e-3));
            }
        }
    };
    let mut whole = OnCpu::new(LAYOUTS[0]).unwrap();
    whole.steps(0..7);
    let expected = whole.checkpoint();
    near(resumes::<OnGpu, OnCpu>(3), &expected);
    near(resumes::<OnCpu, OnGpu>(3), &expected);
}

#[test]
fn a_lost_device_is_followed_by_another() {
    let Some(first) = Gpu::new(wgpu::Limits::default()) else { return };
    let mut run = OnGpu::on(first.clone(), LAYOUTS[0]);
    run.steps(0..4);
    let saved = run.checkpoint();
    run.steps(4..5);
    first.wait();
    first.device.destroy();
    assert_eq!(run.optimizer.load(&saved), Err(Error::DeviceLost));
    let mut encoder = first.encoder();
    assert_eq!(run.optimizer.read_checkpoint(&mut encoder, true).err(), Some(Error::DeviceLost));

    let mut resumed = OnGpu::on(Gpu::new(wgpu::Limits::default()).unwrap(), LAYOUTS[1]);
    resumed.load(&saved);
    resumed.steps(4..7);
    let mut whole = OnGpu::new(LAYOUTS[0]).unwrap();
    whole.steps(0..7);
    assert!(contents(&resumed.checkpoint()) == contents(&whole.checkpoint()));
}

#[test]
fn released_integrals_are_not_missed() {
    let mut run = OnCpu::new(LAYOUTS[0]).unwrap();
    run.steps(0..5);
    let full = run.checkpoint();
    run.optimizer.release_integrals().unwrap();
    let released = Checkpoint::from_bytes(&run.checkpoint().to_bytes().unwrap()).unwrap();
    assert!(released.tensors().iter().all(|tensor| tensor.integrals.is_empty()));
    run.steps(5..7);
    let expected = contents(&run.checkpoint());
    // Into an optimizer that has integrals, and the other way round.
    let mut fresh = OnCpu::new(LAYOUTS[1]).unwrap();
    fresh.load(&released);
    fresh.steps(5..7);
    fresh.optimizer.release_integrals().unwrap();
    assert!(contents(&fresh.checkpoint()) == expected);
    fresh.load(&full);
    fresh.steps(5..7);
    assert!(contents(&fresh.checkpoint()) == expected);
    // Where they are needed, they are missed.
    let mut early = OnCpu::new(LAYOUTS[0]).unwrap();
    let error = fresh.optimizer.load(&early.checkpoint()).unwrap_err();
    assert!(error.to_string().contains("integrals"), "{error}");
    let Some(mut on_gpu) = OnGpu::new(LAYOUTS[0]) else { return };
    on_gpu.load(&released);
    on_gpu.optimizer.release_integrals().unwrap();
    on_gpu.steps(5..7);
    assert_eq!(on_gpu.checkpoint().step(), 6);
    early.steps(0..1);
    assert!(on_gpu.optimizer.load(&early.checkpoint()).is_err());
}

/// Optimizers that differ from the saved one, and what an error says.
fn misfits() -> Vec<(&'static str, Vec<ParamGroup<cpu::Param>>, &'static str, &'static str)> {
    let base = Hyperparams::default;
    let group = |hyperparams, names: &[(&str, usize)]| {
        ParamGroup::new(hyperparams, names.iter().map(|&(name, len)| cpu::Param::new(name, len)).collect::<Vec<_>>())
    };
    let other = |hyperparams| vec![group(hyperparams, &[("a", 4), ("b", 5)])];
    vec![
        ("missing", vec![group(base(), &[("a", 4), ("b", 5), ("c", 6)])], "c", "no such parameter"),
        ("extra", vec![group(base(), &[("a", 4)])], "b", "no such parameter"),
        ("renamed", vec![group(base(), &[("a", 4), ("B", 5)])], "B", "no such parameter"),
        ("another length", vec![group(base(), &[("a", 4), ("b", 6)])], "b", "5 elements"),
        ("another order", other(Hyperparams { order: 2, ..base() }), "a", "integrals"),
        ("amsgrad", other(Hyperparams { amsgrad: true, ..base() }), "a", "amsgrad"),
        ("other groups", vec![group(base(), &[("a", 4)]), group(base(), &[("b", 5)])], "a", "group"),
    ]
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let hyperparams = Hyperparams { lr: 0.02, ..Hyperparams::default() };
    let group = ParamGroup::new(hyperparams, [cpu::Param::new("a", 4), cpu::Param::new("b", 5)]);
    let mut saved = cpu::MiAdam::new([group]).unwrap();
    saved.step(&mut [&mut [0.0; 4], &mut [0.0; 5]], &[&[1.0; 4], &[2.0; 5]]).unwrap();
    let checkpoint = saved.checkpoint();
    for (case, groups, entry, text) in misfits() {
        let mut optimizer = cpu::MiAdam::new(groups).unwrap();
        let before = optimizer.clone();
        let error = optimizer.load(&checkpoint).unwrap_err();
        assert!(matches!(&error, Error::CheckpointEntry { entry: found, .. } if found == entry), "{case}: {error}");
        assert!(error.to_string().contains(text), "{case}: {error}");
        assert_eq!(format!("{optimizer:?}"), format!("{before:?}"), "{case}");

        let skipped = optimizer.load_lenient(&checkpoint).unwrap();
        assert!(
            skipped.iter().any(|skipped| skipped.entry == entry && skipped.reason.contains(text)),
            "{case}: {skipped:?}"
        );
        assert_eq!(optimizer.report().step, 1, "{case}");
        let fits = !["another order", "amsgrad"].contains(&case);
        let first = &optimizer.state().tensors[0];
        assert_eq!(first.first_moment == checkpoint.tensors()[0].first_moment, fits, "{case}");
    }
    let mut same =
        cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [cpu::Param::new("b", 5), cpu::Param::new("a", 4)])])
            .unwrap();
    assert_eq!(same.load_lenient(&checkpoint), Ok(vec![]));
    assert_eq!(same.hyperparams().next().unwrap().lr, 0.02, "hyperparameters are the checkpoint's");
}

/// The bytes of a small checkpoint, with its header as text.
fn small() -> (Vec<u8>, String) {
    let mut run = OnCpu::new(LAYOUTS[0]).unwrap();
    run.steps(0..1);
    let bytes = run.checkpoint().to_bytes().unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + len].to_vec()).unwrap();
    (bytes, header)
}

/// Steps and skipped steps are counted as far as 32 bits go, and no further.
fn full_counts_stay_full<R: Run>() {
    let Some(mut run) = R::new(LAYOUTS[0]) else { return };
    let (bytes, header) = small();
    let full = ["step", "skipped", "recorded"].iter().fold(header.clone(), |header, field| {
        let (before, after) = header.split_once(&format!(r#"\"{field}\":"#)).unwrap();
        let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
        format!(r#"{before}\"{field}\":4294967295{after}"#)
    });
    let file = [&(full.len() as u64).to_le_bytes(), full.as_bytes(), &bytes[8 + header.len()..]].concat();
    run.load(&Checkpoint::from_bytes(&file).unwrap());
    // The second of them is skipped.
    run.steps(1..3);
    let after = run.checkpoint().to_bytes().unwrap();
    let counts = r#"\"step\":4294967295,\"skipped\":4294967295,\"recorded\":4294967295"#;
    assert!(String::from_utf8_lossy(&after).contains(counts));
}

#[test]
fn full_counts_stay_full_on_the_cpu() {
    full_counts_stay_full::<OnCpu>();
}

#[test]
fn full_counts_stay_full_on_the_gpu() {
    full_counts_stay_full::<OnGpu>();
}

#[test]
fn hostile_files_are_errors() {
    let (bytes, header) = small();
    let data = &bytes[8 + header.len()..];
    let with = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    assert!(Checkpoint::from_bytes(&with(&header)).is_ok());
    let duplicate = header.replacen('{', r#"{"first_moment/a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"#, 1);
    for (case, from, to, text) in [
        ("version", r#"\"version\":1"#, r#"\"version\":2"#, "version 2"),
        ("no version", r#"\"version\":1,"#, "", "version"),
        ("a step that is no number", r#"\"step\":1"#, r#"\"step\":NaN"#, "miadam"),
        ("a negative step", r#"\"step\":1"#, r#"\"step\":-1"#, "miadam"),
        ("a step given twice", r#"\"step\":1"#, r#"\"step\":1,\"step\":2"#, "duplicate field"),
        ("an unknown field", r#"\"step\":1"#, r#"\"step\":1,\"stop\":2"#, "unknown field"),
        ("kappa", r#"\"kappa\":0.5"#, r#"\"kappa\":1.5"#, "kappa"),
        ("loss scale", r#"\"loss_scale\":8.0"#, r#"\"loss_scale\":0.0"#, "loss_scale"),
        // One more, and the count would overflow.
        ("good steps", r#"\"good_steps\":1"#, r#"\"good_steps\":4294967295"#, "good_steps"),
        ("a name twice", r#"[\"a\",\"b\"]"#, r#"[\"a\",\"a\"]"#, "`a`"),
        ("another order", r#"\"order\":2"#, r#"\"order\":3"#, "integral/3/a"),
        ("an order beyond all", r#"\"order\":2"#, r#"\"order\":4000000000"#, "order"),
        ("a lower order", r#"\"order\":2"#, r#"\"order\":1"#, "integral/2/a"),
        ("a missing tensor", r#""second_moment/a""#, r#""second_moment/z""#, "second_moment/a"),
        ("another name", r#"\"a\",\"b\""#, r#"\"a\",\"z\""#, "first_moment/z"),
        ("a shape", r#""shape":[5000]"#, r#""shape":[2500,2]"#, "shape"),
        ("a type", r#"{"dtype":"F32","shape":[37]"#, r#"{"dtype":"I32","shape":[37]"#, "I32"),
        ("metadata", r#"{"miadam":"#, r#"{"madam":"#, "miadam"),
    ] {
        assert!(header.contains(from), "{case}: {header}");
        let error = Checkpoint::from_bytes(&with(&header.replace(from, to))).unwrap_err();
        assert!(error.to_string().contains(text), "{case}: {error}");
    }
    let error = Checkpoint::from_bytes(&with(&duplicate)).unwrap_err();
    assert!(error.to_string().contains("`first_moment/a` stands twice"), "{error}");
    for len in [0, 7, 8, 100, 8 + header.len(), bytes.len() - 1] {
        assert!(Checkpoint::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    let lie = |len: u64| [&len.to_le_bytes(), &bytes[8..]].concat();
    for len in [u64::MAX, 1 << 40, bytes.len() as u64, 0] {
        assert!(Checkpoint::from_bytes(&lie(len)).is_err(), "a header of {len} bytes");
    }
}

#[test]
fn damaged_files_do_no_harm() {
    let (bytes, header) = small();
    let mut random = Random(1);
    let mut refused = 0;
    for _ in 0..3000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(3) {
            // Most of what can be damaged is said in the header.
            let at = random.below(8 + header.len());
            damaged[at] = random.bits() as u8;
        }
        // An error or a checkpoint, and then one that can be written.
        match Checkpoint::from_bytes(&damaged) {
            Ok(checkpoint) => drop(checkpoint.to_bytes().unwrap()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 2000, "{refused} of 3000");
}

/// A file in a folder of the test's own.
fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("checkpoints");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let checkpoint = OnCpu::new(LAYOUTS[0]).unwrap().checkpoint();
    let missing = file("missing").join("checkpoint.safetensors");
    for error in [checkpoint.save(&missing).unwrap_err(), Checkpoint::open(&missing).unwrap_err()] {
        assert!(matches!(&error, Error::CheckpointFile { path, .. } if *path == missing), "{error}");
        assert!(error.to_string().contains("checkpoint.safetensors"), "{error}");
    }
    let path = file("saved.safetensors");
    checkpoint.save(&path).unwrap();
    assert!(Checkpoint::open(&path).unwrap() == checkpoint);
    assert!(!file("saved.safetensors.tmp").exists());
}

/// Saves without end, steps 1, 2, 3, …; run by the test below in a process of its own, which it kills.
#[test]
#[ignore = "never ends"]
fn save_for_ever() {
    let path = PathBuf::from(std::env::var_os("MIADAM_SAVE_TO").unwrap());
    let mut optimizer =
        cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [cpu::Param::new("w", KILLED)])]).unwrap();
    if let Ok(saved) = Checkpoint::open(&path) {
        optimizer.load(&saved).unwrap();
    }
    let (mut w, grad) = (vec![0.0; KILLED], vec![1.0; KILLED]);
    loop {
        optimizer.step(&mut [&mut w], &[&grad]).unwrap();
        optimizer.checkpoint().save(&path).unwrap();
    }
}

/// Elements of what is saved in vain: a few megabytes, so that most kills come amid a file.
const KILLED: usize = 300_000;

#[test]
fn a_process_killed_at_any_moment_leaves_a_whole_checkpoint() {
    let path = file("killed.safetensors");
    let _ = std::fs::remove_file(&path);
    let mut random = Random(2);
    let (mut last, mut amid) = (0, 0);
    for kill in 0..100 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "checkpoint::save_for_ever", "--ignored", "--nocapture"])
            .env("MIADAM_SAVE_TO", &path)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_for_a_save(&path, last);
        std::thread::sleep(Duration::from_micros(random.below(30_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        amid += u32::from(file("killed.safetensors.tmp").exists());
        let saved = Checkpoint::open(&path).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        assert!(saved.step() > last, "kill {kill}: a later save than {last}");
        last = saved.step();
        // Whole: the moment that many steps make, in every element.
        let first_moment = &saved.tensors()[0].first_moment;
        assert!(first_moment.len() == KILLED && first_moment.iter().all(|&m| m == first_moment[0]), "kill {kill}");
    }
    assert!(amid > 10, "only {amid} of 100 kills came amid a file");
}

/// Until the process has saved a step past `last`.
fn wait_for_a_save(path: &Path, last: u32) {
    let start = std::time::Instant::now();
    while !Checkpoint::open(path).is_ok_and(|saved| saved.step() > last) {
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint appears");
        std::thread::sleep(Duration::from_millis(1));
    }
}
