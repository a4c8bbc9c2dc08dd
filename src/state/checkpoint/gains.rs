//! The gains of a checkpoint's integrals. A file of version 1 has none, nor has one that was made of PyTorch's state.

use crate::abi::Gain;
use crate::options::Hyperparams;

/// S_1 to S_n of parameters that have taken so many steps under these hyperparameters from the start, good to about 1e-9 at
/// step 10⁷.
pub(crate) fn gains_after(step: u32, hyperparams: &Hyperparams) -> Vec<Gain> {
    let &Hyperparams { beta1, kappa, order, .. } = hyperparams;
    let one = Steps::one(beta1, kappa, order as usize);
    let (mut all, mut power) = (Steps::none(order as usize), one);
    // From ζ on the integrals are frozen.
    let mut left = step.min(hyperparams.last_integrating());
    while left > 0 {
        if left & 1 == 1 {
            all = all.then(&power);
        }
        left >>= 1;
        if left > 0 {
            power = power.then(&power);
        }
    }
    all.constant[1..].iter().map(|&gain| rounded(gain)).collect()
}

/// What some steps do under a constant gradient of 1, as a linear map of m, which is s⁽⁰⁾, and of s⁽¹⁾ to s⁽ⁿ⁾. No number in it
/// is negative, so that nothing cancels.
struct Steps {
    /// What each s⁽ʲ⁾ gets from the gradient.
    constant: Vec<f64>,
    /// What each s⁽ʲ⁾ has of the old m.
    moment: Vec<f64>,
    /// What each s⁽ʲ⁺ᵏ⁾ has of the old s⁽ʲ⁾, for j from 1 on.
    later: Vec<f64>,
}

impl Steps {
    fn none(order: usize) -> Self {
        let mut steps = Self { constant: vec![0.0; order + 1], moment: vec![0.0; order + 1], later: vec![0.0; order] };
        steps.moment[0] = 1.0;
        steps.later.iter_mut().take(1).for_each(|own| *own = 1.0);
        steps
    }

    /// m <- β1·m + 1-β1, then each s⁽ʲ⁾ <- κ·s⁽ʲ⁾ + s⁽ʲ⁻¹⁾.
    fn one(beta1: f64, kappa: f64, order: usize) -> Self {
        let all = |value, len| vec![value; len];
        Self { constant: all(1.0 - beta1, order + 1), moment: all(beta1, order + 1), later: all(kappa, order) }
    }

    fn then(&self, next: &Self) -> Self {
        // Past the range of f64 a gain counts as the largest number in it, as 0 times infinity would be NaN.
        let sum = |first: f64, later: &[f64]| {
            let terms = later.iter().rev().zip(&next.later).map(|(a, b)| a * b);
            (first + terms.sum::<f64>()).min(f64::MAX)
        };
        let constant = |j: usize| sum(next.constant[j] + next.moment[j] * self.constant[0], &self.constant[1..=j]);
        let moment = |j: usize| sum(next.moment[j] * self.moment[0], &self.moment[1..=j]);
        let (all, order) = (0..self.constant.len(), self.later.len());
        Self {
            constant: all.clone().map(constant).collect(),
            moment: all.map(moment).collect(),
            later: (0..order).map(|k| sum(0.0, &self.later[..=k])).collect(),
        }
    }
}

/// Subnormal numbers are 0.
fn rounded(gain: f64) -> Gain {
    let bits = gain.to_bits();
    let exponent = (bits >> 52) as i32;
    if exponent == 0 {
        return Gain { high: 0, low: 0, exponent: 0 };
    }
    let mantissa = bits << 11 | 1 << 63;
    Gain { high: (mantissa >> 32) as u32, low: mantissa as u32, exponent: exponent - 1022 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Group, fixed_kappa};
    use crate::math::gain::{advance_gain, first_gain};

    fn value(gain: Gain) -> f64 {
        (f64::from(gain.high) + f64::from(gain.low) * 2f64.powi(-32)) * 2f64.powi(gain.exponent - 32)
    }

    /// 1 - β1ᵗ in 0.64 fixed point.
    fn first_moment(beta1: f64, t: u32) -> u64 {
        (-(f64::from(t) * (beta1 - 1.0).ln_1p()).exp_m1() * 2f64.powi(64)) as u64
    }

    #[test]
    fn are_those_that_as_many_steps_make() {
        let steps = 10_000;
        for kappa in [0.0, 0.3, 0.98, 1.0] {
            for (beta1, order, switch_step) in
                [(0.9, 5, Hyperparams::NEVER), (0.0, 1, 600), (0.999, 2, Hyperparams::NEVER)]
            {
                let hyperparams = Hyperparams { beta1, kappa, order, switch_step, ..Hyperparams::default() };
                let mut gains = vec![rounded(0.0); order as usize];
                for t in 1..=steps {
                    if t < switch_step {
                        let first = first_gain(first_moment(beta1, t));
                        gains.iter_mut().fold(first, |below, gain| {
                            *gain = advance_gain(*gain, fixed_kappa(kappa), below);
                            *gain
                        });
                    }
                    if [1, 2, 3, 599, 600, 601, steps].contains(&t) {
                        for (found, &wanted) in gains_after(t, &hyperparams).into_iter().zip(&gains) {
                            // f64 rounds each doubling, which doubles the error before it: a few 2⁻⁵² for each step.
                            let bound = 8.0 * f64::from(t) * f64::EPSILON;
                            assert!((value(found) / value(wanted) - 1.0).abs() <= bound, "{hyperparams:?} at {t}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn past_the_range_of_f64_they_are_large() {
        let hyperparams = Hyperparams { kappa: 1.0, order: 100, ..Hyperparams::default() };
        let gains = gains_after(u32::MAX, &hyperparams);
        assert!(gains.iter().all(|gain| gain.high >> 31 == 1) && gains[99].exponent == 1024);
        assert_eq!(gains_after(0, &hyperparams), vec![rounded(0.0); 100]);
        assert_eq!(Group::new(&hyperparams).kappa, [u32::MAX; 2]);
    }
}
