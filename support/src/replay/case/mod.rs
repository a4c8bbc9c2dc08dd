//! A case: parameters, the gradients recorded at each step, and the hyperparameters, from one safetensors file.

mod error;
mod gradients;
mod metadata;
mod schedule;

use std::collections::{BTreeMap, HashSet};

use miadam::{GradOptions, Hyperparams, Param, ParamGroup};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

pub use error::CaseError;
use metadata::{GroupEntry, Lr, Metadata};

/// The most steps in a row without any gradient, so that a wild step number costs nothing.
const LONGEST_REST: u32 = 100;

/// Everything that a replay needs.
pub struct Case {
    pub groups: Vec<Group>,
    /// At least one.
    pub steps: Vec<Step>,
    pub grad_options: GradOptions,
}

pub struct Group {
    pub hyperparams: Hyperparams,
    pub params: Vec<Tensor>,
}

/// A parameter at its first value.
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    /// What the parameter and its gradients are rounded to before the replay.
    pub dtype: miadam::Dtype,
    pub values: Vec<f32>,
}

pub struct Step {
    /// One learning rate a group, or none where the groups' own hold throughout.
    pub lrs: Vec<f64>,
    /// One entry a parameter, in the order of the groups: its gradient, or None where the step leaves the parameter alone.
    pub grads: Vec<Option<Vec<f32>>>,
}

impl Case {
    /// Reads the bytes of a safetensors file, and trusts nothing in them.
    ///
    /// # Errors
    /// For all that is missing, ill-shaped or unknown.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CaseError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = Metadata::parse(header.metadata().as_ref().unwrap_or(&Default::default()))?;
        let file = SafeTensors::deserialize(bytes)?;
        let entries = Entries::sort(&file)?;
        let names = entries.check_groups(&metadata.groups)?;
        let last = entries.check_grads()?;
        Ok(Self {
            groups: metadata.groups.iter().map(|group| entries.group(group)).collect(),
            steps: (1..=last)
                .zip(lrs(metadata.lr_per_step, last as usize, metadata.groups.len())?)
                .map(|(step, lrs)| Step { lrs, grads: names.iter().map(|&name| entries.grad(step, name)).collect() })
                .collect(),
            grad_options: metadata.grad_options,
        })
    }

    /// The groups as the optimizer takes them.
    pub fn param_groups(&self) -> Vec<ParamGroup> {
        let param = |tensor: &Tensor| Param::new(&tensor.name, tensor.values.len()).with_dtype(tensor.dtype);
        let group = |group: &Group| ParamGroup::new(group.hyperparams.clone(), group.params.iter().map(param));
        self.groups.iter().map(group).collect()
    }

    /// The parameters in the order of the groups, which the gradients follow.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.groups.iter().flat_map(|group| &group.params)
    }

    /// The names of the parameters that have no gradient at a step.
    pub fn without_grad(&self, grads: &[Option<Vec<f32>>]) -> impl Iterator<Item = &str> {
        let missing = self.tensors().zip(grads).filter(|(_, grad)| grad.is_none());
        missing.map(|(tensor, _)| &tensor.name[..])
    }
}

/// A file's tensors by what they are.
struct Entries<'a> {
    params: BTreeMap<&'a str, TensorView<'a>>,
    grads: BTreeMap<(u32, &'a str), TensorView<'a>>,
}

impl<'a> Entries<'a> {
    fn sort(file: &'a SafeTensors) -> Result<Self, CaseError> {
        let mut sorted = Self { params: BTreeMap::new(), grads: BTreeMap::new() };
        let mut entries: Vec<_> = file.iter().collect();
        // The same file gives the same error.
        entries.sort_by_key(|&(entry, _)| entry);
        for (entry, view) in entries {
            let grad = || entry.strip_prefix("grad/")?.split_once('/');
            if let Some(name) = entry.strip_prefix("param/") {
                sorted.params.insert(name, view);
            } else if let Some((step, name)) = grad().and_then(|(step, name)| Some((parse_step(step)?, name))) {
                sorted.grads.insert((step, name), view);
            } else if entry.starts_with("expect/") {
                // Results to compare with, which a replay ignores; of any dtype.
                continue;
            } else {
                return Err(CaseError::UnknownTensor { entry: entry.to_owned() });
            }
            let dtype = file.tensor(entry)?.dtype();
            if dtype != Dtype::F32 {
                return Err(CaseError::Dtype { entry: entry.to_owned(), dtype });
            }
        }
        Ok(sorted)
    }

