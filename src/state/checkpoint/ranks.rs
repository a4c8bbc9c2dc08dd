//! Checkpoints of ranks: optimizers that each own some of the parameters.

use std::collections::BTreeMap;

use super::contents::Checkpoint;
use super::entries::{SavedParam, malformed_entry};
use super::header::{Header, HeaderGroup};
use crate::error::Error;
use crate::options::{GradOptions, Hyperparams};
use crate::state::params::ParamState;

impl Checkpoint {
    /// Puts the checkpoints of ranks together. The result is that of one optimizer over all of their parameters, so that it
    /// loads into one, or into any number of ranks by [`LoadOptions::partial`](crate::LoadOptions::partial).
    ///
    /// The groups of two parts are one group if they have the same hyperparameters. If a part has several groups of the same
    /// hyperparameters, its first one goes with the first one of the others, and so on. The groups stand in the order in which
    /// the parts bring them. The norm of the gradients stays if all parts have the same one, as where they
    /// [share](crate::MiAdam::set_other_grads) it. A rank that [follows](crate::MiAdam::follow) another takes gradient options
    /// and loss scale from it here, too.
    ///
    /// ```
    /// use miadam::{Checkpoint, Hyperparams, LoadOptions, Param, ParamGroup, cpu, shard};
    ///
    /// let group = ParamGroup::new(Hyperparams::default(), ["a", "b", "c"].map(|name| Param::new(name, 1)));
    /// let ranks = shard([group.clone()], 2).into_iter().map(cpu::MiAdam::new).collect::<Result<Vec<_>, _>>()?;
    /// // … each rank takes its steps, then:
    /// let merged = Checkpoint::merge(ranks.iter().map(|rank| rank.read_checkpoint()))?;
    ///
    /// let mut alone = cpu::MiAdam::new([group.clone()])?;
    /// alone.load(&merged)?;
    /// for groups in shard([group], 3) {
    ///     let mut rank = cpu::MiAdam::new(groups)?;
    ///     rank.load_with(&merged, &LoadOptions { partial: true, ..LoadOptions::default() })?;
    /// }
    /// # Ok::<(), miadam::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no part; if a parameter is in two of them; if the parts were not saved at the same step and under the same
    /// gradient options and loss scale; if averages are in the parameters' place in some of them only; or if they have different strings for one entry of [`user_data`](Self::user_data).
    pub fn merge(parts: impl IntoIterator<Item = Self>) -> Result<Self, Error> {
        let mut parts = parts.into_iter();
        let first = parts.next().ok_or_else(|| malformed_entry("merge", "there is no part; give one for each rank"))?;
        let header = Header { groups: Vec::new(), ..first.header.clone() };
        let mut merged = Merged { header, states: Vec::new(), params: BTreeMap::new(), averages_in: None };
        for (number, part) in std::iter::once(first).chain(parts).enumerate() {
            merged.add(number, part)?;
        }
        merged.finish()
    }

    /// Leaves out the parameters for which `keep` is false, with all that the checkpoint has of them, such as those of other
    /// ranks. What is left has to fit as ever: a rank whose parameter is not in the file is told so.
    /// [`LoadOptions::partial`](crate::LoadOptions::partial) takes a part without changing the checkpoint.
    pub fn retain_params(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let kept = self.rename_params(|name| keep(name).then(|| name.to_owned()));
        debug_assert!(kept.is_ok(), "names that are unique stay so");
    }
}

/// The parts so far.
struct Merged {
    header: Header,
    /// The states of each group's parameters.
    states: Vec<Vec<ParamState>>,
    params: BTreeMap<String, SavedParam>,
    /// Whether averages are in the parameters' place, as the first part says that has any.
    averages_in: Option<bool>,
}

