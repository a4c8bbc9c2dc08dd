//! The check that a checkpoint fits an optimizer.

use std::collections::HashMap;
use std::fmt;

use super::contents::Checkpoint;
use crate::error::Error;
use crate::options::{Average, HalfParams, Hyperparams};
use crate::param::Member;
use crate::state::params::ParamState;

/// Something that a lenient loading left out.
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

/// The parts of a checkpoint that an optimizer takes.
pub struct Fit<'a> {
    /// The hyperparameters of each of its groups.
    pub hyperparams: Vec<Hyperparams>,
    /// The state of each of its parameters. `None` becomes 0, which only a lenient loading has.
    pub states: Vec<Option<&'a ParamState>>,
    pub skipped: Vec<Skipped>,
}

impl<'a> Fit<'a> {
    /// `groups` are the optimizer's. The first thing that does not fit is an error, or all such are skipped if `lenient`.
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        groups: &[Hyperparams],
        members: &[Member],
        lenient: bool,
    ) -> Result<Self, Error> {
        let mut skipped = Vec::new();
        let mut skip = |entry: &str, reason: String| {
            let entry = entry.to_owned();
            if lenient {
                skipped.push(Skipped { entry, reason });
                return Ok(());
            }
            let reason = format!("{reason}; make the optimizer as it was, or use `load_lenient`");
            Err(Error::CheckpointEntry { entry, reason })
        };
        let known: HashMap<_, _> = members.iter().map(|own| (&own.param.name[..], own.group)).collect();
        let mut counts = vec![0; groups.len()];
        members.iter().for_each(|own| counts[own.group] += 1);
        let mut hyperparams = groups.to_vec();
        let mut misfits = Vec::new();
        for saved in &checkpoint.header.groups {
            let Some(&group) = saved.params.iter().find_map(|name| known.get(&name[..])) else { continue };
            let is_same = counts[group] == saved.params.len()
                && saved.params.iter().all(|name| known.get(&name[..]) == Some(&group));
            if !is_same {
                misfits.push((saved, "its group in the checkpoint has other parameters than the optimizer's"));
            } else if kinds_of_planes(&saved.hyperparams) != kinds_of_planes(&groups[group]) {
                misfits
                    .push((saved, "its group has another order, amsgrad or half_params, or only one has an average"));
            } else {
                hyperparams[group] = saved.hyperparams.clone();
            }
        }
        let saved: HashMap<_, _> = checkpoint.states.iter().map(|state| (&state.name[..], state)).collect();
        let mut states = Vec::with_capacity(members.len());
        for own in members {
            let found = match saved.get(&own.param.name[..]) {
                None => Err("the checkpoint has no such parameter".to_owned()),
                Some(state) => check_state(state, own, &hyperparams[own.group]).map(|()| *state),
            };
            match found {
                Ok(state) => states.push(Some(state)),
                Err(reason) => {
                    skip(&own.param.name, reason)?;
                    states.push(None);
                }
            }
        }
        for state in &checkpoint.states {
            if !known.contains_key(&state.name[..]) {
                skip(&state.name, "the optimizer has no such parameter".to_owned())?;
            }
        }
        for (saved, reason) in misfits {
            skip(&saved.params[0], reason.to_owned())?;
        }
        check_released(members, &hyperparams, &states)?;
        Ok(Self { hyperparams, states, skipped })
    }
}

/// Refuses a checkpoint that needs integrals which this optimizer has released. Nothing can be skipped to mend that.
fn check_released(
    members: &[Member],
    hyperparams: &[Hyperparams],
    states: &[Option<&ParamState>],
) -> Result<(), Error> {
    let step = |state: &Option<&ParamState>| state.map_or(0, ParamState::step);
    let needs = |(own, state): &(&Member, &Option<&ParamState>)| {
        step(state) < hyperparams[own.group].last_integrating() && own.planes.integrals == 0
    };
    match members.iter().zip(states).find(needs) {
        None => Ok(()),
        Some((own, state)) => {
            let reason = format!(
                "it uses its integrals again at step {}, but the optimizer has released them; make a new optimizer",
                step(state) + 1
            );
            Err(Error::CheckpointEntry { entry: own.param.name.clone(), reason })
        }
    }
}

/// The hyperparameters that decide on the planes of a group's state.
fn kinds_of_planes(hyperparams: &Hyperparams) -> (u32, bool, bool, bool) {
    let is_master = hyperparams.half_params == HalfParams::Master;
    (hyperparams.order, hyperparams.amsgrad, is_master, hyperparams.average == Average::None)
}

fn check_state(state: &ParamState, own: &Member, group: &Hyperparams) -> Result<(), String> {
    let (found, expected) = (state.len(), own.param.len);
    if found != expected {
        return Err(format!("it has {found} elements in the checkpoint and {expected} in the optimizer"));
    }
    let (saved, own) = (state.list(), own.planes);
    let has = |has: bool| if has { "has" } else { "has not" };
    if saved.amsgrad != own.amsgrad {
        return Err(format!("the checkpoint {} a largest second moment (amsgrad) of it", has(saved.amsgrad)));
    }
    if saved.master != own.master {
        return Err(format!("the checkpoint {} a master copy of it", has(saved.master)));
    }
    if saved.average != own.average {
        return Err(format!("the checkpoint {} an average of it", has(saved.average)));
    }
    let (found, expected) = (saved.integrals, own.integrals);
    // From ζ on nobody needs the integrals, and either side may have released its own.
    let needed = state.step() < group.last_integrating();
    if found != expected && (needed || (found > 0 && expected > 0)) {
        return Err(format!("it has {found} integrals in the checkpoint and {expected} in the optimizer"));
    }
    Ok(())
}
