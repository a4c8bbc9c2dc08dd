//! The CPU twin: the same optimizer over slices of host memory, on all cores.
//!
//! It mirrors `shaders/update.wgsl` statement by statement, serves where there is no GPU, and is the oracle
//! of the shaders' tests. Elements are independent, so results do not depend on the number of threads, and no
//! operation is fused, so they do not depend on the instruction set either.

mod update;

use rayon::prelude::*;

use crate::group::{self, Named, ParamGroup, Role};
use crate::layout::{Coefs, Group, Rates};
use crate::state::{State, TensorState};
use crate::{Error, Hyperparams};
use update::Task;

/// Elements updated by one task, so few that what it loads stays in the cache nearest to a core.
const CHUNK: usize = 4096;

/// Elements below which a task is not worth a thread's attention.
const MIN_TASK: usize = 16_384;

/// The name and length of a parameter; its values are handed to each [`MiAdam::step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Unique, not empty.
    pub name: String,
    /// Length in elements, 0 included.
    pub len: usize,
}

impl Param {
    /// A parameter of `len` elements.
    #[must_use]
    pub fn new(name: impl Into<String>, len: usize) -> Self {
        Self { name: name.into(), len }
    }
}

impl Named for Param {
    fn name(&self) -> &str {
        &self.name
    }
}

/// MIAdam on the CPU. See [`Hyperparams`] for what a step computes.
///
/// ```
/// use miadam::{Hyperparams, ParamGroup, cpu};
///
/// let group = ParamGroup::new(Hyperparams::default(), [cpu::Param::new("w", 2)]);
/// let mut optimizer = cpu::MiAdam::new([group])?;
/// let mut w = [1.0, -1.0];
/// optimizer.step(&mut [&mut w], &[&[0.5, 0.5]])?;
/// assert_eq!(optimizer.state().step, 1);
/// # Ok::<(), miadam::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MiAdam {
    groups: Vec<CpuGroup>,
    tensors: Vec<Tensor>,
    step: u32,
    /// For each tensor and each chunk of it, its planes one after the other: first moment, second moment,
    /// and under amsgrad the largest second moment.
    moments: Vec<f32>,
    /// Laid out alike, a plane for each integral.
    integrals: Vec<f32>,
}

#[derive(Debug, Clone)]
struct CpuGroup {
    hyperparams: Hyperparams,
    constants: Group,
    rates: Rates,
}

#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    len: usize,
    group: usize,
    moment_planes: usize,
    integral_planes: usize,
}

impl MiAdam {
    /// An optimizer whose state is all 0.
    ///
    /// # Errors
    /// For hyperparameters out of range and for names that are empty or used twice.
    pub fn new(groups: impl IntoIterator<Item = ParamGroup<Param>>) -> Result<Self, Error> {
        let groups: Vec<_> = groups.into_iter().collect();
        group::validate(&groups)?;
        let tensors: Vec<_> = groups
            .iter()
            .enumerate()
            .flat_map(|(group, ParamGroup { hyperparams, params })| {
                params.iter().map(move |param| Tensor {
                    name: param.name.clone(),
                    len: param.len,
                    group,
                    moment_planes: hyperparams.moment_planes(),
                    integral_planes: hyperparams.integral_planes(),
                })
            })
            .collect();
        Ok(Self {
            moments: zeros(&tensors, |tensor| tensor.moment_planes)?,
            integrals: zeros(&tensors, |tensor| tensor.integral_planes)?,
            groups: groups
                .into_iter()
                .map(|ParamGroup { hyperparams, .. }| CpuGroup {
                    constants: Group::new(&hyperparams),
                    rates: Rates::new(&hyperparams),
                    hyperparams,
                })
                .collect(),
            tensors,
            step: 0,
        })
    }

