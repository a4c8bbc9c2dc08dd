//! `cargo test --release --example replay`

use std::collections::HashMap;
use std::error::Error;
use std::fs;

use miadam::{GradOptions, GradScaler, Schedule};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};

use super::adapter::AdapterError;
use super::case::{Case, CaseError};
use super::command_line::one_line;
use super::device::check;
use super::{Args, Kind, run};

/// A file's entries: all tensors hold 1, 2, 3, … but for one.
#[derive(Clone)]
struct File {
    tensors: Vec<(&'static str, Dtype, Vec<usize>)>,
    /// The tensor that is infinite.
    infinite: Option<&'static str>,
    metadata: HashMap<String, String>,
}

/// Two parameters, two steps.
fn good() -> File {
    let tensors = [
        ("param/a.b/c", vec![2, 3]),
        ("param/s", vec![]),
        ("grad/1/a.b/c", vec![2, 3]),
        ("grad/1/s", vec![]),
        ("grad/2/a.b/c", vec![2, 3]),
        ("grad/2/s", vec![]),
    ];
    let groups = r#"[{"params": ["s"], "order": 2, "amsgrad": true}, {"params": ["a.b/c"], "order": 0}]"#;
    File {
        tensors: tensors.map(|(name, shape)| (name, Dtype::F32, shape)).into(),
        infinite: None,
        metadata: HashMap::from([("groups".to_owned(), groups.to_owned())]),
    }
}

impl File {
    fn set(mut self, name: &'static str, dtype: Dtype, shape: &[usize]) -> Self {
        self.tensors.retain(|&(old, ..)| old != name);
        self.tensors.push((name, dtype, shape.to_vec()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.tensors.retain(|&(old, ..)| old != name);
        self
    }

    fn meta(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let data: Vec<u8> = (1..=64).flat_map(|value| (value as f32).to_le_bytes()).collect();
        let infinities = f32::INFINITY.to_le_bytes().repeat(64);
        let views = self.tensors.iter().map(|(name, dtype, shape)| {
            let len = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            let data = if self.infinite == Some(*name) { &infinities } else { &data };
            (*name, TensorView::new(*dtype, shape.clone(), &data[..len]).unwrap())
        });
        serialize(views, Some(self.metadata.clone())).unwrap()
    }

    fn infinite(mut self, name: &'static str) -> Self {
        self.infinite = Some(name);
        self
    }

    /// With a schedule for group 1.
    fn scheduled(self, schedule: &str) -> Self {
        let groups = format!(r#"[{{"params": ["s"]}}, {{"params": ["a.b/c"], "schedule": {schedule}}}]"#);
        self.meta("groups", &groups)
    }

    fn case(&self) -> Case {
        Case::from_bytes(&self.bytes()).unwrap()
    }

    /// All tensors of a file of results.
    fn floats(results: &[u8]) -> Vec<u8> {
        SafeTensors::deserialize(results).unwrap().iter().flat_map(|(_, view)| view.data().to_vec()).collect()
    }

    fn error(&self) -> CaseError {
        Case::from_bytes(&self.bytes()).err().unwrap()
    }
}

#[test]
fn reads_a_case() {
    let case = good().meta("lr_per_step", "[0.5, [1, 2]]").meta("format", "pt").case();
    let tensors: Vec<_> = case.tensors().map(|tensor| (&tensor.name[..], &tensor.shape[..])).collect();
    assert_eq!(tensors, [("s", &[][..]), ("a.b/c", &[2, 3][..])]);
    assert_eq!(case.steps.len(), 2);
    assert_eq!(case.steps[0].lrs, [0.5, 0.5]);
    assert_eq!(case.steps[1].lrs, [1.0, 2.0]);
    assert_eq!(case.steps[1].grads, [vec![1.0], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
    assert_eq!(case.grad_options, GradOptions::default());
    assert!(case.groups.iter().all(|group| group.hyperparams.schedule == Schedule::Constant));
}

#[test]
fn reads_the_options_for_gradients() {
    let plain = GradOptions::default();
    let scaler = |scaler| GradOptions { scaler: Some(scaler), ..plain };
    let default = GradScaler::default();
    let all = r#"{"init_scale": 1000, "growth_factor": 3, "backoff_factor": 0.25, "growth_interval": 7}"#;
    let every = GradScaler { init_scale: 1000.0, growth_factor: 3.0, backoff_factor: 0.25, growth_interval: 7 };
    for (key, value, expected) in [
        ("max_grad_norm", "0", GradOptions { clip_norm: Some(0.0), ..plain }),
        ("max_grad_norm", "1e300", GradOptions { clip_norm: Some(1e300), ..plain }),
        ("clip_value", "2.5", GradOptions { clip_value: Some(2.5), ..plain }),
        ("grad_factor", "0.25", GradOptions { factor: 0.25, ..plain }),
        ("skip_non_finite", "true", GradOptions { skip_non_finite: true, ..plain }),
        ("skip_non_finite", "false", plain),
        ("zero_grads", "true", GradOptions { zero: true, ..plain }),
        ("zero_grads", "false", plain),
        ("scaler", "{}", scaler(default)),
        ("scaler", r#"{"growth_interval": 3}"#, scaler(GradScaler { growth_interval: 3, ..default })),
        ("scaler", all, scaler(every)),
    ] {
        assert_eq!(good().meta(key, value).case().grad_options, expected, "{key}: {value}");
    }
}

#[test]
fn reads_every_schedule() {
    let warmup = Schedule::LinearWarmup { start_factor: 0.5, steps: 3 };
    let one_cycle = Schedule::OneCycle { steps: 10, warmup: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
    for (json, expected) in [
        (r#"{"kind": "constant"}"#, Schedule::Constant),
        (r#"{"kind": "linear_warmup", "start_factor": 0.5, "steps": 3}"#, warmup.clone()),
        (r#"{"kind": "cosine", "steps": 100, "end_factor": 0}"#, Schedule::Cosine { steps: 100, end_factor: 0.0 }),
        (r#"{"kind": "step", "every": 2, "gamma": 0.1}"#, Schedule::Step { every: 2, gamma: 0.1 }),
        (r#"{"kind": "multi_step", "at": [1, 5], "gamma": 2}"#, Schedule::MultiStep { at: vec![1, 5], gamma: 2.0 }),
        (r#"{"kind": "exponential", "gamma": 0.9}"#, Schedule::Exponential { gamma: 0.9 }),
        (r#"{"kind": "one_cycle", "steps": 10, "warmup": 0.3, "div_factor": 25, "final_div_factor": 1e4}"#, one_cycle),
        (
            r#"{"kind": "sequence", "pieces": [
                [0, {"kind": "linear_warmup", "start_factor": 0.5, "steps": 3}], [3, {"kind": "constant"}]
            ]}"#,
            Schedule::Sequence(vec![(0, warmup), (3, Schedule::Constant)]),
        ),
    ] {
        let case = good().scheduled(json).case();
        assert_eq!(case.groups[0].hyperparams.schedule, Schedule::Constant);
        assert_eq!(case.groups[1].hyperparams.schedule, expected);
        check(&case).unwrap();
    }
    // A schedule that changes nothing leaves room for the learning rates of the steps.
    assert!(
        Case::from_bytes(&good().scheduled(r#"{"kind": "constant"}"#).meta("lr_per_step", "[1, 1]").bytes()).is_ok()
    );
}

#[test]
fn names_what_is_wrong() {
    const F32: Dtype = Dtype::F32;
    let deep = r#"{"kind": "sequence", "pieces": [[0, "#.repeat(100_000);
    let no_groups = File { metadata: HashMap::new(), ..good() };
    let no_gradient = good().without("grad/1/s").without("grad/2/s").without("grad/1/a.b/c").without("grad/2/a.b/c");
    let cases = [
        (no_groups, "`groups` is missing"),
        (no_gradient, "no gradient"),
        (good().meta("groups", "[{"), "`groups`: EOF"),
        (good().meta("groups", "{}"), "`groups`: invalid type"),
        (good().meta("groups", "[{}]"), "group 0 has no `params`"),
        (good().meta("groups", r#"[{"params": ["s"], "lrr": 1}]"#), "unknown field `lrr`"),
        (good().meta("groups", r#"[{"params": ["s"], "lr": NaN}]"#), "`groups`: expected value"),
        (good().meta("groups", r#"[{"params": ["s"], "lr": 1e999}]"#), "number out of range"),
        (good().meta("groups", r#"[{"params": ["s"], "order": -1}]"#), "invalid value"),
        (good().meta("groups", r#"[{"params": ["s"], "step_scale": "big"}]"#), "unknown variant `big`"),
        (good().meta("groups", r#"[{"params": ["s"]}]"#), "`param/a.b/c` is in no group"),
        (good().meta("groups", r#"[{"params": ["s", "a.b/c", "x"]}]"#), "`param/x`, listed by group 0, is missing"),
        (good().meta("groups", r#"[{"params": ["s"]}, {"params": ["a.b/c", "s"]}]"#), "`s` is listed twice"),
        (good().meta("lr_per_step", "[1]"), "`lr_per_step` has 1 entries, but there are 2 steps"),
        (good().meta("lr_per_step", "[1, [1]]"), "step 2 has 1 learning rates for 2 groups"),
        (good().meta("lr_per_step", "[1, \"x\"]"), "neither a number nor an array"),
        (good().meta("max_grad_norm", "x"), "`max_grad_norm`"),
        (good().meta("max_grad_norm", "-1"), "`max_grad_norm`: it is -1; make it at least 0"),
        (good().meta("max_grad_norm", "1e999"), "`max_grad_norm`: number out of range"),
        (good().meta("max_grad_norm", "null"), "`max_grad_norm`: invalid type"),
        (good().meta("clip_value", "-1e-9"), "`clip_value`: it is -0.000000001; make it at least 0"),
        (good().meta("clip_value", "[1]"), "`clip_value`: invalid type"),
        (good().meta("grad_factor", "0"), "`grad_factor`: it is 0; make it in the normal range"),
        (good().meta("grad_factor", "-1"), "`grad_factor`: it is -1"),
        (good().meta("grad_factor", "1e39"), "`grad_factor`"),
        (good().meta("grad_factor", "1/4"), "`grad_factor`: trailing characters"),
        (good().meta("skip_non_finite", "1"), "`skip_non_finite`: invalid type"),
        (good().meta("skip_non_finite", "True"), "`skip_non_finite`: expected value"),
        (good().meta("zero_grads", "\"true\""), "`zero_grads`: invalid type"),
        (good().meta("scaler", "true"), "`scaler`: invalid type"),
        (good().meta("scaler", r#"{"scale": 2}"#), "`scaler`: unknown field `scale`"),
        (good().meta("scaler", r#"{"init_scale": 0}"#), "`scaler`: `init_scale` is 0; make it in the range"),
        (good().meta("scaler", r#"{"growth_factor": 1}"#), "`scaler`: `growth_factor` is 1; make it above 1"),
        (good().meta("scaler", r#"{"backoff_factor": 1}"#), "`scaler`: `backoff_factor` is 1; make it above 0"),
        (good().meta("scaler", r#"{"growth_interval": 0}"#), "`scaler`: `growth_interval` is 0; make it at least 1"),
        (good().meta("scaler", r#"{"growth_interval": 1.5}"#), "`scaler`: invalid type"),
        (good().scheduled(r#"{"kind": "cos"}"#), "`groups`: unknown variant `cos`"),
        (good().scheduled(r#"{"steps": 3, "end_factor": 0}"#), "`groups`: missing field `kind`"),
        (good().scheduled(r#"{"kind": "constant", "gamma": 1}"#), "`groups`: unknown field `gamma`"),
        (good().scheduled(r#"{"kind": "cosine", "steps": 3}"#), "`groups`: missing field `end_factor`"),
        (good().scheduled(r#"{"kind": "step", "every": -1, "gamma": 1}"#), "`groups`: invalid value"),
        (good().scheduled(r#"{"kind": "sequence", "pieces": [[0]]}"#), "`groups`: invalid length"),
        (good().scheduled(&deep), "`groups`: recursion limit exceeded"),
        (
            good().scheduled(r#"{"kind": "exponential", "gamma": 0.9}"#).meta("lr_per_step", "[1, 1]"),
            "`lr_per_step` and the `schedule` of group 1 both",
        ),
        (good().meta("lr_per_steps", "[1, 1]"), "`lr_per_steps`"),
        (good().set("moment/s", F32, &[]), "`moment/s`"),
        (good().set("grad/0/s", F32, &[]), "`grad/0/s`"),
        (good().set("grad/01/s", F32, &[]), "`grad/01/s`"),
        (good().set("grad/3", F32, &[]), "`grad/3`"),
        (good().set("grad/99999999999/s", F32, &[]), "`grad/99999999999/s`"),
        (good().set("grad/4294967295/s", F32, &[]), "`grad/3/s` is missing"),
        (good().set("grad/3/s", F32, &[]), "`grad/3/a.b/c` is missing"),
        (good().without("grad/1/s"), "`grad/1/s` is missing"),
        (good().without("param/s"), "`param/s`, listed by group 0, is missing"),
        (good().set("grad/2/x", F32, &[]), "`grad/2/x` has no parameter"),
        (good().set("grad/2/s", F32, &[1]), "`grad/2/s` has shape [1], but its parameter has []"),
        (good().set("grad/2/a.b/c", F32, &[3, 2]), "`grad/2/a.b/c` has shape [3, 2]"),
        (good().set("param/s", Dtype::F64, &[]), "`param/s` has dtype F64"),
        (good().set("grad/1/s", Dtype::BF16, &[]), "`grad/1/s` has dtype BF16"),
    ];
    for (file, expected) in cases {
        let message = file.error().to_string();
        assert!(message.contains(expected), "{expected:?} is not in {message:?}");
        assert_eq!(message, one_line(&message));
    }
}

#[test]
fn broken_bytes_are_an_error() {
    let bytes = good().bytes();
    for len in 0..bytes.len() {
        assert!(Case::from_bytes(&bytes[..len]).is_err(), "{len}");
    }
    // Some flips are harmless; none may panic.
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = Case::from_bytes(&flipped);
    }
}

#[test]
fn writes_results_whole_or_not_at_all() {
    let folder = std::env::temp_dir().join(format!("miadam-replay-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let [case, out] = ["case", "out"].map(|name| folder.join(name));
    let args = Args { case: case.clone(), out: out.clone(), device: Kind::Cpu, adapter: None };

    fs::write(&case, good().set("param/empty", Dtype::F32, &[0, 4]).bytes()).unwrap();
    assert!(run(&args).unwrap_err().to_string().contains("`param/empty` is in no group"));
    assert!(!out.exists());

    fs::write(&case, good().bytes()).unwrap();
    run(&args).unwrap();
    let results = fs::read(&out).unwrap();
    let (_, header) = SafeTensors::read_metadata(&results).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["step"], "2");
    let mut shapes: Vec<_> =
        header.tensors().into_iter().map(|(name, info)| (name, info.shape.clone(), info.dtype)).collect();
    shapes.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("first_moment/a.b/c", vec![2, 3]),
        ("first_moment/s", vec![]),
        ("integral/1/s", vec![]),
        ("integral/2/s", vec![]),
        ("max_second_moment/s", vec![]),
        ("param/a.b/c", vec![2, 3]),
        ("param/s", vec![]),
        ("second_moment/a.b/c", vec![2, 3]),
        ("second_moment/s", vec![]),
    ];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_owned(), shape, Dtype::F32)));

    // What only the optimizer refuses.
    let sequence = good().scheduled(r#"{"kind": "sequence", "pieces": [[1, {"kind": "constant"}]]}"#);
    for (file, expected) in [
        (good().meta("lr_per_step", "[1, -1]"), "`lr_per_step`, step 2: group 0"),
        (good().scheduled(r#"{"kind": "cosine", "steps": 0, "end_factor": 0}"#), "group 1: `schedule.steps` is 0"),
        (sequence, "group 1: `schedule.first_step` is 1"),
    ] {
        fs::write(&case, file.bytes()).unwrap();
        let message = run(&args).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected:?} is not in {message:?}");
        assert_eq!(fs::read(&out).unwrap(), results);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "the partial file is gone");
    fs::remove_dir_all(&folder).unwrap();
}

/// What a run on the CPU writes.
fn replayed(file: &File, name: &str) -> Vec<u8> {
    replayed_on(Kind::Cpu, file, name).unwrap()
}

/// What a run writes, in a folder of this name.
fn replayed_on(device: Kind, file: &File, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("miadam-replay-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let [case, out] = ["case", "out"].map(|name| folder.join(name));
    fs::write(&case, file.bytes()).unwrap();
    let ran = run(&Args { case, out: out.clone(), device, adapter: None });
    let results = ran.map(|()| fs::read(&out).unwrap());
    fs::remove_dir_all(&folder).unwrap();
    results
}

#[test]
fn results_say_what_became_of_the_gradients() {
    let info = |file: &File| {
        let results = replayed(file, "info");
        assert_eq!(results, replayed(file, "info"), "the same case gives the same bytes");
        let (_, header) = SafeTensors::read_metadata(&results).unwrap();
        let mut info: Vec<_> = header.metadata().clone().unwrap().into_iter().collect();
        info.sort();
        info.into_iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(info(&good()), "loss_scale 1, skipped 0, step 2");
    // √(1 + 1 + 4 + 9 + 16 + 25 + 36), times the factor.
    let clipped = good().meta("max_grad_norm", "1").meta("grad_factor", "0.5");
    assert_eq!(info(&clipped), "grad_norm 4.7958317, loss_scale 1, skipped 0, step 2");
    let skipped = good().infinite("grad/1/s").meta("skip_non_finite", "true");
    assert_eq!(info(&skipped), "grad_norm 9.591663, loss_scale 1, skipped 1, step 1");
    let scaler = r#"{"init_scale": 1024, "growth_factor": 4, "backoff_factor": 0.5, "growth_interval": 1}"#;
    let scaled = good().infinite("grad/2/a.b/c").meta("scaler", scaler);
    assert_eq!(info(&scaled), "grad_norm inf, loss_scale 2048, skipped 1, step 1");
}

#[test]
fn options_reach_the_optimizer() {
    let plain = replayed(&good(), "plain");
    let with = |key, value| replayed(&good().meta(key, value), key);
    assert_eq!(with("zero_grads", "true"), plain);
    // Nothing is above its bound.
    assert_eq!(with("clip_value", "6"), plain);
    let plain = File::floats(&plain);
    for (key, value) in [("max_grad_norm", "1"), ("clip_value", "5.9"), ("grad_factor", "0.5"), ("scaler", "{}")] {
        let changed = File::floats(&with(key, value));
        assert_eq!(changed.len(), plain.len());
        assert_ne!(changed, plain, "{key}");
    }
    let scheduled = |gamma: &str| {
        let schedule = format!(r#"{{"kind": "exponential", "gamma": {gamma}}}"#);
        File::floats(&replayed(&good().scheduled(&schedule), "scheduled"))
    };
    assert_ne!(scheduled("1"), scheduled("0.5"));
}

/// Whether there is no adapter, and MIADAM_ALLOW_NO_ADAPTER says that this is all right.
fn is_excused(error: &(dyn Error + 'static)) -> bool {
    let is_missing = matches!(error.downcast_ref(), Some(AdapterError::Missing));
    is_missing && std::env::var_os("MIADAM_ALLOW_NO_ADAPTER").is_some()
}

/// A case whose second group is of another type.
fn half(extra: &str) -> File {
    good().meta("groups", &format!(r#"[{{"params": ["s"]}}, {{"params": ["a.b/c"], "lr": 0.001, {extra}}}]"#))
}

#[test]
fn tensors_are_rounded_to_half_precision() {
    // 2 to 6 have neighbours 2⁻⁷ or 2⁻⁶ away in bf16, so that two steps of 0.001 are lost but to the master copy.
    let results = replayed(&half(r#""dtype": "bf16""#), "bf16");
    let file = SafeTensors::deserialize(&results).unwrap();
    let floats = |entry: &str| -> Vec<f32> {
        file.tensor(entry).unwrap().data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    assert_eq!(floats("param/a.b/c")[1..], [2.0, 3.0, 4.0, 5.0, 6.0]);
    assert!(floats("master/a.b/c").iter().zip(1u8..).all(|(&master, value)| master < f32::from(value)));
    assert!(file.tensor("master/s").is_err());

    let stochastic = |seed: u32| {
        let extra = format!(r#""dtype": "bf16", "stochastic_seed": {seed}"#);
        replayed(&half(&extra), "stochastic")
    };
    assert_eq!(stochastic(1), stochastic(1));
    assert!((2..40).any(|seed| stochastic(seed) != stochastic(1)), "the seed draws");
    for device in [Kind::Cpu, Kind::Gpu] {
        let results = match replayed_on(device, &half(r#""dtype": "f16""#), "f16") {
            Err(error) if is_excused(&*error) => {
                eprintln!("SKIPPED: {error}");
                continue;
            }
            results => results.unwrap(),
        };
        let file = SafeTensors::deserialize(&results).unwrap();
        let params = file.tensor("param/a.b/c").unwrap();
        for (&bytes, value) in params.data().as_chunks().0.iter().zip(1u8..) {
            let found = f32::from_le_bytes(bytes);
            assert_eq!(found, half::f16::from_f32(found).to_f32());
            // Two steps of 0.001, to a neighbour in f16.
            assert!((found - (f32::from(value) - 0.002)).abs() <= 0.0021, "{found} of {value}");
        }
    }
}

#[test]
fn names_what_is_wrong_with_a_type() {
    for (extra, text) in [
        (r#""dtype": "f64""#, "unknown variant `f64`"),
        (r#""dtype": "f16", "stochastic_seed": 1"#, "stochastic rounding is for bf16"),
        (r#""dtype": "bf16", "stochastic_seed": -1"#, "`groups`: invalid value"),
    ] {
        let bytes = half(extra).bytes();
        let error = match Case::from_bytes(&bytes) {
            Err(error) => error.to_string(),
            Ok(case) => check(&case).unwrap_err().to_string(),
        };
        assert!(error.contains(text), "{extra}: {error}");
    }
}
