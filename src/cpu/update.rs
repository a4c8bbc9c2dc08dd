//! `update.wgsl`'s twin, statement by statement, and its rows of elements.

use std::ops::Range;

use half::bf16;

use super::values::{Values, ValuesMut};
use crate::half::{bf16_stochastic, philox_of};
use crate::layout::Coefs;
use crate::plan::{Integrals, Rounding};

/// As many integrals go through one loop with the rest.
const FEW: u32 = Integrals::FEW;

/// Elements that stay in the nearest cache between the loops that they go through: conversions where any are in half
/// precision, one loop for each of many integrals.
const BLOCK: usize = 512;

/// Below this, first moments and integrals count as 0, and second moments where they are subnormal. Where gradients stay 0
/// they decay without end, and processors take a hundred times as long for subnormal numbers; GPUs do not, or flush them.
/// Divided by any sensible ε it is nothing.
const TINY: f32 = 1e-34;

/// Gradients that are read, or set to 0 once they are.
pub(super) enum Grad<'a> {
    Read(Values<'a>),
    Zero(ValuesMut<'a>),
}

impl<'a> Grad<'a> {
    /// The first `len` elements, and the rest.
    pub fn split_at(self, len: usize) -> (Self, Self) {
        match self {
            Grad::Read(grad) => {
                let (first, rest) = grad.split_at(len);
                (Grad::Read(first), Grad::Read(rest))
            }
            Grad::Zero(grad) => {
                let (first, rest) = grad.split_at(len);
                (Grad::Zero(first), Grad::Zero(rest))
            }
        }
    }

    pub fn shared(&self) -> Values<'_> {
        match self {
            Grad::Read(grad) => *grad,
            Grad::Zero(grad) => grad.shared(),
        }
    }
}

/// The update of one chunk.
pub(super) struct Task<'a> {
    pub coefs: &'a Coefs,
    pub param: ValuesMut<'a>,
    pub grad: Grad<'a>,
    pub moments: &'a mut [f32],
    pub integrals: &'a mut [f32],
    pub rounding: Rounding,
    /// What stochastic rounding draws from.
    pub stream: u32,
    /// The chunk's first quad in its tensor.
    pub first: u32,
}

/// Where values in half precision are in `f32` meanwhile.
#[derive(Default)]
pub(super) struct Scratch {
    param: Vec<f32>,
    grad: Vec<f32>,
}

impl Task<'_> {
    #[inline(always)]
    pub fn run(self, scratch: &mut Scratch) {
        let Self { coefs, mut param, mut grad, moments, integrals, rounding, stream, first } = self;
        let len = grad.shared().len();
        let is_single = matches!((&param, grad.shared()), (ValuesMut::F32(_), Values::F32(_)));
        let block_len = if is_single && coefs.order <= FEW { len } else { BLOCK };
        let masters = if rounding == Rounding::Master { len } else { 0 };
        let (moments, master) = moments.split_at_mut(moments.len() - masters);
        for start in (0..len).step_by(block_len) {
            let within = start..len.min(start + block_len);
            let (mut own_param, mut own_grad);
            (own_param, param) = param.split_at(within.len());
            (own_grad, grad) = grad.split_at(within.len());
            let grad_f32 = own_grad.shared().single(&mut scratch.grad);
            let state = TaskState { coefs, moments, integrals, len, within: within.clone() };
            match (&mut own_param, rounding) {
                (ValuesMut::F32(param), _) => state.update(param, grad_f32),
                (_, Rounding::Exact | Rounding::Master) => {
                    let master = &mut master[within];
                    state.update(master, grad_f32);
                    own_param.round(master);
                }
                (_, Rounding::Stochastic) => {
                    scratch.param.resize(grad_f32.len(), 0.0);
                    own_param.shared().copy_to(&mut scratch.param);
                    state.update(&mut scratch.param, grad_f32);
                    if let ValuesMut::Bf16(param) = &mut own_param {
                        round_stochastic(param, &scratch.param, [first + (start / 4) as u32, coefs.step], stream);
                    }
                }
            }
            if let Grad::Zero(grad) = &mut own_grad {
                grad.zero();
            }
        }
    }
}

/// The twin of `adopt.wgsl`: takes from the parameter what is still 0 of its master copy.
pub(super) fn adopt(master: &mut [f32], param: &[f32]) {
    for (master, &param) in master.iter_mut().zip(param) {
        if master.to_bits() == 0 {
            *master = param;
        }
    }
}

