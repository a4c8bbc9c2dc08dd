//! The tensors of a checkpoint's file: each plane and each parameter is an entry.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::error::Error;
use crate::options::Hyperparams;
use crate::planes::{Plane, Planes};
use crate::state::params::ParamState;

/// The values of a parameter, as little-endian bytes in its own type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedParam {
    pub dtype: crate::dtype::Dtype,
    pub bytes: Vec<u8>,
}

/// A tensor to be written.
pub(super) struct Entry<'a> {
    pub dtype: Dtype,
    pub shape: [usize; 1],
    pub bytes: Cow<'a, [u8]>,
}

impl View for Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl<'a> Entry<'a> {
    fn plane(values: &[f32]) -> Self {
        Self { dtype: Dtype::F32, shape: [values.len()], bytes: Cow::Owned(little_endian(values)) }
    }

    fn param(SavedParam { dtype, bytes }: &'a SavedParam) -> Self {
        let shape = [bytes.len() / dtype.width() as usize];
        Self { dtype: safetensors_dtype(*dtype), shape, bytes: Cow::Borrowed(bytes) }
    }
}

/// All entries of a file, by name.
pub(super) fn entries<'a>(
    states: &'a [ParamState],
    params: &'a BTreeMap<String, SavedParam>,
) -> Vec<(String, Entry<'a>)> {
    let planes = states.iter().flat_map(|state| {
        state.planes().map(|(plane, values)| (format!("{plane}/{}", state.name), Entry::plane(values)))
    });
    let params = params.iter().map(|(name, param)| (format!("param/{name}"), Entry::param(param)));
    planes.chain(params).collect()
}

/// The tensors of a file, as far as they have been read.
pub(super) struct Entries<'a> {
    file: &'a SafeTensors<'a>,
    taken: HashSet<String>,
}

impl<'a> Entries<'a> {
    pub fn new(file: &'a SafeTensors<'a>) -> Self {
        Self { file, taken: HashSet::new() }
    }

    /// The state of a parameter of a group with these hyperparameters.
    pub fn state(&mut self, name: &str, hyperparams: &Hyperparams) -> Result<ParamState, Error> {
        let list = Planes {
            amsgrad: hyperparams.amsgrad,
            master: self.has(Plane::Master, name),
            // All integrals are there, or none once they are released.
            integrals: if self.has(Plane::Integral(1), name) { hyperparams.order } else { 0 },
        };
        let first_moment = self.plane(Plane::FirstMoment, name, None)?;
        let len = first_moment.len();
        let mut first_moment = Some(first_moment);
        ParamState::try_new(name, len, list, |plane| match first_moment.take() {
            Some(values) => Ok(values),
            None => self.plane(plane, name, Some(len)),
        })
    }

    /// The values of a parameter, if they were saved.
    pub fn param(&mut self, name: &str, len: usize) -> Result<Option<SavedParam>, Error> {
        let entry = format!("param/{name}");
        let Ok(view) = self.file.tensor(&entry) else { return Ok(None) };
        let dtype = match view.dtype() {
            Dtype::F32 => crate::dtype::Dtype::F32,
            Dtype::F16 => crate::dtype::Dtype::F16,
            Dtype::BF16 => crate::dtype::Dtype::Bf16,
            other => {
                return Err(malformed_entry(&entry, &format!("it is {other:?}, not F32, F16 or BF16")));
            }
        };
        check_shape(&entry, view.shape(), Some(len))?;
        let bytes = view.data().to_vec();
        self.taken.insert(entry);
        Ok(Some(SavedParam { dtype, bytes }))
    }

    fn has(&self, plane: Plane, name: &str) -> bool {
        self.file.tensor(&format!("{plane}/{name}")).is_ok()
    }

    /// A tensor of `f32`, as long as it must be.
    fn plane(&mut self, plane: Plane, name: &str, len: Option<usize>) -> Result<Vec<f32>, Error> {
        let entry = format!("{plane}/{name}");
        let Ok(view) = self.file.tensor(&entry) else {
            return Err(malformed_entry(&entry, "it is missing"));
        };
        if view.dtype() != Dtype::F32 {
            return Err(malformed_entry(&entry, &format!("it is {:?}, not F32", view.dtype())));
        }
        check_shape(&entry, view.shape(), len)?;
        let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        self.taken.insert(entry);
        Ok(values)
    }

    /// Checks that every tensor of the file has been read.
    pub fn check_all_taken(&self) -> Result<(), Error> {
        let left = self.file.names().into_iter().filter(|&name| !self.taken.contains(name)).min();
        left.map_or(Ok(()), |entry| Err(malformed_entry(entry, "it belongs to no parameter of any group")))
    }
}

fn check_shape(entry: &str, shape: &[usize], len: Option<usize>) -> Result<(), Error> {
    match (shape, len) {
        ([_], None) => Ok(()),
        (&[found], Some(len)) if found == len => Ok(()),
        _ => {
            let expected = len.map_or("one dimension".to_owned(), |len| format!("[{len}]"));
            Err(malformed_entry(entry, &format!("it has shape {shape:?}, not {expected}")))
        }
    }
}

/// An error about an entry that no checkpoint has like this.
pub(super) fn malformed_entry(entry: &str, reason: &str) -> Error {
    let reason = format!("{reason}; use a file written by `Checkpoint::save`");
    Error::CheckpointEntry { entry: entry.to_owned(), reason }
}

fn safetensors_dtype(dtype: crate::dtype::Dtype) -> Dtype {
    match dtype {
        crate::dtype::Dtype::F32 => Dtype::F32,
        crate::dtype::Dtype::F16 => Dtype::F16,
        crate::dtype::Dtype::Bf16 => Dtype::BF16,
    }
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
