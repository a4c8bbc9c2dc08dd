//! `update.wgsl`'s twin, statement by statement, and its rows of elements.

use crate::layout::Coefs;

/// Elements that go through one integral after the other where there are many.
const BLOCK: usize = 256;

/// Below this, moments and integrals count as 0. Where gradients stay 0 they decay without end, and processors take
/// a hundred times as long for subnormal numbers; GPUs do not, or flush them. Divided by any sensible ε it is nothing.
const TINY: f32 = 1e-34;

/// Gradients that are read, or set to 0 once they are.
pub(super) enum Grad<'a> {
    Read(&'a [f32]),
    Zero(&'a mut [f32]),
}

impl<'a> Grad<'a> {
    pub fn chunks(self, len: usize) -> Box<dyn Iterator<Item = Grad<'a>> + 'a> {
        match self {
            Grad::Read(grad) => Box::new(grad.chunks(len).map(Grad::Read)),
            Grad::Zero(grad) => Box::new(grad.chunks_mut(len).map(Grad::Zero)),
        }
    }
}

/// The update of one chunk.
pub(super) struct Task<'a> {
    pub coefs: &'a Coefs,
    pub param: &'a mut [f32],
    pub grad: Grad<'a>,
    pub moments: &'a mut [f32],
    pub integrals: &'a mut [f32],
}

impl Task<'_> {
    #[inline(always)]
    pub fn run(self) {
        let Self { coefs, param, grad, moments, integrals } = self;
        match grad {
            Grad::Read(grad) => Chunk { coefs, param, grad, moments, integrals }.run(),
            Grad::Zero(grad) => {
                Chunk { coefs, param, grad, moments, integrals }.run();
                grad.fill(0.0);
            }
        }
    }
}

/// A task's planes, all of the same length.
struct Chunk<'a> {
    coefs: &'a Coefs,
    param: &'a mut [f32],
    grad: &'a [f32],
    moments: &'a mut [f32],
    integrals: &'a mut [f32],
}

impl Chunk<'_> {
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
    let g = clamp(c.grad_factor * grad, c.max_value) + c.coupled_decay * theta;
    *m = flush(*m + c.one_minus_beta1 * (g - *m));
    // An infinite v stays so, and its element stands still, where inf - inf would make it NaN.
    *v = if v.is_infinite() { *v } else { *v + c.one_minus_beta2 * (g * g - *v) };
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
    use crate::verdict::Verdict;
    use crate::{GradOptions, Hyperparams};

    /// Updates `len` elements for three steps, through `dispatch` or plainly; gives all bits.
    fn run(len: usize, hyperparams: &Hyperparams, dispatch: bool) -> Vec<u32> {
        let (group, rates) = (Group::new(hyperparams), Rates::new(hyperparams, hyperparams.lr));
        let gradients = GradOptions::default().recorded();
        let verdict = Verdict::new(&gradients, &Scaler { scale: 1.0, ..Scaler::zeroed() }, None);
        let values = |seed: f32| (0..len).map(|i| (seed + i as f32).sin()).collect::<Vec<_>>();
        let mut param = values(0.5);
        let mut moments = vec![0.0; len * hyperparams.moment_planes()];
        let mut integrals = vec![0.0; len * hyperparams.integral_planes()];
        for t in 1..=3 {
            let (coefs, grad) = (Coefs::new(&group, rates, &gradients, &verdict, t), values(t as f32));
            let (param, moments, integrals) = (&mut param[..], &mut moments[..], &mut integrals[..]);
            let task = Task { coefs: &coefs, param, grad: Grad::Read(&grad), moments, integrals };
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
