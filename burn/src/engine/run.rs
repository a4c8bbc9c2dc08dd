//! What both devices do alike: which parameters the optimizer has, in which groups, and what changes before a step.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use miadam::ParamGroup;
use miadam::{
    Checkpoint, Dtype, Error as CoreError, GradOptions, Hyperparams, LoadOptions, OnDevice, Optimizer, Param,
};

use crate::error::Error;

/// A parameter that a step brings.
#[derive(Clone)]
pub struct Brought {
    pub path: Arc<str>,
    pub param: Param,
    /// The number of its group in the configuration.
    pub group: usize,
    /// The type of its gradient. It rests without one.
    pub grad: Option<Dtype>,
    /// Whether it was asked to rest or to go on, if it was.
    pub frozen: Option<bool>,
}

/// What a step comes with.
#[derive(Clone)]
pub struct Turn {
    pub brought: Vec<Brought>,
    /// The hyperparameters of all groups of the configuration.
    pub hyperparams: Arc<[Hyperparams]>,
    /// The learning rate of each of them that has a parameter here.
    pub lrs: Vec<Option<f64>>,
    /// For the first step.
    pub grad_options: GradOptions,
    /// For the first step.
    pub pending: Option<Arc<Pending>>,
}

/// A checkpoint that waits for the first step.
pub struct Pending {
    pub checkpoint: Arc<Checkpoint>,
    options: LoadOptions,
    /// The names of its parameters.
    names: HashSet<String>,
}

impl Pending {
    pub fn new(checkpoint: Checkpoint, options: LoadOptions) -> Self {
        let names = checkpoint.groups().flat_map(|(_, names)| names.iter().cloned()).collect();
        Self { checkpoint: Arc::new(checkpoint), options, names }
    }

    pub fn has(&self, path: &str) -> bool {
        self.names.contains(path)
    }

    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The same with another form of the checkpoint.
    pub fn with(self: &Arc<Self>, checkpoint: Cow<'_, Checkpoint>) -> Arc<Self> {
        match checkpoint {
            Cow::Borrowed(_) => self.clone(),
            Cow::Owned(checkpoint) => {
                let (names, options) = (self.names.clone(), self.options);
                Arc::new(Self { checkpoint: Arc::new(checkpoint), names, options })
            }
        }
    }

    /// Checks that the parameters of all devices together are all of the file.
    pub fn check_complete<'a>(&'a self, paths: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        check_complete(self.names.iter(), &self.options, paths)
    }

    /// What is for one of several devices.
    pub fn part(&self) -> Arc<Self> {
        let options = LoadOptions { partial: true, ..self.options };
        Arc::new(Self { checkpoint: self.checkpoint.clone(), names: self.names.clone(), options })
    }
}

/// Checks that these parameters of a file are all there, unless a part of them is enough.
pub fn check_complete<'a>(
    mut names: impl Iterator<Item = &'a String>,
    options: &LoadOptions,
    paths: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    let paths: HashSet<_> = paths.collect();
    match names.find(|name| !options.lenient && !options.partial && !paths.contains(&name[..])) {
        Some(name) => Err(Error::Missing { path: name.clone() }),
        None => Ok(()),
    }
}

/// What the adapter asks of an optimizer on any device.
pub trait Settings {
    fn set_grad_options(&mut self, options: GradOptions) -> Result<(), CoreError>;
    fn release_integrals(&mut self) -> Result<u64, CoreError>;
    /// Lets those of the names that it has rest or go on.
    fn freeze(&mut self, names: &[&str], frozen: bool) -> Result<(), CoreError>;
    fn frozen(&self) -> Vec<String>;
    fn params(&self) -> Vec<Param>;
    fn state_bytes(&self) -> u64;
    fn params_written(&mut self);
}

impl<D: OnDevice> Settings for Optimizer<D> {
    fn set_grad_options(&mut self, options: GradOptions) -> Result<(), CoreError> {
        Self::set_grad_options(self, options)
    }

    fn release_integrals(&mut self) -> Result<u64, CoreError> {
        Self::release_integrals(self)
    }

    fn freeze(&mut self, names: &[&str], frozen: bool) -> Result<(), CoreError> {
        let own: HashSet<_> = self.params().map(|param| &param.name[..]).collect();
        let names: Vec<_> = names.iter().filter(|name| own.contains(*name)).collect();
        if frozen { Self::freeze(self, names) } else { self.thaw(names) }
    }

    fn frozen(&self) -> Vec<String> {
        Self::frozen(self).map(str::to_owned).collect()
    }

    fn params(&self) -> Vec<Param> {
        Self::params(self).cloned().collect()
    }

    fn state_bytes(&self) -> u64 {
        Self::state_bytes(self)
    }

    fn params_written(&mut self) {
        Self::params_written(self);
    }
}

/// How a device takes parameters in.
pub trait Site<D> {
    fn make(&self, groups: Vec<ParamGroup>) -> Result<Optimizer<D>, CoreError>;
    fn add_group(&self, optimizer: &mut Optimizer<D>, group: ParamGroup) -> Result<(), CoreError>;
    fn add_params(&self, optimizer: &mut Optimizer<D>, group: usize, params: Vec<Param>) -> Result<(), CoreError>;
}

