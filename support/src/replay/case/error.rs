//! What a case can be refused for.

use super::metadata::KEYS;

/// What makes a file no case: each message names the entry and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    #[error("not a whole safetensors file ({0}); write the case again with safetensors' save_file")]
    Format(#[from] safetensors::SafeTensorError),

    #[error("metadata `groups` is missing; add a JSON array of parameter groups, such as [{{\"params\": [\"w\"]}}]")]
    MissingGroups,

    #[error("metadata `{key}` has no meaning here; remove it, or use one of: {}", KEYS.join(", "))]
    UnknownMetadata { key: String },

    #[error("metadata `{key}`: {reason}; make it {expected}")]
    BadMetadata { key: &'static str, reason: String, expected: &'static str },

    #[error(transparent)]
    GradOptions(miadam::Error),

    #[error(
        "metadata `lr_per_step` and the `schedule` of group {group} both set the learning rate; remove one of the two"
    )]
    LrTwice { group: usize },

    #[error("metadata `lr_per_step` has {found} entries, but there are {steps} steps; give it one entry a step")]
    LrSteps { found: usize, steps: usize },

    #[error(
        "metadata `lr_per_step`: step {step} has {found} learning rates for {groups} groups; give one number or one a group"
    )]
    LrGroups { step: usize, found: usize, groups: usize },

    #[error(
        "tensor `{entry}` has no meaning here; name it `param/NAME`, or `grad/T/NAME` with T counted from 1, or remove it"
    )]
    UnknownTensor { entry: String },

    #[error("tensor `{entry}` has dtype {dtype}; convert it to F32")]
    Dtype { entry: String, dtype: safetensors::Dtype },

    #[error("tensor `param/{name}`, listed by group {group}, is missing; add it, or take `{name}` out of the group")]
    MissingParam { group: usize, name: String },

    #[error("tensor `param/{name}` is in no group; list `{name}` under \"params\" of one group")]
    Ungrouped { name: String },

    #[error("metadata `groups`: `{name}` is listed twice, last by group {group}; list it once")]
    GroupedTwice { group: usize, name: String },

    #[error("there is no gradient; add `grad/1/NAME` for every parameter that has one")]
    NoSteps,

    #[error(
        "tensor `grad/{step}/{name}` follows step {last}, and no step between has a gradient; number the steps 1, 2, 3, …, \
         with at most {longest} in a row that have none"
    )]
    LongRest { last: u32, step: u32, name: String, longest: u32 },

    #[error("tensor `{entry}` has no parameter; add `param/{name}`, or remove the gradient")]
    OrphanGrad { entry: String, name: String },

    #[error("tensor `{entry}` has shape {found:?}, but its parameter has {expected:?}; make them equal")]
    GradShape { entry: String, found: Vec<usize>, expected: Vec<usize> },
}
