//! The twin of `shaders/update.wgsl`: the same functions in the same order, for one element. Loops over elements are in
//! `cpu/block.rs`.
//!
//! No operation is fused, so that results do not depend on the instruction set. One thing differs from the shader: first
//! moments and integrals below [`TINY`], and second moments that are subnormal, become 0.

use crate::abi::{Coefs, NO_AVERAGE};

/// Below this, first moments and integrals count as 0. Where gradients stay 0 they decay without end, and processors take a
/// hundred times as long for subnormal numbers; GPUs do not, or flush them. Divided by any sensible ε, the loss is nothing.
const TINY: f32 = 1e-34;

/// A step is plain if gradients have no bound and weights no decay. [`adjust`] and [`apply`] then compute neither.
pub(crate) fn is_plain(c: &Coefs) -> bool {
    c.max_value == f32::INFINITY && c.coupled_decay == 0.0 && c.decay == 0.0
}

/// The gradient that is averaged.
#[inline(always)]
pub(crate) fn adjust<const PLAIN: bool>(c: &Coefs, theta: f32, grad: f32) -> f32 {
    let g = c.grad_factor * grad * c.grad_unit;
    if PLAIN {
        return g;
    }
    let g = clamp(g, c.max_value);
    // A group without decay has none, even where θ is infinite.
    if c.coupled_decay == 0.0 { g } else { g + c.coupled_decay * theta }
}

/// The moments, from the gradient.
#[inline(always)]
pub(crate) fn average(c: &Coefs, g: f32, m: &mut f32, v: &mut f32) -> (f32, f32) {
    *m = flush(average_first(c, g, *m));
    *v = average_second(c, g, *v);
    (*m, *v)
}

/// m, before it is flushed.
#[inline(always)]
pub(crate) fn average_first(c: &Coefs, g: f32, m: f32) -> f32 {
    m + c.one_minus_beta1 * (g - m)
}

/// v.
#[inline(always)]
pub(crate) fn average_second(c: &Coefs, g: f32, v: f32) -> f32 {
    // An infinite v stays so, and its element stands still, where inf - inf would make it NaN.
    let new_v = if v == f32::INFINITY { v } else { v + c.one_minus_beta2 * (g * g - v) };
    // Without ε, a second moment of 0 would make the element NaN as well.
    let smallest = if c.eps > 0.0 { f32::MIN_POSITIVE } else { f32::NEG_INFINITY };
    if new_v < smallest { 0.0 } else { new_v }
}

/// The second moment to divide by, under amsgrad: the largest so far. Bits order numbers from 0 up as integers do, and put NaN
/// above all: a NaN must stay visible.
#[inline(always)]
pub(crate) fn raise(v: f32, largest: &mut f32) -> f32 {
    *largest = f32::from_bits(v.to_bits().max(largest.to_bits()));
    *largest
}

/// s⁽ʲ⁺¹⁾, from s⁽ʲ⁾ in `num`: the shader's `integral`, for which each caller has a loop of its own.
#[inline(always)]
pub(crate) fn integral(c: &Coefs, num: f32, s: &mut f32) -> f32 {
    *s = flush(integrate(c, num, *s));
    *s
}

/// The same, before it is flushed.
#[inline(always)]
pub(crate) fn integrate(c: &Coefs, num: f32, s: f32) -> f32 {
    num + (s - c.one_minus_kappa * s)
}

/// The new θ.
#[inline(always)]
pub(crate) fn apply<const PLAIN: bool>(c: &Coefs, theta: f32, num: f32, root: f32) -> f32 {
    let denominator = root.sqrt() * c.root_scale + c.eps;
    let update = c.step_size * (num / denominator);
    if PLAIN {
        return theta - update;
    }
    // Numbers, which vectors choose between at less cost than between conditions.
    let against = if c.cautious == 0 { c.decay } else { 0.0 };
    let decay = if (theta >= 0.0) == (num >= 0.0) { c.decay } else { against };
    theta - if decay == 0.0 { update } else { update + decay * theta }
}

/// The average, from the new θ.
#[inline(always)]
pub(crate) fn follow(c: &Coefs, theta: f32, average: &mut f32) {
    // A copy is one to the bit.
    *average = if c.average_rate == 1.0 || average.to_bits() == NO_AVERAGE {
        theta
    } else {
        *average + c.average_rate * (theta - *average)
    };
}

/// Between ±max. NaN stays NaN.
#[inline(always)]
fn clamp(g: f32, max: f32) -> f32 {
    let g = if g > max { max } else { g };
    if g < -max { -max } else { g }
}

/// 0 in place of what is below [`TINY`].
#[inline(always)]
pub(crate) fn flush(x: f32) -> f32 {
    if x.abs() < TINY { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::average;
    use crate::abi::Coefs;

    #[test]
    fn subnormal_second_moments_are_0_unless_they_divide() {
        let subnormal = f32::MIN_POSITIVE / 2.0;
        for (eps, expected) in [(1e-8, 0.0), (0.0, subnormal)] {
            let coefs = Coefs { eps, ..Coefs::zeroed() };
            let (mut m, mut v) = (0.0, subnormal);
            average(&coefs, 0.0, &mut m, &mut v);
            assert_eq!(v, expected, "with an epsilon of {eps}");
        }
    }
}
