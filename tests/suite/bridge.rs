//! Checkpoints from PyTorch, and for PyTorch. tests/golden/bridge.py says what is in the golden files and what makes them:
//! `MIADAM_WRITE_GOLDEN=1 cargo test --release --test suite bridge` writes those that come from Rust.

use std::collections::BTreeMap;
use std::path::PathBuf;

use miadam::{Checkpoint, GradOptions, Hyperparams, StepScale, WeightDecay};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::common::{Groups, OnCpu, OnGpu, Run, Start};
use crate::golden::{EPSILON, Golden, THETA_TOLERANCE, tolerance};

const CASES: [&str; 5] = ["adam", "adamw", "miadam", "pauses", "miadam_pauses"];

/// Steps before the checkpoint, and in all.
const BEFORE: usize = 5;
const STEPS: usize = 10;

/// Names and lengths.
type Params = Vec<(&'static str, usize)>;

/// The groups of a case, as tests/golden/bridge.py has them.
fn groups(case: &str) -> Vec<(Hyperparams, Params)> {
    let base = Hyperparams::default;
    let weights = vec![("layer.weight", 6), ("scalar", 1)];
    let biases = vec![("layer/bias", 5)];
    match case {
        "adam" => {
            let coupled = WeightDecay::Coupled(0.5);
            let first = Hyperparams { lr: 0.125, eps: 1e-3, weight_decay: coupled, order: 0, ..base() };
            let second = Hyperparams { lr: 0.01, beta1: 0.5, beta2: 0.75, maximize: true, order: 0, ..base() };
            vec![(first, weights), (second, biases)]
        }
        "adamw" => {
            let weight_decay = WeightDecay::Decoupled(0.5);
            let only = Hyperparams { lr: 0.125, beta2: 0.75, amsgrad: true, weight_decay, order: 0, ..base() };
            vec![(only, [weights, biases].concat())]
        }
        "pauses" => {
            let weight_decay = WeightDecay::Coupled(0.5);
            let only =
                Hyperparams { lr: 0.125, beta1: 0.5, beta2: 0.75, amsgrad: true, weight_decay, order: 0, ..base() };
            vec![(only, [weights, biases].concat())]
        }
        "miadam_pauses" => {
            let only = Hyperparams { lr: 0.125, beta1: 0.5, beta2: 0.75, switch_step: 5, ..base() };
            vec![(only, [weights, biases].concat())]
        }
        _ => {
            let first = Hyperparams { lr: 0.125, switch_step: 8, ..base() };
            let second = Hyperparams {
                lr: 0.01,
                order: 2,
                kappa: 0.75,
                step_scale: StepScale::UnitGain,
                weight_decay: WeightDecay::Decoupled(0.5),
                ..base()
            };
            let third = Hyperparams { lr: 0.5, beta2: 0.75, step_scale: StepScale::Reference, amsgrad: true, ..base() };
            vec![(first, weights), (second, biases), (third, vec![("other", 3)])]
        }
    }
}

/// The groups without all that a checkpoint brings with it.
fn plain(case: &str) -> Vec<(Hyperparams, Params)> {
    let plain = |h: Hyperparams| Hyperparams { order: h.order, amsgrad: h.amsgrad, ..Hyperparams::default() };
    groups(case).into_iter().map(|(h, params)| (plain(h), params)).collect()
}

fn params(case: &str) -> Params {
    groups(case).into_iter().flat_map(|(_, params)| params).collect()
}

fn path(case: &str, part: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bridge");
    folder.join(format!("{case}.{part}.safetensors"))
}

fn file(case: &str, part: &str) -> Golden {
    let bytes = std::fs::read(path(case, part)).unwrap();
    Golden { name: format!("{case}.{part}"), bytes }
}

fn singles(file: &Golden, entry: &str) -> Vec<f32> {
    file.floats(entry).into_iter().map(|value| value as f32).collect()
}

/// A run of these groups, of which each parameter starts with `values`.
fn begin<R: Run>(groups: Vec<(Hyperparams, Params)>, values: impl Fn(&str, usize) -> Vec<f32>) -> Option<R> {
    let start = |(name, len): (&str, usize)| Start {
        name: name.to_owned(),
        dtype: miadam::Dtype::F32,
        values: values(name, len),
    };
    let group = |(hyperparams, params): (Hyperparams, Params)| (hyperparams, params.into_iter().map(start).collect());
    R::new(&groups.into_iter().map(group).collect::<Groups>(), false)
}

/// A step, counted from 1, by the gradients in the file. It leaves out what has none.
fn take_step(run: &mut impl Run, case: &str, input: &Golden, step: usize) {
    let file = SafeTensors::deserialize(&input.bytes).unwrap();
    let entry = |name: &str| format!("grad/{step}/{name}");
    let params = params(case);
    let left_out = params.iter().filter(|(name, _)| file.tensor(&entry(name)).is_err());
    let left_out: Vec<_> = left_out.collect();
    run.optimizer().skip(left_out.iter().map(|(name, _)| name)).unwrap();
    run.step(|name| match left_out.iter().find(|(own, _)| *own == name) {
        Some((_, len)) => vec![f32::NAN; *len],
        None => singles(input, &entry(name)),
    });
}

/// How far the steps after PyTorch's checkpoint are from PyTorch's own: the worst error in units of ε·(scale + |θ|), and
/// in units of what it may be.
fn errors<R: Run>(case: &str, checkpoint: &Checkpoint) -> Option<(f64, f64)> {
    let input = file(case, "run");
    let mut resumed: R = begin(plain(case), |_, len| vec![0.0; len])?;
    resumed.load(checkpoint);
    let mut before = resumed.params();
    let (mut worst, mut share) = (0.0f64, 0.0f64);
    let orders: Vec<_> = groups(case).iter().flat_map(|(h, params)| vec![h.order as usize; params.len()]).collect();
    let expected: Vec<_> = params(case).iter().map(|(name, _)| input.expected("update", name)).collect();
    for step in 1..=STEPS - BEFORE {
        take_step(&mut resumed, case, &input, BEFORE + step);
        let after = resumed.params();
        for (number, expected) in expected.iter().enumerate() {
            let len = after[number].len();
            for (i, &(value, scale)) in expected[(step - 1) * len..][..len].iter().enumerate() {
                let [old, new] = [&before, &after].map(|params| f64::from(params[number][i]));
                let theta = old.abs().max(new.abs());
                let error = (new - old - value).abs();
                worst = worst.max(error / (EPSILON * (scale + theta)));
                // The state that the checkpoint holds is exact, so that only steps from there on count.
                share = share.max(
                    error
                        / (tolerance(&GradOptions::default(), orders[number], step) * scale + THETA_TOLERANCE * theta),
                );
            }
        }
        before = after;
    }
    Some((worst, share))
}

/// `allowed` errors beside thrice PyTorch's own, as tests/suite/golden.rs has it.
fn goes_on_from_pytorch<R: Run>(allowed: f64) {
    for case in CASES {
        let checkpoint = Checkpoint::open(path(case, "torch")).unwrap();
        let Some((worst, share)) = errors::<R>(case, &checkpoint) else { return };
        let float32 = file(case, "run").float32_error();
        println!("{case:8} {worst:.2} ε, PyTorch {float32:.2} ε; {share:.2} of the tolerance");
        assert!(share <= 1.0, "{case}: {share} of the tolerance");
        assert!(worst <= 3.0 * float32 + allowed, "{case}: {worst} ε, PyTorch {float32} ε");
    }
}

#[test]
fn the_cpu_goes_on_from_pytorch() {
    goes_on_from_pytorch::<OnCpu>(0.0);
}

#[test]
fn the_gpu_goes_on_from_pytorch() {
    goes_on_from_pytorch::<OnGpu>(5.0);
}

/// The tolerances are no larger than what they are to catch.
#[test]
fn slightly_wrong_checkpoints_are_noticed() {
    for (case, from, to) in [
        ("adam", r#"{\"step\": 5}"#, r#"{\"step\": 6}"#),
        ("pauses", r#"{\"step\": 3}"#, r#"{\"step\": 5}"#),
        ("miadam_pauses", r#"{\"step\": 0}"#, r#"{\"step\": 1}"#),
        ("adam", r#"\"lr\": 0.125"#, r#"\"lr\": 0.12501"#),
        ("adam", r#"\"eps\": 0.001"#, r#"\"eps\": 0.00101"#),
        ("adam", r#"\"maximize\": true"#, r#"\"maximize\": false"#),
        ("adam", r#"\"Coupled\": 0.5"#, r#"\"Decoupled\": 0.5"#),
        ("adamw", r#"\"Decoupled\": 0.5"#, r#"\"Decoupled\": 0.5001"#),
        ("adamw", r#"\"beta2\": 0.75"#, r#"\"beta2\": 0.7501"#),
        ("miadam", r#"\"kappa\": 0.75"#, r#"\"kappa\": 0.7501"#),
        ("miadam", r#"\"switch_step\": 8"#, r#"\"switch_step\": 9"#),
        ("miadam", r#"\"Reference\""#, r#"\"Paper\""#),
    ] {
        let bytes = file(case, "torch").bytes;
        let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let (header, data) = bytes[8..].split_at(len);
        let header = String::from_utf8(header.to_vec()).unwrap();
        assert!(header.contains(from), "{case}: {header}");
        let header = header.replacen(from, to, 1);
        let wrong = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
        let (_, share) = errors::<OnCpu>(case, &Checkpoint::from_bytes(&wrong).unwrap()).unwrap();
        assert!(share > 1.0, "{case}: {to} passes");
    }
}

/// The metadata without the clocks, and the steps of each parameter. PyTorch has no gains, by which clocks may be divided.
fn metadata(bytes: &[u8]) -> (serde_json::Value, BTreeMap<String, u64>) {
    let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    let mut metadata: serde_json::Value =
        serde_json::from_str(&metadata.metadata().as_ref().unwrap()["miadam"]).unwrap();
    let clocks = metadata.as_object_mut().unwrap().remove("clocks").unwrap();
    let mut steps = BTreeMap::new();
    for clock in clocks.as_array().unwrap() {
        for name in clock["params"].as_array().unwrap() {
            steps.insert(name.as_str().unwrap().to_owned(), clock["counts"]["step"].as_u64().unwrap());
        }
    }
    (metadata, steps)
}

#[test]
fn both_sides_describe_a_case_alike() {
    for case in CASES {
        let [torch, rust] = ["torch", "rust"].map(|part| file(case, part).bytes);
        assert_eq!(metadata(&torch), metadata(&rust), "{case}");
        let names = |bytes: &[u8]| {
            let mut names: Vec<_> =
                SafeTensors::deserialize(bytes).unwrap().names().into_iter().map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(names(&torch), names(&rust), "{case}");
        let checkpoint = Checkpoint::from_bytes(&torch).unwrap();
        let found: Vec<_> =
            checkpoint.groups().map(|(hyperparams, names)| (hyperparams.clone(), names.to_vec())).collect();
        let names = |params: Params| params.into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        let expected: Vec<_> = groups(case).into_iter().map(|(h, params)| (h, names(params))).collect();
        assert_eq!(found, expected, "{case}");
    }
}

/// The bytes of `CASE.rust` and `CASE.after`.
fn written(case: &str) -> [Vec<u8>; 2] {
    let input = file(case, "run");
    let mut run: OnCpu = begin(groups(case), |name, _| singles(&input, &format!("start/{name}"))).unwrap();
    for step in 1..=BEFORE {
        take_step(&mut run, case, &input, step);
    }
    let checkpoint = run.checkpoint();
    let mut after = Vec::new();
    for step in BEFORE + 1..=STEPS {
        take_step(&mut run, case, &input, step);
        for ((name, _), values) in params(case).into_iter().zip(run.params()) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            after.push((format!("param/{step}/{name}"), bytes));
        }
    }
    let view = |bytes| TensorView::new(Dtype::F32, vec![<[u8]>::len(bytes) / 4], bytes).unwrap();
    let after = after.iter().map(|(name, bytes)| (name, view(bytes)));
    [checkpoint.to_bytes().unwrap(), safetensors::serialize(after, None).unwrap()]
}

/// So that what PyTorch was checked with, by `bridge.py --check`, is still what Rust writes.
#[test]
fn the_checkpoints_for_pytorch_are_what_rust_writes() {
    for case in CASES {
        for (part, bytes) in ["rust", "after"].into_iter().zip(written(case)) {
            if std::env::var_os("MIADAM_WRITE_GOLDEN").is_some() {
                std::fs::write(path(case, part), &bytes).unwrap();
            }
            assert!(bytes == file(case, part).bytes, "{case}.{part} has changed; see tests/golden/bridge.py");
        }
    }
}