impl Merged {
    fn add(&mut self, number: usize, part: Checkpoint) -> Result<(), Error> {
        check_same(&self.header, &part.header, number)?;
        self.swap_averages(number, &part)?;
        if self.header.follows && !part.header.follows {
            // The say is the leader's.
            let own = &mut self.header;
            (own.follows, own.gradients) = (false, part.header.gradients);
            (own.loss_scale, own.good_steps) = (part.header.loss_scale, part.header.good_steps);
        }
        let Header { groups, frozen, user_data, grad_norm_bits, .. } = part.header;
        if self.header.grad_norm_bits != grad_norm_bits {
            self.header.grad_norm_bits = None;
        }
        for (key, value) in user_data {
            if let Some(other) =
                self.header.user_data.insert(key.clone(), value.clone()).filter(|other| *other != value)
            {
                let reason =
                    format!("it is \"{other}\" in one part and \"{value}\" in part {number}; give all parts the same");
                return Err(malformed_entry(&format!("user_data/{key}"), reason));
            }
        }
        if number > 0 {
            self.header.frozen.extend(frozen);
        }
        let mut states = part.states.into_iter();
        let mut seen: Vec<Hyperparams> = Vec::new();
        for HeaderGroup { params, hyperparams } in groups {
            let before = seen.iter().filter(|other| **other == hyperparams).count();
            let mut alike = self.header.groups.iter().enumerate().filter(|(_, group)| group.hyperparams == hyperparams);
            let group = match alike.nth(before) {
                Some((group, _)) => group,
                None => {
                    let hyperparams = hyperparams.clone();
                    self.header.groups.push(HeaderGroup { params: Vec::new(), hyperparams });
                    self.states.push(Vec::new());
                    self.states.len() - 1
                }
            };
            self.states[group].extend(states.by_ref().take(params.len()));
            self.header.groups[group].params.extend(params);
            seen.push(hyperparams);
        }
        self.params.extend(part.params);
        Ok(())
    }

    /// A rank without averages has none to put in the parameters' place.
    fn swap_averages(&mut self, number: usize, part: &Checkpoint) -> Result<(), Error> {
        if part.states.iter().any(|state| state.list().average) {
            let found = part.header.averages_in;
            self.header.averages_in = *self.averages_in.get_or_insert(found);
            if self.header.averages_in != found {
                let reason = format!(
                    "it is {} in one part and {found} in part {number}; swap the averages back on all ranks, and save again",
                    !found
                );
                return Err(malformed_entry("averages_in", reason));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Checkpoint, Error> {
        let states: Vec<_> = self.states.into_iter().flatten().collect();
        let mut names: Vec<_> = states.iter().map(|state| &state.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(malformed_entry(pair[0], "two parts have it; each parameter belongs to one rank"));
        }
        Ok(Checkpoint { params: self.params, ..Checkpoint::new(self.header, states) })
    }
}

/// Refuses a part that was not saved together with those before.
fn check_same(before: &Header, part: &Header, number: usize) -> Result<(), Error> {
    let counts = |header: &Header| [("step", header.step), ("skipped", header.skipped), ("recorded", header.recorded)];
    for ((entry, before), (_, found)) in counts(before).into_iter().zip(counts(part)) {
        if before != found {
            let reason =
                format!("it is {before} in part 0 and {found} in part {number}; save all parts after the same step");
            return Err(malformed_entry(entry, reason));
        }
    }
    let (mut own, mut others) = (part.gradients, before.gradients);
    if part.follows == before.follows {
        if (before.loss_scale, before.good_steps) != (part.loss_scale, part.good_steps) {
            let reason = format!(
                "part {number} is at {} after {} good steps, and those before are at {} after {}; let every rank look at \
                 the gradients of all, or follow",
                part.loss_scale, part.good_steps, before.loss_scale, before.good_steps
            );
            return Err(malformed_entry("loss_scale", reason));
        }
    } else {
        // The other options are the leader's to set.
        [own, others] = [own, others].map(GradOptions::of_follower);
    }
    if own != others {
        let reason = format!("part {number} has other gradient options than those before; set the same on every rank");
        return Err(malformed_entry("gradients", reason));
    }
    Ok(())
}
