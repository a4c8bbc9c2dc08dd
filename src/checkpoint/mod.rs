//! Everything that an optimizer remembers, in a safetensors file.

mod file;
mod fit;
mod header;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::state::TensorState;
use crate::{Error, Hyperparams, cpu};
pub use fit::Skipped;
pub(crate) use fit::{Fit, Own};
pub(crate) use header::{Header, HeaderGroup};

/// Everything that an optimizer remembers between steps: the state of every parameter by its name, all groups with their
/// hyperparameters and schedules, what happens to the gradients, the loss scale, and what is counted. An optimizer that
/// loads it goes on with the same bits as one that was never stopped, on the GPU and on the CPU, wherever its tensors lie;
/// but for the norm of [`clip_norm`](crate::GradOptions::clip_norm) on a GPU, whose last bit depends on where they do.
/// Random numbers need no state: they are a function of the seed and the step.
///
/// ```
/// use miadam::{Checkpoint, Hyperparams, ParamGroup, cpu};
///
/// let groups = || [ParamGroup::new(Hyperparams::default(), [cpu::Param::new("w", 2)])];
/// let (mut optimizer, mut w) = (cpu::MiAdam::new(groups())?, [1.0, -1.0]);
/// optimizer.step(&mut [&mut w], &[&[0.5, 0.5]])?;
/// let bytes = optimizer.checkpoint().to_bytes()?;
///
/// let mut resumed = cpu::MiAdam::new(groups())?;
/// resumed.load(&Checkpoint::from_bytes(&bytes)?)?;
/// assert_eq!(resumed.state(), optimizer.state());
/// # Ok::<(), miadam::Error>(())
/// ```
///
/// # Format
/// A safetensors file. `first_moment/NAME`, `second_moment/NAME`, under amsgrad `max_second_moment/NAME`, of a parameter
/// with a master copy `master/NAME`, and `integral/J/NAME` for J = 1 to n are `F32`, one-dimensional and as long as the
/// parameter NAME; `param/NAME`, if parameters were saved, is of the parameter's own type. The metadata has one entry,
/// `miadam`: a JSON object with `version` 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub(crate) header: Header,
    pub(crate) tensors: Vec<TensorState>,
    pub(crate) params: BTreeMap<String, SavedParam>,
}

/// The values of a parameter, as bytes in its own type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedParam {
    pub dtype: crate::Dtype,
    pub bytes: Vec<u8>,
}

impl Checkpoint {
    pub(crate) fn new(header: Header, tensors: Vec<TensorState>) -> Self {
        Self { header, tensors, params: BTreeMap::new() }
    }

    /// Steps taken.
    #[must_use]
    pub fn step(&self) -> u32 {
        self.header.step
    }

    /// The hyperparameters of every group, with its parameters' names.
    #[must_use]
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&Hyperparams, &[String])> {
        self.header.groups.iter().map(|group| (&group.hyperparams, &group.params[..]))
    }

    /// The state of every parameter, in the order of the groups.
    #[must_use]
    pub fn tensors(&self) -> &[TensorState] {
        &self.tensors
    }

    /// Adds the values of a parameter, so that they are saved beside its state.
    ///
    /// # Errors
    /// If there is no such parameter, or it has another length.
    pub fn insert_param(&mut self, name: &str, values: &cpu::ValuesMut<'_>) -> Result<(), Error> {
        let state = self.tensors.iter().find(|tensor| tensor.name == name);
        let state = state.ok_or_else(|| Error::UnknownParam { name: name.to_owned() })?;
        let (expected, found) = (state.first_moment.len() as u64, values.len() as u64);
        if expected != found {
            let role = crate::Role::Param;
            return Err(Error::LengthMismatch { name: name.to_owned(), role, expected, found });
        }
        self.params.insert(name.to_owned(), SavedParam { dtype: values.dtype(), bytes: values.bytes() });
        Ok(())
    }

    /// The values of a parameter as little-endian bytes with their type, if they were saved.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<(crate::Dtype, &[u8])> {
        self.params.get(name).map(|param| (param.dtype, &param.bytes[..]))
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// If safetensors refuses, such as a header of more than 100 MB.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let metadata = HashMap::from([("miadam".to_owned(), self.header.to_json()?)]);
        safetensors::serialize(self.entries(), Some(metadata)).map_err(|error| malformed(&error))
    }

    /// Reads the contents of a file, and trusts nothing in them.
    ///
    /// # Errors
    /// If they are no checkpoint of version 1, or an entry is missing, unknown, out of range or of the wrong shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header_len, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| malformed(&error))?;
        header::check_unique_names(&bytes[8..8 + header_len])?;
        let json = metadata.metadata().as_ref().and_then(|entries| entries.get("miadam"));
        let json = json.ok_or_else(|| Error::CheckpointFormat { reason: "there is no metadata `miadam`".into() })?;
        let header = Header::parse(json)?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| malformed(&error))?;
        let mut entries = Entries { file: &file, taken: HashSet::new() };
        let (mut tensors, mut params) = (Vec::new(), BTreeMap::new());
        for group in &header.groups {
            for name in &group.params {
                tensors.push(entries.tensor(name, &group.hyperparams)?);
                if let Some(param) = entries.param(name, &tensors[tensors.len() - 1])? {
                    params.insert(name.clone(), param);
                }
            }
        }
        entries.check_all_taken()?;
        Ok(Self { header, tensors, params })
    }

    /// Writes a file: whole or not at all, and durably. Killed at any moment, the file at `path` is the old or the new one.
    /// It is written beside `path` first, with `.tmp` added to its name.
    ///
    /// # Errors
    /// If the file cannot be written; what was there before is still there then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        file::write(path.as_ref(), &self.to_bytes()?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, and as for [`from_bytes`](Self::from_bytes).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_bytes(&file::read(path.as_ref())?)
    }

    fn entries(&self) -> Vec<(String, Entry<'_>)> {
        let mut entries = Vec::new();
        for tensor in &self.tensors {
            let mut add = |kind: &str, values: &'_ [f32]| {
                let entry =
                    Entry { dtype: Dtype::F32, shape: [values.len()], bytes: Cow::Owned(little_endian(values)) };
                entries.push((format!("{kind}/{}", tensor.name), entry));
            };
            add("first_moment", &tensor.first_moment);
            add("second_moment", &tensor.second_moment);
            tensor.max_second_moment.iter().for_each(|plane| add("max_second_moment", plane));
            tensor.master.iter().for_each(|plane| add("master", plane));
            for (j, plane) in (1..).zip(&tensor.integrals) {
                add(&format!("integral/{j}"), plane);
            }
        }
        for (name, SavedParam { dtype, bytes }) in &self.params {
            let shape = [bytes.len() / dtype.width() as usize];
            let entry = Entry { dtype: safetensors_dtype(*dtype), shape, bytes: Cow::Borrowed(bytes) };
            entries.push((format!("param/{name}"), entry));
        }
        entries
    }
}