    /// Updates `params` by `grads`: one slice of each for every parameter, in the order of the groups.
    ///
    /// # Errors
    /// If a slice is missing or has another length than its parameter; nothing is changed then.
    pub fn step(&mut self, params: &mut [&mut [f32]], grads: &[&[f32]]) -> Result<(), Error> {
        self.check(Role::Param, params.iter().map(|slice| slice.len()))?;
        self.check(Role::Grad, grads.iter().map(|slice| slice.len()))?;

        self.step = self.step.saturating_add(1);
        let coefs: Vec<_> =
            self.groups.iter().map(|group| Coefs::new(&group.constants, group.rates, self.step)).collect();
        let mut tasks = Vec::new();
        let (mut moments, mut integrals) = (&mut self.moments[..], &mut self.integrals[..]);
        for ((tensor, param), grad) in self.tensors.iter().zip(params).zip(grads) {
            for (param, grad) in param.chunks_mut(CHUNK).zip(grad.chunks(CHUNK)) {
                let moments = split_off(&mut moments, param.len() * tensor.moment_planes);
                let integrals = split_off(&mut integrals, param.len() * tensor.integral_planes);
                tasks.push(Task { coefs: &coefs[tensor.group], param, grad, moments, integrals });
            }
        }
        let mean_len = (self.tensors.iter().map(|tensor| tensor.len).sum::<usize>() / tasks.len().max(1)).max(1);
        let arch = pulp::Arch::new();
        tasks.into_par_iter().with_min_len(MIN_TASK.div_ceil(mean_len)).for_each(|task| {
            arch.dispatch(
                #[inline(always)]
                || task.run(),
            );
        });
        Ok(())
    }

    fn check(&self, role: Role, lens: impl ExactSizeIterator<Item = usize>) -> Result<(), Error> {
        if lens.len() != self.tensors.len() {
            return Err(Error::SliceCount { expected: self.tensors.len(), found: lens.len(), role });
        }
        for (tensor, len) in self.tensors.iter().zip(lens) {
            if len != tensor.len {
                let (expected, found) = (tensor.len as u64, len as u64);
                return Err(Error::LengthMismatch { name: tensor.name.clone(), role, expected, found });
            }
        }
        Ok(())
    }

    /// Sets the learning rate of a group for the steps from now on.
    ///
    /// # Errors
    /// If there is no such group, or the learning rate is out of range. Near 0 it never is: a step scale that
    /// underflows stands still.
    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let groups = self.groups.len();
        let target = self.groups.get_mut(group).ok_or(Error::UnknownGroup { group, groups })?;
        let hyperparams = target.hyperparams.with_lr(group, lr)?;
        target.rates = Rates::new(&hyperparams);
        target.hyperparams = hyperparams;
        Ok(())
    }

    /// The hyperparameters of each group, in order.
    #[must_use]
    pub fn hyperparams(&self) -> impl ExactSizeIterator<Item = &Hyperparams> {
        self.groups.iter().map(|group| &group.hyperparams)
    }

    /// A copy of the step counter and every tensor's state.
    #[must_use]
    pub fn state(&self) -> State {
        let (mut moments, mut integrals) = (&self.moments[..], &self.integrals[..]);
        let tensors = self
            .tensors
            .iter()
            .map(|tensor| {
                let mut state =
                    TensorState::zeros(&tensor.name, tensor.len, tensor.moment_planes, tensor.integral_planes);
                for start in (0..tensor.len).step_by(CHUNK) {
                    let len = CHUNK.min(tensor.len - start);
                    for plane in state.planes_mut(start, len) {
                        let source = if plane.is_integral { &mut integrals } else { &mut moments };
                        let (values, rest) = source.split_at(len);
                        plane.values.copy_from_slice(values);
                        *source = rest;
                    }
                }
                state
            })
            .collect();
        State { step: self.step, tensors }
    }
}

/// All planes of a kind, or an error where a plain allocation would abort the program.
fn zeros(tensors: &[Tensor], planes: fn(&Tensor) -> usize) -> Result<Vec<f32>, Error> {
    let elements = tensors.iter().map(|tensor| tensor.len as u128 * planes(tensor) as u128).sum::<u128>();
    let out_of_memory = || Error::OutOfMemory { bytes: u64::try_from(4 * elements).unwrap_or(u64::MAX) };
    let elements = usize::try_from(elements).map_err(|_| out_of_memory())?;
    // Only asks: `vec!` then gets memory that the system has zeroed, untouched.
    Vec::<f32>::new().try_reserve_exact(elements).map_err(|_| out_of_memory())?;
    Ok(vec![0.0; elements])
}

fn split_off<'a>(slice: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(slice).split_at_mut(len);
    *slice = tail;
    head
}