    /// The names in the order of the groups, after a check that groups and parameters match one to one.
    fn check_groups<'g>(&self, groups: &'g [GroupEntry]) -> Result<Vec<&'g str>, CaseError> {
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        for (group, listed) in groups.iter().enumerate() {
            for name in listed.params() {
                if !self.params.contains_key(&name[..]) {
                    return Err(CaseError::MissingParam { group, name: name.clone() });
                }
                if !seen.insert(&name[..]) {
                    return Err(CaseError::GroupedTwice { group, name: name.clone() });
                }
                names.push(&name[..]);
            }
        }
        match self.params.keys().find(|&name| !seen.contains(name)) {
            Some(&name) => Err(CaseError::Ungrouped { name: name.to_owned() }),
            None => Ok(names),
        }
    }

    /// The last step, after a check that every gradient has a parameter of its shape.
    fn check_grads(&self) -> Result<u32, CaseError> {
        for (&(step, name), grad) in &self.grads {
            let entry = || format!("grad/{step}/{name}");
            let Some(param) = self.params.get(name) else {
                return Err(CaseError::OrphanGrad { entry: entry(), name: name.to_owned() });
            };
            if grad.shape() != param.shape() {
                let (found, expected) = (grad.shape().to_vec(), param.shape().to_vec());
                return Err(CaseError::GradShape { entry: entry(), found, expected });
            }
        }
        let mut last = 0;
        for &(step, name) in self.grads.keys() {
            if step - last > LONGEST_REST + 1 {
                return Err(CaseError::LongRest { last, step, name: name.to_owned(), longest: LONGEST_REST });
            }
            last = step;
        }
        if last > 0 { Ok(last) } else { Err(CaseError::NoSteps) }
    }

    fn group(&self, group: &GroupEntry) -> Group {
        let params = group.params().iter().map(|name| {
            let view = &self.params[&name[..]];
            let shape = view.shape().to_vec();
            Tensor { name: name.clone(), shape, dtype: group.dtype(), values: floats(view) }
        });
        Group { hyperparams: group.hyperparams(), params: params.collect() }
    }

    fn grad(&self, step: u32, name: &str) -> Option<Vec<f32>> {
        self.grads.get(&(step, name)).map(floats)
    }
}

/// A step as `to_string` would write it, so that no two entries mean the same gradient.
fn parse_step(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&step: &u32| step > 0 && step.to_string() == text)
}

fn floats(view: &TensorView) -> Vec<f32> {
    let (values, _) = view.data().as_chunks::<4>();
    values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn lrs(lr_per_step: Option<Vec<Lr>>, steps: usize, groups: usize) -> Result<Vec<Vec<f64>>, CaseError> {
    let Some(lr_per_step) = lr_per_step else { return Ok(vec![Vec::new(); steps]) };
    if lr_per_step.len() != steps {
        return Err(CaseError::LrSteps { found: lr_per_step.len(), steps });
    }
    let each_group = |(index, lr)| match lr {
        Lr::Shared(lr) => Ok(vec![lr; groups]),
        Lr::EachGroup(lrs) if lrs.len() == groups => Ok(lrs),
        Lr::EachGroup(lrs) => Err(CaseError::LrGroups { step: index + 1, found: lrs.len(), groups }),
    };
    lr_per_step.into_iter().enumerate().map(each_group).collect()
}
