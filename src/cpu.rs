//! The CPU twin: the same optimizer over slices of host memory, on all cores.
//!
//! It mirrors `shaders/update.wgsl` statement by statement, serves where there is no GPU, and is the oracle
//! of the shaders' tests. Elements are independent, so results do not depend on the number of threads, and no
//! operation is fused, so they do not depend on the instruction set either.

use rayon::prelude::*;

use crate::group::{self, Named, ParamGroup, Role};
use crate::layout::{Coefs, Group, Rates};
use crate::state::{State, TensorState};
use crate::{Error, Hyperparams};

/// Elements updated by one task. A multiple of [`BLOCK`] that keeps a task's planes inside the L2 cache.
const CHUNK: usize = 4096;

/// Elements that go through one statement of the update together: enough for the compiler to fill any
/// vector register, few enough to stay in the L1 cache.
const BLOCK: usize = 64;

/// Below this, moments and integrals count as 0. Where gradients stay 0 they decay without end, and processors take
/// a hundred times as long for subnormal numbers; GPUs do not, or flush them. Divided by any sensible ε it is nothing.
const TINY: f32 = 1e-34;

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

/// The update of one chunk.
struct Task<'a> {
    coefs: &'a Coefs,
    param: &'a mut [f32],
    grad: &'a [f32],
    moments: &'a mut [f32],
    integrals: &'a mut [f32],
}

impl Task<'_> {
    /// Whole blocks first, with a length the compiler knows, then what is left.
    #[inline(always)]
    fn run(self) {
        let len = self.param.len();
        let (first_moment, rest) = self.moments.split_at_mut(len);
        let (second_moment, max_second_moment) = rest.split_at_mut(len);
        let mut start = 0;
        while start < len {
            let end = (start + BLOCK).min(len);
            let max_second_moment =
                if self.coefs.amsgrad == 1 { &mut max_second_moment[start..end] } else { &mut [][..] };
            let block = Block {
                param: &mut self.param[start..end],
                grad: &self.grad[start..end],
                first_moment: &mut first_moment[start..end],
                second_moment: &mut second_moment[start..end],
                max_second_moment,
            };
            let integrals = self.integrals.chunks_exact_mut(len).map(
                #[inline(always)]
                |plane| &mut plane[start..end],
            );
            block.update(self.coefs, integrals);
            start = end;
        }
    }
}

struct Block<'a> {
    param: &'a mut [f32],
    grad: &'a [f32],
    first_moment: &'a mut [f32],
    second_moment: &'a mut [f32],
    max_second_moment: &'a mut [f32],
}

impl Block<'_> {
    /// `update` of `update.wgsl`.
    #[inline(always)]
    fn update<'p>(self, c: &Coefs, integrals: impl Iterator<Item = &'p mut [f32]>) {
        let len = self.param.len();
        let mut num = [0.0; BLOCK];
        let mut root = [0.0; BLOCK];
        let (num, root) = (&mut num[..len], &mut root[..len]);
        for i in 0..len {
            let g = c.grad_sign * self.grad[i] + c.coupled_decay * self.param[i];
            let m = flush(self.first_moment[i] + c.one_minus_beta1 * (g - self.first_moment[i]));
            let old = self.second_moment[i];
            // An infinite v stays so, and its element stands still, where inf - inf would make it NaN.
            let v = if old.is_infinite() { old } else { old + c.one_minus_beta2 * (g * g - old) };
            self.first_moment[i] = m;
            self.second_moment[i] = v;
            num[i] = m;
            root[i] = v;
        }
        if c.amsgrad == 1 {
            for (root, largest) in root.iter_mut().zip(self.max_second_moment) {
                // By bits, which order numbers from 0 up as integers and put NaN above all: it must stay seen.
                *root = f32::from_bits(root.to_bits().max(largest.to_bits()));
                *largest = *root;
            }
        }
        for plane in integrals.take(c.order as usize) {
            for (num, s) in num.iter_mut().zip(plane) {
                *num = flush(*num + (*s - c.one_minus_kappa * *s));
                *s = *num;
            }
        }
        for i in 0..len {
            let denominator = root[i].sqrt() * c.root_scale + c.eps;
            self.param[i] -= c.step_size * (num[i] / denominator) + c.decay * self.param[i];
        }
    }
}

#[inline(always)]
fn flush(x: f32) -> f32 {
    if x.abs() < TINY { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Updates `len` elements for three steps, through `dispatch` or plainly; gives all bits.
    fn run(len: usize, hyperparams: &Hyperparams, dispatch: bool) -> Vec<u32> {
        let (group, rates) = (Group::new(hyperparams), Rates::new(hyperparams));
        let values = |seed: f32| (0..len).map(|i| (seed + i as f32).sin()).collect::<Vec<_>>();
        let mut param = values(0.5);
        let mut moments = vec![0.0; len * hyperparams.moment_planes()];
        let mut integrals = vec![0.0; len * hyperparams.integral_planes()];
        for t in 1..=3 {
            let (coefs, grad) = (Coefs::new(&group, rates, t), values(t as f32));
            let (param, moments, integrals) = (&mut param[..], &mut moments[..], &mut integrals[..]);
            let task = Task { coefs: &coefs, param, grad: &grad, moments, integrals };
            if dispatch {
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || task.run(),
                );
            } else {
                task.run();
            }
        }
        [param, moments, integrals].concat().iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn wider_instructions_change_no_bit() {
        for order in [0, 1, 3] {
            for amsgrad in [false, true] {
                let hyperparams = Hyperparams { order, amsgrad, switch_step: 3, ..Hyperparams::default() };
                for len in [1, 63, 64, 65, 4000] {
                    assert_eq!(run(len, &hyperparams, true), run(len, &hyperparams, false), "{len} at order {order}");
                }
            }
        }
    }
}
