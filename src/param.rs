//! Parameters and groups of them, the same for the GPU and the CPU.

use std::collections::HashSet;

use crate::dtype::Dtype;
use crate::error::Error;
use crate::options::{HalfParams, Hyperparams, StatePrecision};
use crate::planes::{Planes, Rounding};

/// A parameter tensor: the name that its state goes by, its length and its type. Where it lies is said apart, by a
/// binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The name, unique in the optimizer and not empty.
    pub name: String,
    /// The length in elements, 0 included.
    pub len: usize,
    /// The type of the elements. A gradient may be of another type.
    pub dtype: Dtype,
}

impl Param {
    /// A parameter of `len` elements of `f32`.
    #[must_use]
    pub fn new(name: impl Into<String>, len: usize) -> Self {
        Self { name: name.into(), len, dtype: Dtype::F32 }
    }

    /// The same parameter with elements of another type.
    #[must_use]
    pub fn with_dtype(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }
}

/// Parameters that share hyperparameters.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamGroup {
    /// How the parameters are updated.
    pub hyperparams: Hyperparams,
    /// The parameters, one at least: no optimizer takes an empty group.
    pub params: Vec<Param>,
}

impl ParamGroup {
    /// A group of `params` under `hyperparams`.
    #[must_use]
    pub fn new(hyperparams: Hyperparams, params: impl IntoIterator<Item = Param>) -> Self {
        Self { hyperparams, params: params.into_iter().collect() }
    }

    /// Takes the parameters that `predicate` picks into a group of their own under `hyperparams`. Returns the group of
    /// those that are left, then the group of those that were picked, each in the order that they had. A group without
    /// parameters is left out, since no optimizer takes it. So there is one group if the predicate picks all or none.
    ///
    /// The usual case is weight decay, which biases and the scales of norms do without:
    ///
    /// ```
    /// use miadam::{Error, Hyperparams, Param, ParamGroup, WeightDecay, cpu};
    ///
    /// # fn main() -> Result<(), Error> {
    /// let lens = [("fc1.weight", 800), ("fc1.bias", 8), ("norm.weight", 8), ("norm.bias", 8), ("fc2.weight", 80)];
    /// let params = lens.map(|(name, len)| Param::new(name, len));
    ///
    /// let decayed = Hyperparams { weight_decay: WeightDecay::Decoupled(0.01), ..Hyperparams::default() };
    /// let plain = Hyperparams { weight_decay: WeightDecay::None, ..decayed.clone() };
    /// let groups = ParamGroup::new(decayed, params)
    ///     .split(plain, |param| param.name.ends_with(".bias") || param.name.contains("norm"));
    ///
    /// let names = |group: &ParamGroup| group.params.iter().map(|param| param.name.clone()).collect::<Vec<_>>();
    /// assert_eq!(names(&groups[0]), ["fc1.weight", "fc2.weight"]);
    /// assert_eq!(names(&groups[1]), ["fc1.bias", "norm.weight", "norm.bias"]);
    /// let optimizer = cpu::MiAdam::new(groups)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// For more than two groups, split again: `groups.into_iter().flat_map(|group| group.split(…))`.
    #[must_use]
    pub fn split(self, hyperparams: Hyperparams, predicate: impl FnMut(&Param) -> bool) -> Vec<Self> {
        let (picked, left) = self.params.into_iter().partition(predicate);
        let groups = [Self { hyperparams: self.hyperparams, params: left }, Self { hyperparams, params: picked }];
        groups.into_iter().filter(|group| !group.params.is_empty()).collect()
    }

    /// Bytes of memory that an optimizer needs for this group's state. Planes end with whole blocks, as is counted here:
    /// 4 elements in `F32`, 32 in `Bf16`, 128 in `Q8`. The CPU does not round planes in `F32`. Beside the state,
    /// an optimizer needs some kilobytes, and some hundred bytes for each parameter.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        let bytes = |param: &Param| Planes::new(&self.hyperparams, param.dtype, param.len).cell_bytes(param.len);
        self.params.iter().map(bytes).fold(0, u64::saturating_add)
    }
}

/// A parameter as an optimizer keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub param: Param,
    /// The number of its group.
    pub group: usize,
    /// The number of its clock.
    pub clock: usize,
    /// Whether steps leave it out until it thaws.
    pub is_frozen: bool,
    /// Whether the next step leaves it out.
    pub is_skipped: bool,
    /// The planes that its state has now.
    pub planes: Planes,
    pub rounding: Rounding,
    /// The key of what is drawn for it, else 0.
    pub stream: u32,
}

