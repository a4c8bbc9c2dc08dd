//! The twin of `shaders/advance.wgsl`: the coefficients of one clock at its step t.
//!
//! The powers of β are 0.64 fixed-point integers: WGSL has no `f64`, and `pow` in `f32` is off by 1e-4 in 1 - 0.999ᵗ at
//! t = 1. The shader multiplies them by words of 32 bits.

use super::gain::{advance_gain, divide, first_gain};
use super::verdict::Verdict;
use super::wide::{power_of_two, widen};
use crate::abi::{Coefs, Gain, GradSettings, Group, Powers, Tick, multiply_fixed};
use crate::clock::Clock;

/// The count after a step with this verdict.
pub(crate) fn count(t: u32, verdict: &Verdict) -> u32 {
    t.saturating_add(u32::from(!verdict.skip))
}

/// Counts a step, and gives its coefficients.
pub(crate) fn advance_clock(
    clock: &mut Clock,
    group: &Group,
    tick: Tick,
    settings: &GradSettings,
    verdict: &Verdict,
) -> Coefs {
    let t = count(clock.step, verdict);
    clock.step = t;
    let integrating = t < group.switch_step;
    let alpha = if integrating { tick.integrating } else { tick.adam };
    let first_moment = one_minus_power(&group.beta1_powers, t);
    let mut step_size = alpha / to_f32(first_moment);
    if integrating && group.order > 0 && !verdict.skip {
        let gain = advance_gains(&mut clock.gains, group, first_gain(first_moment));
        if group.exact_gain == 1 {
            step_size = divide(alpha, gain);
        }
    }
    let unit = shared_unit(step_size, group.eps);
    let average_rate =
        if is_averaged(group, t) && !verdict.skip { average_rate(group, &mut clock.averaged) } else { 0.0 };
    Coefs {
        one_minus_beta1: group.one_minus_beta1,
        one_minus_beta2: group.one_minus_beta2,
        one_minus_kappa: group.one_minus_kappa,
        eps: group.eps * unit,
        coupled_decay: group.coupled_decay,
        grad_factor: group.grad_sign * verdict.factors[0],
        grad_unit: verdict.factors[1],
        step_size: step_size * unit,
        root_scale: 1.0 / to_f32(one_minus_power(&group.beta2_powers, t)).sqrt() * unit,
        decay: tick.decay,
        cautious: group.cautious,
        order: if integrating { group.order } else { 0 },
        amsgrad: group.amsgrad,
        max_value: settings.max_value,
        skip: u32::from(verdict.skip),
        average_rate,
        step: t,
        padding: [0; 47],
    }
}

/// S_n, after S_1 to S_n have taken a step. They are kept under every step scale, so that it may change.
fn advance_gains(gains: &mut [Gain], group: &Group, s0: Gain) -> Gain {
    let [high, low] = group.kappa.map(u64::from);
    gains.iter_mut().fold(s0, |below, gain| {
        *gain = advance_gain(*gain, high << 32 | low, below);
        *gain
    })
}

/// A power of two, up to 1, that can be multiplied with step size, `root_scale` and ε alike, as the update has the first times
/// num over the others. It brings a step size below 1, so that the quotient is in the normal range where the update is. It
/// keeps in that range ε, and the root of any second moment that is in it and shows beside ε.
fn shared_unit(step_size: f32, eps: f32) -> f32 {
    let size = widen(eps, 0).exponent;
    let room = if eps > 0.0 { (size + 126).min(63).max((size + 102).min(126)) } else { 63 };
    power_of_two(-widen(step_size, 1).exponent.clamp(0, room))
}

/// It says whether the weights after step `t` are averaged.
fn is_averaged(group: &Group, t: u32) -> bool {
    let &Group { average_from: first, average_every: every, .. } = group;
    every > 0 && t >= first && (t - first).is_multiple_of(every)
}

/// Counts an averaging. Gives the rate at which the average takes the weights in: 1 where it becomes a copy.
fn average_rate(group: &Group, averaged: &mut u32) -> f32 {
    let before = *averaged;
    *averaged = before.saturating_add(1);
    if before == 0 {
        return 1.0;
    }
    (group.average_over / (group.average_under + before as f32)).max(group.average_least)
}

/// 1 - βᵗ as a 0.64 fixed-point number. Each product drops less than 2⁻⁶⁴, at most 32 of them: nothing that an `f32` shows
/// while 1 - β > 1e-9.
fn one_minus_power(powers: &Powers, t: u32) -> u64 {
    let mut power = u64::MAX;
    for (bit, &[high, low]) in powers.iter().enumerate() {
        if (t >> bit) & 1 == 1 {
            power = multiply_fixed(power, u64::from(high) << 32 | u64::from(low));
        }
    }
    // Products round down, so the one's complement is as near as the two's, and is never 0.
    !power
}

/// A 0.64 fixed-point number above 0, rounded to nearest even.
fn to_f32(fixed: u64) -> f32 {
    let shift = fixed.leading_zeros();
    let normalized = fixed << shift;
    let (mantissa, rest) = ((normalized >> 40) as u32, normalized & ((1 << 40) - 1));
    let round_up = rest > 1 << 39 || (rest == 1 << 39 && mantissa & 1 == 1);
    // The mantissa's leading 1 adds 1 to the exponent field, a carry out of rounding another.
    f32::from_bits(((125 - shift) << 23) + mantissa + u32::from(round_up))
}

#[cfg(test)]
mod tests {
    use super::{one_minus_power, to_f32};
    use crate::abi::powers;

    #[test]
    fn bias_corrections_are_exact_to_f32_rounding() {
        for beta in [0.0, 0.3, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999_999, 1.0 - 1e-8] {
            let powers = powers(beta);
            for t in [1, 2, 3, 10, 999, 1000, 65_537, 1_234_567, 10_000_000, u32::MAX] {
                // 1 - βᵗ = -expm1(t·ln β), good to about 1e-15 where 1 - powf would cancel.
                let exact = -(f64::from(t) * (beta - 1.0).ln_1p()).exp_m1();
                let found = f64::from(to_f32(one_minus_power(&powers, t)));
                // Half an ulp, with room for the oracle's own rounding.
                assert!(
                    (found / exact - 1.0).abs() <= 0.5001 * f64::from(f32::EPSILON),
                    "β {beta}, t {t}: {found} is not {exact}"
                );
            }
        }
    }
}
