//! Other names for a checkpoint's parameters.

use std::collections::{BTreeMap, HashMap};

use super::contents::Checkpoint;
use super::entries::malformed_entry;
use crate::error::Error;

impl Checkpoint {
    /// Gives every parameter the name that `name` makes of its own, and leaves out those for which it is `None`. Whatever
    /// takes the checkpoint from then on knows it by the new names: [`load`](crate::Optimizer::load),
    /// [`write_params`](crate::MiAdam::write_params), [`copy_param`](Self::copy_param), [`save`](Self::save). No tensor is
    /// copied.
    ///
    /// Where a parameter is [rounded at random](crate::HalfParams::Stochastic), its random numbers are those of its new name.
    ///
    /// ```
    /// use miadam::{Hyperparams, Param, ParamGroup, cpu};
    ///
    /// let params = ["encoder.0", "encoder.1", "old head"].map(|name| Param::new(name, 1));
    /// let optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), params)])?;
    /// let mut checkpoint = optimizer.read_checkpoint();
    /// checkpoint.rename_params(|name| Some(name.strip_prefix("encoder.")?.replace('0', "first")))?;
    /// let names: Vec<_> = checkpoint.states().iter().map(|state| &state.name[..]).collect();
    /// assert_eq!(names, ["first", "1"]);
    /// # Ok::<(), miadam::Error>(())
    /// ```
    ///
    /// # Errors
    /// If two parameters get the same name, or one an empty name. Nothing is renamed then.
    pub fn rename_params(&mut self, mut name: impl FnMut(&str) -> Option<String>) -> Result<(), Error> {
        let (mut renamed, mut taken) = (HashMap::new(), HashMap::new());
        for old in self.states.iter().map(|state| &state.name) {
            let Some(new) = name(old) else { continue };
            if new.is_empty() {
                return Err(malformed_entry(old, "it is to be renamed to nothing; give it a name, or leave it out"));
            }
            if let Some(other) = taken.insert(new.clone(), old.clone()) {
                let reason = format!("`{other}` and `{old}` are both to have this name; give each its own");
                return Err(malformed_entry(&new, reason));
            }
            renamed.insert(old.clone(), new);
        }
        let rename = |names: &mut Vec<String>| {
            *names = names.iter().filter_map(|name| renamed.get(name).cloned()).collect();
            !names.is_empty()
        };
        self.header.groups.retain_mut(|group| rename(&mut group.params));
        self.header.clocks.retain_mut(|clock| rename(&mut clock.params));
        rename(&mut self.header.frozen);
        self.states.retain(|state| renamed.contains_key(&state.name));
        for state in &mut self.states {
            state.name.clone_from(&renamed[&state.name]);
        }
        let params = std::mem::take(&mut self.params);
        let params = params.into_iter().filter_map(|(name, param)| Some((renamed.get(&name)?.clone(), param)));
        self.params = params.collect::<BTreeMap<_, _>>();
        Ok(())
    }

    /// Takes a prefix off the names that begin with it, such as the `module.` of a wrapped model. The others stay as they are.
    ///
    /// # Errors
    /// As for [`rename_params`](Self::rename_params).
    pub fn strip_prefix(&mut self, prefix: &str) -> Result<(), Error> {
        self.rename_params(|name| Some(name.strip_prefix(prefix).unwrap_or(name).to_owned()))
    }
}
