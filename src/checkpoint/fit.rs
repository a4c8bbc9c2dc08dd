//! Whether a checkpoint is one of an optimizer's own.

use std::collections::HashMap;
use std::fmt;

use super::Checkpoint;
use crate::state::{Planes, TensorState};
use crate::{Error, Hyperparams};

/// What a lenient loading left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The parameter, or the group by its first parameter.
    pub entry: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.entry, self.reason)
    }
}

/// A parameter of the optimizer that loads.
pub(crate) struct Own {
    pub name: String,
    pub len: u64,
    pub group: usize,
    pub planes: Planes,
}

/// What an optimizer takes from a checkpoint.
pub(crate) struct Fit<'a> {
    /// Of each of its groups.
    pub hyperparams: Vec<Hyperparams>,
    /// Of each of its parameters; none keeps 0, and only a lenient loading has any.
    pub tensors: Vec<Option<&'a TensorState>>,
    pub skipped: Vec<Skipped>,
}

impl<'a> Fit<'a> {
    /// `groups` are the optimizer's. The first thing that does not fit is an error, or all such are skipped if `lenient`.
    pub fn new(checkpoint: &'a Checkpoint, groups: &[Hyperparams], own: &[Own], lenient: bool) -> Result<Self, Error> {
        let mut skipped = Vec::new();
        let mut skip = |entry: &str, reason: String| {
            let entry = entry.to_owned();
            if lenient {
                skipped.push(Skipped { entry, reason });
                return Ok(());
            }
            let reason = format!("{reason}; make the optimizer as it was, or load leniently");
            Err(Error::CheckpointEntry { entry, reason })
        };
        let known: HashMap<_, _> = own.iter().map(|own| (&own.name[..], own.group)).collect();
        let mut hyperparams = groups.to_vec();
        let mut misfits = Vec::new();
        for saved in &checkpoint.header.groups {
            let Some(&group) = saved.params.iter().find_map(|name| known.get(&name[..])) else { continue };
            let count = own.iter().filter(|own| own.group == group).count();
            let is_same =
                count == saved.params.len() && saved.params.iter().all(|name| known.get(&name[..]) == Some(&group));
            if !is_same {
                misfits.push((saved, "its group in the checkpoint has other parameters than the optimizer's"));
            } else if planes(&saved.hyperparams) != planes(&groups[group]) {
                misfits.push((saved, "its group has another order, amsgrad or half_params"));
            } else {
                hyperparams[group] = saved.hyperparams.clone();
            }
        }
        let saved: HashMap<_, _> = checkpoint.tensors.iter().map(|tensor| (&tensor.name[..], tensor)).collect();
        let mut tensors = Vec::with_capacity(own.len());
        for own in own {
            let found = match saved.get(&own.name[..]) {
                None => Err("the checkpoint has no such parameter".to_owned()),
                Some(tensor) => {
                    check_tensor(tensor, own, &hyperparams[own.group], checkpoint.header.step).map(|()| *tensor)
                }
            };
            match found {
                Ok(tensor) => tensors.push(Some(tensor)),
                Err(reason) => {
                    skip(&own.name, reason)?;
                    tensors.push(None);
                }
            }
        }
        for tensor in &checkpoint.tensors {
            if !known.contains_key(&tensor.name[..]) {
                skip(&tensor.name, "the optimizer has no such parameter".to_owned())?;
            }
        }
        for (saved, reason) in misfits {
            skip(&saved.params[0], reason.to_owned())?;
        }
        check_released(own, &hyperparams, checkpoint.header.step)?;
        Ok(Self { hyperparams, tensors, skipped })
    }
}

/// Integrals that this optimizer has released and is going to need: nothing can be skipped to mend that.
fn check_released(own: &[Own], hyperparams: &[Hyperparams], step: u32) -> Result<(), Error> {
    let needs = |own: &&Own| step < hyperparams[own.group].last_integrating() && own.planes.integrals == 0;
    match own.iter().find(needs) {
        None => Ok(()),
        Some(own) => {
            let reason = format!(
                "it uses its integrals again at step {}, but the optimizer has released them; make a new optimizer",
                step + 1
            );
            Err(Error::CheckpointEntry { entry: own.name.clone(), reason })
        }
    }
}

/// What decides on the planes of a group's state.
fn planes(hyperparams: &Hyperparams) -> (u32, bool, bool) {
    let is_master = hyperparams.half_params == crate::HalfParams::Master;
    (hyperparams.order, hyperparams.amsgrad, is_master)
}

fn check_tensor(tensor: &TensorState, own: &Own, group: &Hyperparams, step: u32) -> Result<(), String> {
    let (found, expected) = (tensor.first_moment.len() as u64, own.len);
    if found != expected {
        return Err(format!("it has {found} elements in the checkpoint and {expected} in the optimizer"));
    }
    let has = |has: bool| if has { "has" } else { "has not" };
    let amsgrad = tensor.max_second_moment.is_some();
    if amsgrad != own.planes.amsgrad {
        return Err(format!("the checkpoint {} a largest second moment (amsgrad) of it", has(amsgrad)));
    }
    let master = tensor.master.is_some();
    if master != own.planes.master {
        return Err(format!("the checkpoint {} a master copy of it", has(master)));
    }
    let (found, expected) = (tensor.integrals.len(), own.planes.integrals);
    // From ζ on nobody needs them, and either side may have released its own.
    let needed = step < group.last_integrating();
    if found != expected && (needed || (found > 0 && expected > 0)) {
        return Err(format!("it has {found} integrals in the checkpoint and {expected} in the optimizer"));
    }
    Ok(())
}
