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

/// Elements updated by one task, so few that what it loads stays in the cache nearest to a core.
const CHUNK: usize = 4096;

/// Elements that go through one integral after the other where there are many.
const BLOCK: usize = 256;

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
    /// Calls of `step`, by which schedules go.
    recorded: u32,
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
                .map(|ParamGroup { hyperparams, .. }| CpuGroup { constants: Group::new(&hyperparams), hyperparams })
                .collect(),
            tensors,
            step: 0,
            recorded: 0,
        })
    }

    /// Updates `params` by `grads`: one slice of each for every parameter, in the order of the groups.
    ///
    /// A [`Schedule`](crate::Schedule) goes on by one with every call.
    ///
    /// # Errors
    /// If a slice is missing or has another length than its parameter; nothing is changed then.
    pub fn step(&mut self, params: &mut [&mut [f32]], grads: &[&[f32]]) -> Result<(), Error> {
        self.check(Role::Param, params.iter().map(|slice| slice.len()))?;
        self.check(Role::Grad, grads.iter().map(|slice| slice.len()))?;

        self.step = self.step.saturating_add(1);
        let coefs = self.groups.iter().map(|CpuGroup { hyperparams, constants }| {
            Coefs::new(constants, Rates::new(hyperparams, self.recorded), self.step)
        });
        let coefs: Vec<_> = coefs.collect();
        self.recorded = self.recorded.saturating_add(1);
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

    /// Sets `lr` of a group for the steps from now on: the number that its schedule multiplies. Under
    /// [`Schedule::Constant`](crate::Schedule::Constant) it is the learning rate itself, the caller's own for each step.
    ///
    /// # Errors
    /// If there is no such group, or the learning rate is out of range. Near 0 it never is: a step scale that
    /// underflows stands still.
    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let groups = self.groups.len();
        let target = self.groups.get_mut(group).ok_or(Error::UnknownGroup { group, groups })?;
        target.hyperparams = target.hyperparams.with_lr(group, lr)?;
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
    #[inline(always)]
    fn run(self) {
        match self.coefs.order {
            0 => self.few::<0>(),
            1 => self.few::<1>(),
            2 => self.few::<2>(),
            3 => self.few::<3>(),
            _ => self.any(),
        }
    }

    /// `N` integrals, in one loop over all planes that the compiler vectorises.
    #[inline(always)]
    fn few<const N: usize>(self) {
        let Self { coefs, param, grad, moments, integrals } = self;
        let len = param.len();
        let (moments, largest) = moments.split_at_mut(2 * len);
        let (first_moment, second_moment) = moments.split_at_mut(len);
        let (integrals, _) = integrals.split_at_mut(N * len);
        let mut planes = integrals.chunks_exact_mut(len);
        let planes = std::array::from_fn(|_| planes.next().unwrap_or_default());
        let moments = [first_moment, second_moment];
        match largest {
            [] => update::<N, false>(coefs, param, grad, moments, largest, planes),
            _ => update::<N, true>(coefs, param, grad, moments, largest, planes),
        }
    }

    /// Any number of integrals: a loop for each plane, over blocks that stay in the nearest cache meanwhile.
    #[inline(always)]
    fn any(self) {
        let Self { coefs: c, param, grad, moments, integrals } = self;
        let len = param.len();
        let (first_moment, rest) = moments.split_at_mut(len);
        let (second_moment, largest) = rest.split_at_mut(len);
        for start in (0..len).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(len);
            let (mut nums, mut roots) = ([0.0; BLOCK], [0.0; BLOCK]);
            let (nums, roots) = (&mut nums[..block.len()], &mut roots[..block.len()]);
            let (param, grad) = (&mut param[block.clone()], &grad[block.clone()]);
            let (first_moment, second_moment) = (&mut first_moment[block.clone()], &mut second_moment[block.clone()]);
            for i in 0..block.len() {
                (nums[i], roots[i]) = average(c, param[i], grad[i], &mut first_moment[i], &mut second_moment[i]);
            }
            if !largest.is_empty() {
                for (root, largest) in roots.iter_mut().zip(&mut largest[block.clone()]) {
                    *root = raise(*root, largest);
                }
            }
            for plane in integrals.chunks_exact_mut(len).take(c.order as usize) {
                for (num, s) in nums.iter_mut().zip(&mut plane[block.clone()]) {
                    *num = integrate(c, *num, s);
                }
            }
            for i in 0..block.len() {
                param[i] = apply(c, param[i], nums[i], roots[i]);
            }
        }
    }
}

/// `update_quad` of `update.wgsl`, for every element.
#[inline(always)]
fn update<const N: usize, const AMSGRAD: bool>(
    c: &Coefs,
    param: &mut [f32],
    grad: &[f32],
    [first_moment, second_moment]: [&mut [f32]; 2],
    largest: &mut [f32],
    planes: [&mut [f32]; N],
) {
    // A copy, which the compiler knows that no plane overlaps, and lengths that it knows are equal.
    let (c, len) = (*c, param.len());
    let (grad, first_moment, second_moment) = (&grad[..len], &mut first_moment[..len], &mut second_moment[..len]);
    let largest = &mut largest[..if AMSGRAD { len } else { 0 }];
    let mut planes = planes.map(
        #[inline(always)]
        |plane| &mut plane[..len],
    );
    for i in 0..len {
        let (mut num, mut root) = average(&c, param[i], grad[i], &mut first_moment[i], &mut second_moment[i]);
        if AMSGRAD {
            root = raise(root, &mut largest[i]);
        }
        for plane in &mut planes {
            num = integrate(&c, num, &mut plane[i]);
        }
        param[i] = apply(&c, param[i], num, root);
    }
}

/// The moments, from the gradient.
#[inline(always)]
fn average(c: &Coefs, theta: f32, grad: f32, m: &mut f32, v: &mut f32) -> (f32, f32) {
    let g = c.grad_sign * grad + c.coupled_decay * theta;
    *m = flush(*m + c.one_minus_beta1 * (g - *m));
    // An infinite v stays so, and its element stands still, where inf - inf would make it NaN.
    *v = if v.is_infinite() { *v } else { *v + c.one_minus_beta2 * (g * g - *v) };
    (*m, *v)
}

/// The largest second moment so far. By bits, which order numbers from 0 up as integers and put NaN above all: it
/// must stay seen.
#[inline(always)]
fn raise(root: f32, largest: &mut f32) -> f32 {
    *largest = f32::from_bits(root.to_bits().max(largest.to_bits()));
    *largest
}

/// s⁽ʲ⁺¹⁾, from s⁽ʲ⁾ in `num`.
#[inline(always)]
fn integrate(c: &Coefs, num: f32, s: &mut f32) -> f32 {
    *s = flush(num + (*s - c.one_minus_kappa * *s));
    *s
}

#[inline(always)]
fn apply(c: &Coefs, theta: f32, num: f32, root: f32) -> f32 {
    let denominator = root.sqrt() * c.root_scale + c.eps;
    theta - (c.step_size * (num / denominator) + c.decay * theta)
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
        let (group, rates) = (Group::new(hyperparams), Rates::new(hyperparams, 0));
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
        for order in [0, 1, 2, 3, 5] {
            for amsgrad in [false, true] {
                let hyperparams = Hyperparams { order, amsgrad, switch_step: 3, ..Hyperparams::default() };
                for len in [1, 63, 64, 255, 257, 4000] {
                    assert_eq!(run(len, &hyperparams, true), run(len, &hyperparams, false), "{len} at order {order}");
                }
            }
        }
    }
}
