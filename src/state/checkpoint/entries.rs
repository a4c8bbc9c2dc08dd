//! The tensors of a checkpoint's file: each plane and each parameter is an entry.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorInfo};

use crate::error::Error;
use crate::state::params::ParamState;

/// Bytes that are converted at once, on the way to a file and back.
pub(super) const PART: usize = 1 << 16;

/// The values of a parameter, as little-endian bytes in its own type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedParam {
    pub dtype: crate::dtype::Dtype,
    pub bytes: Vec<u8>,
}

/// A tensor to be written.
pub(super) struct Entry<'a> {
    pub name: String,
    pub data: Data<'a>,
}

pub(super) enum Data<'a> {
    Plane(&'a [f32]),
    Param(&'a SavedParam),
}

impl Entry<'_> {
    pub fn dtype(&self) -> Dtype {
        match self.data {
            Data::Plane(_) => Dtype::F32,
            Data::Param(param) => match param.dtype {
                crate::dtype::Dtype::F32 => Dtype::F32,
                crate::dtype::Dtype::F16 => Dtype::F16,
                crate::dtype::Dtype::Bf16 => Dtype::BF16,
            },
        }
    }

    /// What the file's header says of it, if it begins at this byte.
    pub fn info(&self, start: usize) -> TensorInfo {
        let (len, bytes) = match self.data {
            Data::Plane(values) => (values.len(), size_of_val(values)),
            Data::Param(SavedParam { dtype, bytes }) => (bytes.len() / dtype.width() as usize, bytes.len()),
        };
        TensorInfo { dtype: self.dtype(), shape: vec![len], data_offsets: (start, start + bytes) }
    }
}

/// All entries of a file, in its order, which is that of safetensors' own writer: large types first, then by name.
pub(super) fn entries<'a>(states: &'a [ParamState], params: &'a BTreeMap<String, SavedParam>) -> Vec<Entry<'a>> {
    let planes = states.iter().flat_map(|state| {
        let entry = |(plane, values)| Entry { name: format!("{plane}/{}", state.name), data: Data::Plane(values) };
        state.planes().map(entry)
    });
    let param = |(name, param)| Entry { name: format!("param/{name}"), data: Data::Param(param) };
    let mut entries: Vec<_> = planes.chain(params.iter().map(param)).collect();
    entries.sort_by(|a, b| b.dtype().cmp(&a.dtype()).then_with(|| a.name.cmp(&b.name)));
    entries
}

/// An error about an entry that no checkpoint has like this.
pub(super) fn malformed_entry(entry: &str, reason: impl Into<String>) -> Error {
    Error::CheckpointEntry { entry: entry.to_owned(), reason: reason.into() }
}

/// An error about a file that is no checkpoint.
pub(super) fn malformed(reason: impl ToString) -> Error {
    Error::CheckpointFormat { reason: reason.to_string() }
}
