//! `cargo test --release --example replay`

#[cfg(unix)]
mod outputs;
mod reading;
mod refused;
mod results;

use std::collections::HashMap;

use miadam_support::replay::{Case, CaseError};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

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

    fn error(&self) -> CaseError {
        Case::from_bytes(&self.bytes()).err().unwrap()
    }
}

/// A case whose second group is of another type.
fn half(extra: &str) -> File {
    good().meta("groups", &format!(r#"[{{"params": ["s"]}}, {{"params": ["a.b/c"], "lr": 0.001, {extra}}}]"#))
}