/// `store_param` of `mixed.wgsl`, for every element; many quads at a time, so that the compiler vectorises it.
#[inline(always)]
fn round_stochastic(param: &mut [bf16], values: &[f32], [first, step]: [u32; 2], stream: u32) {
    const QUADS: usize = 64;
    let blocks = param.chunks_mut(4 * QUADS).zip(values.chunks(4 * QUADS));
    for (quad, (param, values)) in (first..).step_by(QUADS).zip(blocks) {
        let quads = philox_of::<QUADS>(quad, step, stream).map(
            #[inline(always)]
            |quad| quad.to_le(),
        );
        let random: &[u16] = bytemuck::cast_slice(&quads);
        for ((param, &value), &random) in param.iter_mut().zip(values).zip(random) {
            *param = bf16_stochastic(value, u16::from_le(random).into());
        }
    }
}

/// A task's planes, each of `len` elements, of which those `within` are updated.
struct TaskState<'a> {
    coefs: &'a Coefs,
    moments: &'a mut [f32],
    integrals: &'a mut [f32],
    len: usize,
    within: Range<usize>,
}

impl TaskState<'_> {
    #[inline(always)]
    fn update(self, param: &mut [f32], grad: &[f32]) {
        match self.coefs.order {
            0 => self.few::<0>(param, grad),
            1 => self.few::<1>(param, grad),
            2 => self.few::<2>(param, grad),
            FEW => self.few::<{ FEW as usize }>(param, grad),
            _ => self.any(param, grad),
        }
    }

    /// `N` integrals, in one loop over all planes that the compiler vectorises.
    #[inline(always)]
    fn few<const N: usize>(self, param: &mut [f32], grad: &[f32]) {
        let Self { coefs, moments, integrals, len, within } = self;
        let (moments, largest) = moments.split_at_mut(2 * len);
        let (first_moment, second_moment) = moments.split_at_mut(len);
        let (integrals, _) = integrals.split_at_mut(N * len);
        let mut planes = integrals.chunks_exact_mut(len);
        let planes = std::array::from_fn(|_| &mut planes.next().unwrap_or_default()[within.clone()]);
        let moments = [&mut first_moment[within.clone()], &mut second_moment[within.clone()]];
        let clips = coefs.max_value < f32::INFINITY;
        if largest.is_empty() {
            match clips {
                false => update::<N, false, false>(coefs, param, grad, moments, largest, planes),
                true => update::<N, false, true>(coefs, param, grad, moments, largest, planes),
            }
        } else {
            let largest = &mut largest[within];
            match clips {
                false => update::<N, true, false>(coefs, param, grad, moments, largest, planes),
                true => update::<N, true, true>(coefs, param, grad, moments, largest, planes),
            }
        }
    }

    /// Any number of integrals of at most [`BLOCK`] elements: a loop for each plane.
    #[inline(always)]
    fn any(self, param: &mut [f32], grad: &[f32]) {
        let Self { coefs: c, moments, integrals, len, within } = self;
        let (first_moment, rest) = moments.split_at_mut(len);
        let (second_moment, largest) = rest.split_at_mut(len);
        let (first_moment, second_moment) = (&mut first_moment[within.clone()], &mut second_moment[within.clone()]);
        let (mut nums, mut roots) = ([0.0; BLOCK], [0.0; BLOCK]);
        let (nums, roots) = (&mut nums[..within.len()], &mut roots[..within.len()]);
        for i in 0..within.len() {
            // Clipping to ±∞ changes nothing.
            (nums[i], roots[i]) = average::<true>(c, param[i], grad[i], &mut first_moment[i], &mut second_moment[i]);
        }
        if !largest.is_empty() {
            for (root, largest) in roots.iter_mut().zip(&mut largest[within.clone()]) {
                *root = raise(*root, largest);
            }
        }
        for plane in integrals.chunks_exact_mut(len).take(c.order as usize) {
            for (num, s) in nums.iter_mut().zip(&mut plane[within.clone()]) {
                *num = integrate(c, *num, s);
            }
        }
        for i in 0..within.len() {
            param[i] = apply(c, param[i], nums[i], roots[i]);
        }
    }
}

