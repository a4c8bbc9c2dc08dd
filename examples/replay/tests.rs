//! `cargo test --release --example replay`

use std::collections::HashMap;
use std::fs;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};

use super::case::{Case, CaseError};
use super::command_line::one_line;
use super::{Args, Kind, run};

/// A file's entries: all tensors hold 1, 2, 3, …
#[derive(Clone)]
struct File {
    tensors: Vec<(&'static str, Dtype, Vec<usize>)>,
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
        let views = self.tensors.iter().map(|(name, dtype, shape)| {
            let len = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (*name, TensorView::new(*dtype, shape.clone(), &data[..len]).unwrap())
        });
        serialize(views, Some(self.metadata.clone())).unwrap()
    }

    fn error(&self) -> CaseError {
        Case::from_bytes(&self.bytes()).err().unwrap()
    }
}

#[test]
fn reads_a_case() {
    let case = Case::from_bytes(&good().meta("lr_per_step", "[0.5, [1, 2]]").meta("format", "pt").bytes()).unwrap();
    let tensors: Vec<_> = case.tensors().map(|tensor| (&tensor.name[..], &tensor.shape[..])).collect();
    assert_eq!(tensors, [("s", &[][..]), ("a.b/c", &[2, 3][..])]);
    assert_eq!(case.steps.len(), 2);
    assert_eq!(case.steps[0].lrs, [0.5, 0.5]);
    assert_eq!(case.steps[1].lrs, [1.0, 2.0]);
    assert_eq!(case.steps[1].grads, [vec![1.0], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
}

#[test]
fn names_what_is_wrong() {
    const F32: Dtype = Dtype::F32;
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

    // A learning rate that only the second step refuses, and a norm that none can have.
    for (key, value, expected) in
        [("lr_per_step", "[1, -1]", "`lr_per_step`, step 2: group 0"), ("max_grad_norm", "-1", "`max_grad_norm`")]
    {
        fs::write(&case, good().meta(key, value).bytes()).unwrap();
        assert!(run(&args).unwrap_err().to_string().contains(expected));
        assert_eq!(fs::read(&out).unwrap(), results);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "the partial file is gone");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn gradients_are_clipped_by_the_norm_of_all_together() {
    let grads = [vec![3.0, 0.0], vec![-4.0]];
    let clipped = |max| super::device::clip(&grads, max);
    // The factor is 1 / (5 + 1e-6), rounded to f32.
    assert_eq!(clipped(1.0), [vec![0.599_999_9, 0.0], vec![-0.799_999_83]]);
    assert_eq!(clipped(6.0), grads);
    assert_eq!(clipped(0.0), [vec![0.0, 0.0], vec![-0.0]]);
}
