//! The JSON beside a checkpoint's tensors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use bytemuck::Zeroable;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::entries::malformed_entry;
use crate::abi::{Progress, Scaler};
use crate::clock::Clock;
use crate::error::Error;
use crate::options::{GradOptions, Hyperparams, LARGEST_SCALE};

/// The version that is written. Version 1 is read as well: it counts steps once for all parameters.
pub(crate) const VERSION: u64 = 2;

/// Everything but tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub version: u64,
    /// Steps taken.
    pub step: u32,
    /// Steps skipped.
    pub skipped: u32,
    /// Steps recorded, by which schedules go.
    pub recorded: u32,
    /// The norm of the gradients, which may be NaN or infinite, if the last step measured it.
    pub grad_norm_bits: Option<u32>,
    pub loss_scale: f32,
    /// Steps since the loss scale last changed.
    pub good_steps: u32,
    pub gradients: GradOptions,
    pub groups: Vec<HeaderGroup>,
    /// The counts of all parameters. Version 1 has none.
    #[serde(default)]
    pub clocks: Vec<HeaderClock>,
    /// The parameters that are frozen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,
    /// Whether the averages were in the parameters' place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub averages_in: bool,
    /// Whether another optimizer judges the gradients: it has the say on the options that are a leader's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follows: bool,
    /// The caller's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique")]
    pub user_data: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderGroup {
    pub params: Vec<String>,
    pub hyperparams: Hyperparams,
}

/// Parameters that share their counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderClock {
    pub params: Vec<String>,
    pub counts: Clock,
}

impl Header {
    /// Sets the clocks to those of these parameters, each with its counts.
    pub fn set_clocks<'a>(&mut self, params: impl Iterator<Item = (&'a str, &'a Clock)>) {
        let mut known = HashMap::new();
        self.clocks.clear();
        for (name, counts) in params {
            let number = *known.entry(counts).or_insert_with(|| {
                self.clocks.push(HeaderClock { params: Vec::new(), counts: counts.clone() });
                self.clocks.len() - 1
            });
            self.clocks[number].params.push(name.to_owned());
        }
    }

    /// The counts of each parameter.
    pub fn counts_by_name(&self) -> HashMap<&str, &Clock> {
        let named = self.clocks.iter().flat_map(|clock| clock.params.iter().map(|name| (&name[..], &clock.counts)));
        named.collect()
    }

    /// Sets the device's counts. `measured` says whether its norm is that of the last step.
    pub fn set_counts(&mut self, progress: &Progress, scaler: &Scaler, measured: bool) {
        self.step = progress.step;
        self.skipped = progress.skipped;
        self.grad_norm_bits = measured.then_some(progress.norm);
        self.loss_scale = scaler.scale;
        self.good_steps = scaler.good_steps;
    }

    /// The counts as the device keeps them.
    pub fn counts(&self) -> (Progress, Scaler) {
        let &Self { step, skipped, grad_norm_bits, loss_scale, good_steps, .. } = self;
        let progress = Progress { step, skipped, norm: grad_norm_bits.unwrap_or(0), ..Progress::zeroed() };
        (progress, Scaler { good_steps, ..Scaler::starting_at(loss_scale) })
    }

    pub fn parse(json: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        let malformed = |error: serde_json::Error| Error::CheckpointFormat { reason: format!("`miadam`: {error}") };
        let Version { version } = serde_json::from_str(json).map_err(malformed)?;
        if !(1..=VERSION).contains(&version) {
            return Err(Error::CheckpointVersion { found: version, supported: VERSION });
        }
        let mut header: Self = serde_json::from_str(json).map_err(malformed)?;
        if version == 1 {
            if !header.clocks.is_empty() || !header.frozen.is_empty() {
                let reason = "`miadam`: version 1 has neither clocks nor frozen parameters".to_owned();
                return Err(Error::CheckpointFormat { reason });
            }
            let params = header.groups.iter().flat_map(|group| group.params.clone()).collect();
            header.clocks = vec![HeaderClock { params, counts: Clock { step: header.step, ..Clock::default() } }];
            header.version = VERSION;
        }
        header.check()?;
        Ok(header)
    }

    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::CheckpointFormat { reason: error.to_string() })
    }

    /// Refuses values that no optimizer has.
    fn check(&self) -> Result<(), Error> {
        for (number, group) in self.groups.iter().enumerate() {
            // A learning rate may have been set as near to 0 as the caller liked.
            group.hyperparams.validate_upwards(number)?;
        }
        self.gradients.validate()?;
        let mut names = HashSet::new();
        for name in self.groups.iter().flat_map(|group| &group.params) {
            if name.is_empty() || !names.insert(name) {
                return Err(malformed_entry(name, "a parameter's name has to be unique and not empty"));
            }
        }
        self.check_counted(&names)?;
        let normal = f32::MIN_POSITIVE..=LARGEST_SCALE;
        if !normal.contains(&self.loss_scale) {
            let reason = format!("it is {}, outside the range 1.2e-38 to 8.5e37", self.loss_scale);
            return Err(malformed_entry("loss_scale", reason));
        }
        Ok(())
    }
}

impl Header {
    /// Refuses clocks that do not have each parameter once, and frozen parameters that are not there or named twice.
    fn check_counted(&self, names: &HashSet<&String>) -> Result<(), Error> {
        let mut counted = HashSet::new();
        for name in self.clocks.iter().flat_map(|clock| &clock.params) {
            if !names.contains(name) || !counted.insert(name) {
                return Err(malformed_entry(name, "the clocks have to name each parameter once"));
            }
        }
        if let Some(name) = names.iter().find(|name| !counted.contains(**name)) {
            return Err(malformed_entry(name, "no clock names it"));
        }
        let mut frozen = HashSet::new();
        match self.frozen.iter().find(|name| !names.contains(*name) || !frozen.insert(*name)) {
            Some(name) => Err(malformed_entry(name, "it is frozen, but belongs to no group, or is named twice")),
            None => Ok(()),
        }
    }
}

/// Refuses a safetensors header in which a name stands twice: of two tensors of one name, a reader would take either.
pub(super) fn check_unique_names(json: &[u8]) -> Result<(), Error> {
    let checked: Result<UniqueNames, _> = serde_json::from_slice(json);
    checked.map(drop).map_err(|error| Error::CheckpointFormat { reason: error.to_string() })
}

struct UniqueNames;

impl<'de> Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueNames)
    }
}

impl<'de> Visitor<'de> for UniqueNames {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            // The metadata has names of its own.
            if name == "__metadata__" {
                map.next_value::<UniqueNames>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format!("`{name}` stands twice in the header")));
            }
        }
        Ok(Self)
    }
}

/// A map in which no key stands twice.
fn unique<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    deserializer.deserialize_map(UniqueKeys)
}

struct UniqueKeys;

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if found.contains_key(&key) {
                return Err(A::Error::custom(format!("`{key}` stands twice in `user_data`")));
            }
            found.insert(key, value);
        }
        Ok(found)
    }
}
