//! The file of results, which appears whole or not at all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use miadam::{NewFile, Report, State};
use miadam_support::replay::Case;
use safetensors::Dtype;
use safetensors::tensor::View;

#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`: {reason}; give --out a file in a directory that exists and can be written", path.display())]
pub struct OutputError {
    path: PathBuf,
    reason: String,
}

/// Results on their way. Nothing of them is left if [`write`](Self::write) is not reached.
pub struct Output {
    path: PathBuf,
    file: NewFile,
}

impl Output {
    /// Fails here, before the work, where nothing can be written.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let file = NewFile::create(path);
        let file = file.map_err(|error| OutputError { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub fn write(self, case: &Case, params: &[Vec<f32>], state: &State, report: &Report) -> Result<(), Box<dyn Error>> {
        let info = info(state, report);
        let Self { path, mut file } = self;
        let unsorted = info.clone().into_iter().collect();
        let mut bytes = safetensors::serialize(planes(case, params, state), Some(unsorted))
            .map_err(|error| OutputError { path: path.clone(), reason: error.to_string() })?;
        sort_info(&mut bytes, &info);
        file.write_all(&bytes).and_then(|()| file.finish()).map_err(|error| match error.kind() {
            // It is a pipe, such as /dev/stdout, whose reader has gone: the program's own end.
            ErrorKind::BrokenPipe => error.into(),
            _ => OutputError { path, reason: error.to_string() }.into(),
        })
    }
}

/// The metadata of the results.
fn info(state: &State, report: &Report) -> BTreeMap<String, String> {
    let mut info = BTreeMap::from([
        ("step".to_owned(), report.step.to_string()),
        ("skipped".to_owned(), report.skipped.to_string()),
        ("loss_scale".to_owned(), report.loss_scale.to_string()),
    ]);
    if let Some(norm) = report.grad_norm {
        info.insert("grad_norm".to_owned(), norm.to_string());
    }
    if state.params.iter().any(|param| param.step() != report.step) {
        let steps: BTreeMap<_, _> = state.params.iter().map(|param| (&param.name, param.step())).collect();
        info.insert("steps".to_owned(), serde_json::json!(steps).to_string());
    }
    info
}

/// Puts the metadata in order in its place: safetensors writes it in the order of a `HashMap`, and the same results should be
/// the same bytes.
fn sort_info(file: &mut [u8], info: &BTreeMap<String, String>) {
    // The length of the header, and the first key in it.
    const START: usize = 8 + br#"{"__metadata__":"#.len();
    let Ok(sorted) = serde_json::to_vec(info) else { return };
    let Some(found) = file.get_mut(START..START + sorted.len()) else { return };
    // Nothing else is written over, wherever another version of safetensors puts it.
    if serde_json::from_slice::<BTreeMap<String, String>>(found).is_ok_and(|found| found == *info) {
        found.copy_from_slice(&sorted);
    }
}

/// Some of the results, in the shape of their parameter.
struct Shaped<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

fn planes<'a>(case: &'a Case, params: &'a [Vec<f32>], state: &'a State) -> Vec<(String, Shaped<'a>)> {
    let mut planes = Vec::new();
    for ((tensor, param), state) in case.tensors().zip(params).zip(&state.params) {
        let mut add = |kind: &str, values| {
            planes.push((format!("{kind}/{}", tensor.name), Shaped { shape: &tensor.shape, values }));
        };
        add("param", param);
        for (plane, values) in state.planes() {
            add(&plane.to_string(), values);
        }
    }
    planes
}

impl View for Shaped<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}