/// `visit` of `update.wgsl`, for every element.
#[inline(always)]
fn update<const N: usize, const AMSGRAD: bool, const CLIP: bool>(
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
        let (mut num, mut root) = average::<CLIP>(&c, param[i], grad[i], &mut first_moment[i], &mut second_moment[i]);
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
fn average<const CLIP: bool>(c: &Coefs, theta: f32, grad: f32, m: &mut f32, v: &mut f32) -> (f32, f32) {
    let g = c.grad_factor * grad;
    let g = if CLIP { clamp(g, c.max_value) } else { g } + c.coupled_decay * theta;
    *m = flush(*m + c.one_minus_beta1 * (g - *m));
    // An infinite v stays so, and its element stands still, where inf - inf would make it NaN.
    let new_v = if v.is_infinite() { *v } else { *v + c.one_minus_beta2 * (g * g - *v) };
    // Without ε, 0 would make it NaN as well.
    *v = if new_v < f32::MIN_POSITIVE && c.eps > 0.0 { 0.0 } else { new_v };
    (*m, *v)
}

/// Between ±max; NaN stays NaN.
#[inline(always)]
fn clamp(g: f32, max: f32) -> f32 {
    let g = if g > max { max } else { g };
    if g < -max { -max } else { g }
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
    use bytemuck::Zeroable;

    use crate::layout::{Group, Rates, Scaler};
    use crate::state::Planes;
    use crate::verdict::Verdict;
    use crate::{Dtype, GradOptions, Hyperparams};

    /// Updates `len` elements for three steps, through `dispatch` or plainly; gives all bits.
    fn run(len: usize, hyperparams: &Hyperparams, dispatch: bool) -> Vec<u32> {
        let (group, rates) = (Group::new(hyperparams), Rates::new(hyperparams, hyperparams.lr));
        let gradients = GradOptions::default().recorded();
        let verdict = Verdict::new(&gradients, &Scaler { scale: 1.0, ..Scaler::zeroed() }, None);
        let values = |seed: f32| (0..len).map(|i| (seed + i as f32).sin()).collect::<Vec<_>>();
        let mut param = values(0.5);
        let planes = Planes::new(hyperparams, Dtype::F32);
        let [mut moments, mut integrals] = [planes.moments(), planes.integrals].map(|planes| vec![0.0; len * planes]);
        for t in 1..=3 {
            let (coefs, grad) = (Coefs::new(&group, rates, &gradients, &verdict, t), values(t as f32));
            let (moments, integrals) = (&mut moments[..], &mut integrals[..]);
            let (param, grad) = (ValuesMut::F32(&mut param), Grad::Read(Values::F32(&grad)));
            let (coefs, rounding) = (&coefs, Rounding::Exact);
            let task = Task { coefs, param, grad, moments, integrals, rounding, stream: 0, first: 0 };
            let mut scratch = Scratch::default();
            if dispatch {
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || task.run(&mut scratch),
                );
            } else {
                task.run(&mut scratch);
            }
        }
        [param, moments, integrals].concat().iter().map(|value| value.to_bits()).collect()
    }

    /// The others are ahead of what the parameter can hold, and must stay so.
    #[test]
    fn only_what_is_missing_of_a_master_copy_is_made() {
        let mut master = [1.001, 0.0, 0.999];
        adopt(&mut master, &[1.0; 3]);
        assert_eq!(master, [1.001, 1.0, 0.999]);
    }

    #[test]
    fn subnormal_second_moments_are_0_unless_they_divide() {
        let subnormal = f32::MIN_POSITIVE / 2.0;
        for (eps, expected) in [(1e-8, 0.0), (0.0, subnormal)] {
            let coefs = Coefs { eps, ..Coefs::zeroed() };
            let (mut m, mut v) = (0.0, subnormal);
            average::<false>(&coefs, 1.0, 0.0, &mut m, &mut v);
            assert_eq!(v, expected, "with an epsilon of {eps}");
        }
    }

    #[test]
    fn wider_instructions_change_no_bit() {
        // Miri takes a thousand times as long, and the same paths are in fewer elements.
        let lens: &[usize] = if cfg!(miri) { &[1, 513] } else { &[1, 63, 64, 511, 513, 4000] };
        for order in [0, 1, 2, 3, 5] {
            for amsgrad in [false, true] {
                let hyperparams = Hyperparams { order, amsgrad, switch_step: 3, ..Hyperparams::default() };
                for &len in lens {
                    assert_eq!(run(len, &hyperparams, true), run(len, &hyperparams, false), "{len} at order {order}");
                }
            }
        }
    }
}
