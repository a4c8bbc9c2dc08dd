//! The checkpoint itself.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};

use super::entries::SavedParam;
use super::header::Header;
use crate::dtype::Dtype;
use crate::error::{Error, Role};
use crate::math::adopt::adopt;
use crate::math::half::{bf16_nearest, bf16_to_f32, f16_nearest, f16_to_f32};
use crate::options::Hyperparams;
use crate::planes::Plane;
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
/// with a master copy `master/NAME`, of one whose group averages `average/NAME`, and `integral/J/NAME` for J = 1 to n are
/// `F32`, one-dimensional and as long as the parameter NAME; `param/NAME`, if parameters were saved, is of the parameter's
/// own type. State in fewer bits is written as the `f32` numbers that it stands for, which are packed into the same bits again. The
/// metadata has one entry, `miadam`: a JSON object with `version` 2. Files of version 1 can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub(crate) header: Header,
    pub(crate) states: Vec<ParamState>,
    pub(crate) params: BTreeMap<String, SavedParam>,
}

impl Checkpoint {
    pub(crate) fn new(mut header: Header, states: Vec<ParamState>) -> Self {
        header.set_clocks(states.iter().map(|state| (&state.name[..], &state.clock)));
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

    /// The state of every parameter by its name, beside the hyperparameters of its group.
    pub(super) fn states_by_name(&self) -> HashMap<&str, (&ParamState, &Hyperparams)> {
        let groups = self.header.groups.iter().flat_map(|group| group.params.iter().map(|_| &group.hyperparams));
        self.states.iter().zip(groups).map(|(state, group)| (&state.name[..], (state, group))).collect()
    }

    /// Strings of your own, which are saved with the checkpoint and given back by it: an epoch, a data seed, a version. It is
    /// empty in one that an optimizer has made.
    #[must_use]
    pub fn user_data(&self) -> &BTreeMap<String, String> {
        &self.header.user_data
    }

    /// [`user_data`](Self::user_data), to be set before the checkpoint is saved. No optimizer reads it.
    ///
    /// ```
    /// use miadam::{Checkpoint, Hyperparams, Param, ParamGroup, cpu};
    ///
    /// let optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("w", 2)])])?;
    /// let mut checkpoint = optimizer.read_checkpoint();
    /// checkpoint.user_data_mut().insert("epoch".into(), "12".into());
    ///
    /// let saved = Checkpoint::from_bytes(&checkpoint.to_bytes()?)?;
    /// assert_eq!(saved.user_data()["epoch"], "12");
    /// # Ok::<(), miadam::Error>(())
    /// ```
    pub fn user_data_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.header.user_data
    }

    /// Adds the values of a parameter, so that they are saved beside its state.
    ///
    /// # Errors
    /// If there is no such parameter, or it has another length.
    pub fn insert_param<'a>(&mut self, name: &str, values: impl Into<Values<'a>>) -> Result<(), Error> {
        let values = values.into();
        // They usually come in order, and looking for each of many would take long.
        let next = self.states.get(self.params.len()).into_iter();
        let state = next.chain(&self.states).find(|state| state.name == name);
        let state = state.ok_or_else(|| Error::UnknownParam { name: name.to_owned() })?;
        if state.len() != values.len() {
            return Err(wrong_length(name, values.len(), state.len()));
        }
        self.params.insert(name.to_owned(), SavedParam { dtype: values.dtype(), bytes: values.to_bytes() });
        Ok(())
    }

    /// Copies the values of a parameter out, into a tensor of the same length and type. A parameter that was saved in half
    /// precision goes into `f32`, too: as its master copy has it, where the copy's rounding is the parameter.
    ///
    /// # Errors
    /// If the parameter was not saved, or has another length or type. Nothing is written then.
    pub fn copy_param<'a>(&self, name: &str, target: impl Into<ValuesMut<'a>>) -> Result<(), Error> {
        let mut target = target.into();
        let bytes = self.param_of(name, target.dtype(), target.len())?;
        target.copy_from_bytes(&bytes);
        Ok(())
    }

    /// The values of a parameter as little-endian bytes with their type, if they were saved.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<(Dtype, &[u8])> {
        self.params.get(name).map(|param| (param.dtype, &param.bytes[..]))
    }

    /// The bytes of a parameter of this type and length.
    pub(crate) fn param_of(&self, name: &str, dtype: Dtype, len: usize) -> Result<Cow<'_, [u8]>, Error> {
        let Some(SavedParam { dtype: found, bytes }) = self.params.get(name) else {
            return Err(Error::CheckpointEntry {
                entry: format!("param/{name}"),
                reason: "it was not saved; read the checkpoint with parameters, or insert it".into(),
            });
        };
        let (entry, saved) = (format!("param/{name}"), bytes.len() / found.width() as usize);
        if (*found, saved) == (dtype, len) {
            return Ok(Cow::Borrowed(bytes));
        }
        if (dtype, saved) == (Dtype::F32, len) {
            let master =
                self.states.iter().find(|state| state.name == name).and_then(|state| state.plane(Plane::Master));
            return Ok(Cow::Owned(single_bytes(*found, bytes, master)));
        }
        let reason =
            format!("it has {saved} elements of {found}, but the parameter has {len} of {dtype}; give it the same");
        Err(Error::CheckpointEntry { entry, reason })
    }
}

/// A parameter in half precision as bytes of `f32`. Its master copy is what it would be in `f32`, unless others have written
/// it since.
fn single_bytes(dtype: Dtype, bytes: &[u8], master: Option<&[f32]>) -> Vec<u8> {
    let halves = bytes.as_chunks().0.iter().map(|&half| u16::from_le_bytes(half));
    // Where there is no copy, 0 is one that is taken from the parameter or is the parameter.
    let mut values = master.map_or_else(|| vec![0.0; bytes.len() / 2], <[f32]>::to_vec);
    match dtype {
        Dtype::Bf16 => adopt(&mut values, &halves.map(bf16::from_bits).collect::<Vec<_>>(), bf16_to_f32, bf16_nearest),
        _ => adopt(&mut values, &halves.map(f16::from_bits).collect::<Vec<_>>(), f16_to_f32, f16_nearest),
    }
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn wrong_length(name: &str, found: usize, expected: usize) -> Error {
    let (expected, found) = (expected as u64, found as u64);
    Error::LengthMismatch { name: name.to_owned(), role: Role::Param, expected, found }
}