/// An optimizer and its parameters.
pub struct Run<D> {
    pub optimizer: Optimizer<D>,
    /// For each of the optimizer's groups, its number in the configuration.
    groups: Vec<usize>,
    params: HashMap<Arc<str>, Param>,
}

impl<D: OnDevice> Run<D> {
    /// Makes the optimizer at the first step, and brings it to what this step comes with.
    pub fn prepare<'a>(run: &'a mut Option<Self>, turn: &Turn, site: &impl Site<D>) -> Result<&'a mut Self, Error> {
        let run = match run {
            Some(run) => run,
            None => run.insert(Self::first(turn, site)?),
        };
        run.check(turn)?;
        // A step that could not be taken may have left somebody out.
        run.optimizer.skip_none();
        // Those who rest are bound to where they were, which may be anybody's by now.
        run.rest(turn)?;
        run.add(turn, site)?;
        run.set_lrs(turn)?;
        Ok(run)
    }

    /// Leaves all parameters out of the step.
    pub fn rest_all(&mut self, turn: &Turn) -> Result<(), Error> {
        self.optimizer.skip(self.params.keys())?;
        self.set_lrs(turn)
    }

    fn set_lrs(&mut self, turn: &Turn) -> Result<(), Error> {
        for (number, &group) in self.groups.iter().enumerate() {
            if let Some(lr) = turn.lrs[group] {
                self.optimizer.set_lr(number, lr)?;
            }
        }
        Ok(())
    }

    /// The optimizer of the first step. A checkpoint that waits is loaded, into exactly the parameters that it has.
    fn first(turn: &Turn, site: &impl Site<D>) -> Result<Self, Error> {
        let has_been_saved =
            |brought: &&Brought| turn.pending.as_ref().is_none_or(|pending| pending.has(&brought.path));
        let mut brought: Vec<_> = turn.brought.iter().filter(has_been_saved).collect();
        if brought.is_empty() {
            // The loading tells what does not fit.
            brought = turn.brought.iter().collect();
        }
        let (mut groups, mut core) = (Vec::new(), Vec::new());
        for (group, hyperparams) in turn.hyperparams.iter().enumerate() {
            let params: Vec<_> =
                brought.iter().filter(|brought| brought.group == group).map(|brought| brought.param.clone()).collect();
            if !params.is_empty() {
                groups.push(group);
                core.push(ParamGroup::new(hyperparams.clone(), params));
            }
        }
        let mut optimizer = site.make(core)?;
        optimizer.set_grad_options(turn.grad_options)?;
        if let Some(pending) = &turn.pending {
            let skipped = optimizer.load_with(&pending.checkpoint, &pending.options)?;
            // Where nothing but counts is loaded, every parameter is new.
            let is_told = !pending.names.is_empty();
            skipped.iter().filter(|_| is_told).for_each(|skipped| log::warn!("{skipped}"));
        }
        let params = brought.iter().map(|brought| (brought.path.clone(), brought.param.clone())).collect();
        let mut run = Self { optimizer, groups, params };
        run.freeze(&brought)?;
        Ok(run)
    }

    /// Refuses parameters that have become others.
    fn check(&self, turn: &Turn) -> Result<(), Error> {
        for brought in &turn.brought {
            if let Some(before) = self.params.get(&brought.path).filter(|before| **before != brought.param) {
                let kind = |param: &Param| format!("{} elements of {:?}", param.len, param.dtype);
                let (path, before, now) = (brought.path.to_string(), kind(before), kind(&brought.param));
                return Err(Error::Changed { path, before, now });
            }
        }
        Ok(())
    }

    /// Adds the parameters that are new.
    fn add(&mut self, turn: &Turn, site: &impl Site<D>) -> Result<(), Error> {
        let new: Vec<_> = turn.brought.iter().filter(|brought| !self.params.contains_key(&brought.path)).collect();
        for (group, hyperparams) in turn.hyperparams.iter().enumerate() {
            let of_group: Vec<_> = new.iter().filter(|brought| brought.group == group).copied().collect();
            if of_group.is_empty() {
                continue;
            }
            let params: Vec<_> = of_group.iter().map(|brought| brought.param.clone()).collect();
            match self.groups.iter().position(|&known| known == group) {
                Some(number) => site.add_params(&mut self.optimizer, number, params)?,
                None => {
                    site.add_group(&mut self.optimizer, ParamGroup::new(hyperparams.clone(), params))?;
                    self.groups.push(group);
                }
            }
            self.params.extend(of_group.iter().map(|brought| (brought.path.clone(), brought.param.clone())));
        }
        self.freeze(&new)
    }

    fn freeze(&mut self, brought: &[&Brought]) -> Result<(), Error> {
        for frozen in [false, true] {
            let asked = brought.iter().filter(|brought| brought.frozen == Some(frozen));
            let names: Vec<_> = asked.map(|brought| &*brought.path).collect();
            Settings::freeze(&mut self.optimizer, &names, frozen)?;
        }
        Ok(())
    }

    /// Leaves out whoever has no gradient.
    fn rest(&mut self, turn: &Turn) -> Result<(), Error> {
        let present: HashSet<_> =
            turn.brought.iter().filter(|brought| brought.grad.is_some()).map(|brought| &*brought.path).collect();
        let absent: Vec<_> = self.params.keys().filter(|path| !present.contains(&***path)).collect();
        Ok(self.optimizer.skip(absent)?)
    }
}
