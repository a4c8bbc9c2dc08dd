//! The check that a checkpoint fits an optimizer.

use std::collections::HashMap;
use std::fmt;

use super::contents::Checkpoint;
use super::header::HeaderGroup;
use super::kept::Kept;
use crate::clock::Clock;
use crate::dtype::Dtype;
use crate::error::Error;
use crate::options::{HalfParams, Hyperparams, LoadOptions};
use crate::param::Member;
use crate::planes::Planes;
use crate::state::params::ParamState;

/// Something that a lenient call left out, dropped, or started anew.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The parameter; a plane of it by its [entry](Checkpoint#format) in the file; or the group by its first parameter.
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
    /// What each of its parameters goes on from. `None` starts anew, which only a lenient loading has.
    pub params: Vec<Option<FitParam<'a>>>,
    pub skipped: Vec<Skipped>,
}

/// What a parameter goes on from.
pub struct FitParam<'a> {
    pub state: &'a ParamState,
    /// The planes that it has from then on. What the state lacks starts from [`ParamState::source`] or from 0.
    pub planes: Planes,
    pub clock: Clock,
}

impl FitParam<'_> {
    /// Refuses to drop θ, which averages in the parameters' place have put into theirs.
    pub(crate) fn check_averages_in(&self) -> Result<(), Error> {
        let found = self.state.list();
        if (found.average, found.master) == (self.planes.average, self.planes.master) {
            return Ok(());
        }
        let entry = format!("average/{}", self.state.name);
        let reason = "the averages are in the parameters' place, so that it cannot be dropped or added; load it as it was, \
                      swap the averages back, and save it again";
        Err(Error::CheckpointEntry { entry, reason: reason.to_owned() })
    }
}

/// What does not fit: a list if the loading is lenient, else an error.
struct Misfits {
    is_lenient: bool,
    skipped: Vec<Skipped>,
}

impl Misfits {
    fn add(&mut self, entry: String, reason: String) -> Result<(), Error> {
        if self.is_lenient {
            self.skipped.push(Skipped { entry, reason });
            return Ok(());
        }
        let reason = format!("{reason}; make the optimizer as it was, or use `LoadOptions::lenient`");
        Err(Error::CheckpointEntry { entry, reason })
    }
}

impl<'a> Fit<'a> {
    /// `groups` are the optimizer's.
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        groups: &[Hyperparams],
        members: &[Member],
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let mut misfits = Misfits { is_lenient: options.lenient, skipped: Vec::new() };
        let known: HashMap<_, _> = members.iter().map(|own| (&own.param.name[..], own)).collect();
        let mut hyperparams = groups.to_vec();
        let saved_groups = &checkpoint.header.groups;
        let misfit_groups = match (options.own_hyperparams, options.partial) {
            (true, _) => Vec::new(),
            (false, true) => take_parts(saved_groups, &known, &mut hyperparams),
            (false, false) => take_groups(saved_groups, &known, &mut hyperparams),
        };
        let saved = checkpoint.states_by_name();
        let mut params = Vec::with_capacity(members.len());
        for own in members {
            let (name, len) = (&own.param.name, own.param.len);
            let param = match saved.get(&name[..]) {
                None => Err("the checkpoint has no such parameter".to_owned()),
                Some((state, _)) if state.len() != len => {
                    Err(format!("it has {} elements in the checkpoint and {len} in the optimizer", state.len()))
                }
                Some(&(state, before)) => {
                    Ok((state, Kept::new(state, before, &hyperparams[own.group], own.param.dtype)))
                }
            };
            match param {
                Ok((state, Kept { planes, clock, changes })) => {
                    for (plane, reason) in changes {
                        misfits.add(format!("{plane}/{name}"), reason)?;
                    }
                    params.push(Some(FitParam { state, planes, clock }));
                }
                Err(reason) => {
                    misfits.add(name.clone(), reason)?;
                    params.push(None);
                }
            }
        }
        for state in checkpoint.states.iter().filter(|_| !options.partial) {
            if !known.contains_key(&state.name[..]) {
                misfits.add(state.name.clone(), "the optimizer has no such parameter".to_owned())?;
            }
        }
        for (param, reason) in misfit_groups {
            misfits.add(param.clone(), reason.to_owned())?;
        }
        Ok(Self { hyperparams, params, skipped: misfits.skipped })
    }
}

/// The groups that do not fit, each by its first parameter, and why.
type MisfitGroups<'a> = Vec<(&'a String, &'static str)>;

/// Gives each group that has the same parameters in the file the hyperparameters of the file. The other groups of the file
/// are listed, but for those that the optimizer has no parameter of.
fn take_groups<'a>(
    saved: &'a [HeaderGroup],
    known: &HashMap<&str, &Member>,
    hyperparams: &mut [Hyperparams],
) -> MisfitGroups<'a> {
    let mut counts = vec![0; hyperparams.len()];
    known.values().for_each(|own| counts[own.group] += 1);
    let mut misfits = Vec::new();
    for saved in saved {
        let Some(group) = saved.params.iter().find_map(|name| Some(known.get(&name[..])?.group)) else { continue };
        let is_here = |name: &String| known.get(&name[..]).is_some_and(|own| own.group == group);
        if counts[group] != saved.params.len() || !saved.params.iter().all(is_here) {
            misfits.push((&saved.params[0], "its group in the checkpoint has other parameters than the optimizer's"));
        } else if saved.params.iter().any(|name| overflows(saved, known, name)) {
            misfits.push((&saved.params[0], OVERFLOWS));
        } else {
            hyperparams[group] = saved.hyperparams.clone();
        }
    }
    misfits
}

/// Gives each group the hyperparameters that all of its parameters have in the file, in however many groups they are there.
/// Groups of several hyperparameters in the file are listed.
fn take_parts<'a>(
    saved: &'a [HeaderGroup],
    known: &HashMap<&str, &Member>,
    hyperparams: &mut [Hyperparams],
) -> MisfitGroups<'a> {
    let mut found: Vec<Option<&Hyperparams>> = vec![None; hyperparams.len()];
    let mut misfits: Vec<Option<(&'a String, &'static str)>> = vec![None; hyperparams.len()];
    for saved in saved {
        for name in &saved.params {
            let Some(group) = known.get(&name[..]).map(|own| own.group) else { continue };
            let first = *found[group].get_or_insert(&saved.hyperparams);
            let reason = if *first != saved.hyperparams {
                "its group here has parameters that are under other hyperparameters in the checkpoint"
            } else if overflows(saved, known, name) {
                OVERFLOWS
            } else {
                continue;
            };
            misfits[group].get_or_insert((name, reason));
        }
    }
    for ((own, found), misfit) in hyperparams.iter_mut().zip(found).zip(&misfits) {
        if let Some(found) = found.filter(|_| misfit.is_none()) {
            own.clone_from(found);
        }
    }
    misfits.into_iter().flatten().collect()
}

const OVERFLOWS: &str = "its group in the checkpoint is rounded at random, and a parameter here is f16";

/// Whether a parameter would overflow an f16 under the hyperparameters of its group in the file.
fn overflows(saved: &HeaderGroup, known: &HashMap<&str, &Member>, name: &str) -> bool {
    let is_random = matches!(saved.hyperparams.half_params, HalfParams::Stochastic { .. });
    is_random && known.get(name).is_some_and(|own| own.param.dtype == Dtype::F16)
}