impl Member {
    pub fn new(group: usize, hyperparams: &Hyperparams, param: Param) -> Self {
        let planes = Planes::new(hyperparams, param.dtype, param.len);
        let rounding = Rounding::new(param.dtype, hyperparams.half_params);
        let stream = stream(hyperparams.half_params, rounding, planes, &param.name);
        // At first, the parameters of a group share their history.
        Self { param, group, clock: group, is_frozen: false, is_skipped: false, planes, rounding, stream }
    }

    /// Whether the next step updates it.
    pub fn takes_part(&self) -> bool {
        !self.is_frozen && !self.is_skipped
    }

    /// The parameter with as many elements, in its group of these hyperparameters. It may have grown out of `f32` state, or shrunk
    /// into it.
    pub fn with_len(&self, hyperparams: &Hyperparams, len: usize) -> Self {
        let mut member = self.clone();
        member.param.len = len;
        member.planes.precision = hyperparams.precision_of(len);
        member.stream = stream(hyperparams.half_params, member.rounding, member.planes, &member.param.name);
        member
    }

    /// The parameter in a group of these hyperparameters, after so many steps that are known to be taken. It has all planes
    /// that it may need; released integrals come back if ζ is not behind it.
    pub fn in_group(&self, group: usize, hyperparams: &Hyperparams, known_step: u32) -> Result<Self, Error> {
        let mut member = Self { group, ..self.clone() };
        member.rounding = Rounding::new(member.param.dtype, hyperparams.half_params);
        let planes = Planes::new(hyperparams, member.param.dtype, member.param.len);
        let (from, to) = (self.planes.precision, planes.precision);
        if from != to {
            let [from, to] = [from, to].map(|precision| format!("{precision:?}"));
            return Err(Error::StatePrecision { name: self.param.name.clone(), from, to });
        }
        let needs_none = self.planes.integrals == 0 && known_step >= hyperparams.last_integrating();
        member.planes = if needs_none { planes.without_integrals() } else { planes };
        member.stream = stream(hyperparams.half_params, member.rounding, planes, &member.param.name);
        Ok(member)
    }
}

/// The key of all that is drawn for a parameter: a hash (FNV-1a) of seed and name, so that it is the same wherever the parameter
/// lies. It is 0 where nothing is drawn.
fn stream(half_params: HalfParams, rounding: Rounding, planes: Planes, name: &str) -> u32 {
    let seed = match half_params {
        HalfParams::Stochastic { seed } if rounding == Rounding::Stochastic => seed,
        _ if planes.precision != StatePrecision::F32 => 0,
        _ => return 0,
    };
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 32) as u32 ^ hash as u32
}

/// Checks a parameter by itself. `index` is its place among those of its group.
pub(crate) fn check_param(hyperparams: &Hyperparams, group: usize, index: usize, param: &Param) -> Result<(), Error> {
    if param.name.is_empty() {
        return Err(Error::EmptyName { group, index });
    }
    // It would overflow an f16.
    if param.dtype == Dtype::F16 && matches!(hyperparams.half_params, HalfParams::Stochastic { .. }) {
        return Err(Error::StochasticRounding { name: param.name.clone() });
    }
    Ok(())
}

/// Checks the groups, and takes them apart into hyperparameters and members. Warns about outsize steps.
pub(crate) fn check_groups(groups: Vec<ParamGroup>) -> Result<(Vec<Hyperparams>, Vec<Member>), Error> {
    if groups.is_empty() {
        return Err(Error::NoGroups);
    }
    let mut names = HashSet::new();
    for (group, ParamGroup { hyperparams, params }) in groups.iter().enumerate() {
        hyperparams.validate(group)?;
        if params.is_empty() {
            return Err(Error::EmptyGroup { group });
        }
        for (index, param) in params.iter().enumerate() {
            check_param(hyperparams, group, index, param)?;
            if !names.insert(&param.name) {
                return Err(Error::DuplicateName { name: param.name.clone() });
            }
        }
    }
    let (mut all, mut members) = (Vec::new(), Vec::new());
    for (group, ParamGroup { hyperparams, params }) in groups.into_iter().enumerate() {
        hyperparams.report(group);
        members.extend(params.into_iter().map(|param| Member::new(group, &hyperparams, param)));
        all.push(hyperparams);
    }
    Ok((all, members))
}
