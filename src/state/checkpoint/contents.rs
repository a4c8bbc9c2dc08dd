//! The checkpoint itself.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::SafeTensors;

use super::entries::{Entries, SavedParam, entries};
use super::file;
use super::header::{Header, check_unique_names};
use crate::dtype::Dtype;
use crate::error::{Error, Role};
use crate::options::Hyperparams;
use crate::state::params::ParamState;
use crate::values::{Values, ValuesMut};

/// Everything that an optimizer remembers between steps: the state of every parameter by its name, all groups with their
/// hyperparameters and schedules, the gradient options, the loss scale and the counts.
///
/// An optimizer that loads it goes on with the same bits as one that was never stopped, on the GPU and on the CPU, wherever
/// its tensors lie. There is one exception: on a GPU the last bit of the norm that
/// [`clip_norm`](crate::GradOptions::clip_norm) bounds depends on where the tensors lie. Random numbers need no state: they
/// are a function of the seed and the step.
///
/// ```
/// use miadam::{Checkpoint, Hyperparams, Param, ParamGroup, cpu};
///
/// let groups = || [ParamGroup::new(Hyperparams::default(), [Param::new("w", 2)])];
/// let mut optimizer = cpu::MiAdam::new(groups())?;
/// optimizer.step([cpu::Binding::new("w", &mut [1.0, -1.0], &mut [0.5, 0.5])])?;
/// let bytes = optimizer.read_checkpoint().to_bytes()?;
///
/// let mut resumed = cpu::MiAdam::new(groups())?;
/// resumed.load(&Checkpoint::from_bytes(&bytes)?)?;
/// assert_eq!(resumed.read_state(), optimizer.read_state());
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
    pub(crate) states: Vec<ParamState>,
    pub(crate) params: BTreeMap<String, SavedParam>,
}

impl Checkpoint {
    pub(crate) fn new(header: Header, states: Vec<ParamState>) -> Self {
        Self { header, states, params: BTreeMap::new() }
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
    pub fn states(&self) -> &[ParamState] {
        &self.states
    }

    /// Adds the values of a parameter, so that they are saved beside its state.
    ///
    /// # Errors
    /// If there is no such parameter, or it has another length.
    pub fn insert_param<'a>(&mut self, name: &str, values: impl Into<Values<'a>>) -> Result<(), Error> {
        let values = values.into();
        let state = self.states.iter().find(|state| state.name == name);
        let state = state.ok_or_else(|| Error::UnknownParam { name: name.to_owned() })?;
        if state.len() != values.len() {
            return Err(wrong_length(name, values.len(), state.len()));
        }
        self.params.insert(name.to_owned(), SavedParam { dtype: values.dtype(), bytes: values.to_bytes() });
        Ok(())
    }

    /// Copies the values of a parameter out, into a tensor of the same length and type.
    ///
    /// # Errors
    /// If the parameter was not saved, or has another length or type. Nothing is written then.
    pub fn copy_param<'a>(&self, name: &str, target: impl Into<ValuesMut<'a>>) -> Result<(), Error> {
        let mut target = target.into();
        let bytes = self.param_of(name, target.dtype(), target.len())?;
        target.copy_from_bytes(bytes);
        Ok(())
    }

    /// The values of a parameter as little-endian bytes with their type, if they were saved.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<(Dtype, &[u8])> {
        self.params.get(name).map(|param| (param.dtype, &param.bytes[..]))
    }

    /// The bytes of a parameter of this type and length.
    pub(crate) fn param_of(&self, name: &str, dtype: Dtype, len: usize) -> Result<&[u8], Error> {
        let Some(SavedParam { dtype: found, bytes }) = self.params.get(name) else {
            return Err(Error::CheckpointEntry {
                entry: format!("param/{name}"),
                reason: "it was not saved; read the checkpoint with parameters, or insert it".into(),
            });
        };
        let (entry, saved) = (format!("param/{name}"), bytes.len() / found.width() as usize);
        if (*found, saved) == (dtype, len) {
            return Ok(bytes);
        }
        let reason =
            format!("it has {saved} elements of {found}, but the parameter has {len} of {dtype}; give it the same");
        Err(Error::CheckpointEntry { entry, reason })
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// If safetensors refuses, such as a header of more than 100 MB.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let metadata = HashMap::from([("miadam".to_owned(), self.header.to_json()?)]);
        safetensors::serialize(entries(&self.states, &self.params), Some(metadata)).map_err(|error| malformed(&error))
    }

    /// Reads the contents of a file, and trusts nothing in them.
    ///
    /// # Errors
    /// If they are no checkpoint of version 1, or an entry is missing, unknown, out of range or of the wrong shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header_len, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| malformed(&error))?;
        check_unique_names(&bytes[8..8 + header_len])?;
        let json = metadata.metadata().as_ref().and_then(|entries| entries.get("miadam"));
        let json = json.ok_or_else(|| Error::CheckpointFormat { reason: "there is no metadata `miadam`".into() })?;
        let header = Header::parse(json)?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| malformed(&error))?;
        let mut entries = Entries::new(&file);
        let (mut states, mut params) = (Vec::new(), BTreeMap::new());
        for group in &header.groups {
            for name in &group.params {
                let state = entries.state(name, &group.hyperparams)?;
                if let Some(param) = entries.param(name, state.len())? {
                    params.insert(name.clone(), param);
                }
                states.push(state);
            }
        }
        entries.check_all_taken()?;
        Ok(Self { header, states, params })
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
}

fn wrong_length(name: &str, found: usize, expected: usize) -> Error {
    let (expected, found) = (expected as u64, found as u64);
    Error::LengthMismatch { name: name.to_owned(), role: Role::Param, expected, found }
}

fn malformed(error: &safetensors::SafeTensorError) -> Error {
    Error::CheckpointFormat { reason: error.to_string() }
}