/// A tensor to be written.
struct Entry<'a> {
    dtype: Dtype,
    shape: [usize; 1],
    bytes: Cow<'a, [u8]>,
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

/// The tensors of a file, as far as they have been read.
struct Entries<'a> {
    file: &'a SafeTensors<'a>,
    taken: HashSet<String>,
}

impl Entries<'_> {
    fn tensor(&mut self, name: &str, hyperparams: &Hyperparams) -> Result<TensorState, Error> {
        let first_moment = self.plane("first_moment", name, None)?;
        let len = first_moment.len();
        let mut plane = |kind: &str| self.plane(kind, name, Some(len));
        Ok(TensorState {
            name: name.to_owned(),
            second_moment: plane("second_moment")?,
            max_second_moment: if hyperparams.amsgrad { Some(plane("max_second_moment")?) } else { None },
            master: self.has("master", name).then(|| self.plane("master", name, Some(len))).transpose()?,
            // All of them, or none once they are released.
            integrals: if hyperparams.order > 0 && self.has("integral/1", name) {
                (1..=hyperparams.order)
                    .map(|j| self.plane(&format!("integral/{j}"), name, Some(len)))
                    .collect::<Result<_, _>>()?
            } else {
                Vec::new()
            },
            first_moment,
        })
    }

    fn param(&mut self, name: &str, state: &TensorState) -> Result<Option<SavedParam>, Error> {
        let entry = format!("param/{name}");
        let Ok(view) = self.file.tensor(&entry) else { return Ok(None) };
        let dtype = match view.dtype() {
            Dtype::F32 => crate::Dtype::F32,
            Dtype::F16 => crate::Dtype::F16,
            Dtype::BF16 => crate::Dtype::Bf16,
            other => {
                return Err(malformed_entry(&entry, &format!("it is {other:?}, not F32, F16 or BF16")));
            }
        };
        check_shape(&entry, view.shape(), Some(state.first_moment.len()))?;
        let bytes = view.data().to_vec();
        self.taken.insert(entry);
        Ok(Some(SavedParam { dtype, bytes }))
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        self.file.tensor(&format!("{kind}/{name}")).is_ok()
    }

    /// A tensor of `f32`, as long as it must be.
    fn plane(&mut self, kind: &str, name: &str, len: Option<usize>) -> Result<Vec<f32>, Error> {
        let entry = format!("{kind}/{name}");
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

    /// Every tensor of the file has been read.
    fn check_all_taken(&self) -> Result<(), Error> {
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

/// An entry that no checkpoint has like this.
fn malformed_entry(entry: &str, reason: &str) -> Error {
    let reason = format!("{reason}; use a file written by `Checkpoint::save`");
    Error::CheckpointEntry { entry: entry.to_owned(), reason }
}

fn safetensors_dtype(dtype: crate::Dtype) -> Dtype {
    match dtype {
        crate::Dtype::F32 => Dtype::F32,
        crate::Dtype::F16 => Dtype::F16,
        crate::Dtype::Bf16 => Dtype::BF16,
    }
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn malformed(error: &safetensors::SafeTensorError) -> Error {
    Error::CheckpointFormat { reason: error.to_string() }
}
