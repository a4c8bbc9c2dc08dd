//! The file of results, which appears whole or not at all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use miadam::{Report, State};
use miadam_support::replay::Case;
use safetensors::tensor::View;
use safetensors::{Dtype, SafeTensorError};

#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`: {reason}; give --out a file in a directory that exists and can be written", path.display())]
pub struct OutputError {
    path: PathBuf,
    reason: String,
}

/// Results on their way: a file beside `path` that takes its place at the end, and goes if that is not reached.
pub struct Output {
    path: PathBuf,
    partial: PathBuf,
}

impl Output {
    /// Fails here, before the work, where nothing can be written.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let fail = |reason: &str| OutputError { path: path.to_owned(), reason: reason.to_owned() };
        if path.is_dir() {
            return Err(fail("it is a directory"));
        }
        let mut name = path.file_name().ok_or_else(|| fail("it has no file name"))?.to_owned();
        // Always the same name, so that what a killed process leaves is overwritten by the next.
        name.push(".partial");
        let partial = path.with_file_name(name);
        File::create(&partial).map_err(|error| fail(&error.to_string()))?;
        Ok(Self { path: path.to_owned(), partial })
    }

    pub fn write(self, case: &Case, params: &[Vec<f32>], state: &State, report: &Report) -> Result<(), OutputError> {
        let info = info(report);
        let fail = |reason: String| OutputError { path: self.path.clone(), reason };
        let unsorted = info.clone().into_iter().collect();
        let mut bytes = safetensors::serialize(planes(case, params, state), Some(unsorted))
            .map_err(|error: SafeTensorError| fail(error.to_string()))?;
        sort_info(&mut bytes, &info);
        fs::write(&self.partial, bytes)
            .and_then(|()| fs::rename(&self.partial, &self.path))
            .map_err(|error| fail(error.to_string()))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Renamed, it is no longer there.
        let _ = fs::remove_file(&self.partial);
    }
}

/// The metadata of the results.
fn info(report: &Report) -> BTreeMap<String, String> {
    let mut info = BTreeMap::from([
        ("step".to_owned(), report.step.to_string()),
        ("skipped".to_owned(), report.skipped.to_string()),
        ("loss_scale".to_owned(), report.loss_scale.to_string()),
    ]);
    if let Some(norm) = report.grad_norm {
        info.insert("grad_norm".to_owned(), norm.to_string());
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
