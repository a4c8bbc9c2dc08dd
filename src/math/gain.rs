//! The twin of `shaders/shared/gain.wgsl`: what the integrals make of a constant gradient of 1, and the step size that undoes it.
//! The same bits, with `u64` for the shader's words.

use crate::abi::{Gain, ONE, multiply_fixed};

/// S_0, from its 0.64 fixed-point number.
#[must_use]
pub fn first_gain(fixed: u64) -> Gain {
    normal_gain(fixed, 0)
}

/// S_j(t) from S_j(t-1) and S_{j-1}(t). κ is 0.64 fixed point, or [`ONE`].
#[must_use]
pub fn advance_gain(gain: Gain, kappa: u64, below: Gain) -> Gain {
    sum(discount(gain, kappa), below)
}

/// κ · gain, rounded down to a multiple of 2⁻⁶⁴ · 2^exponent.
fn discount(gain: Gain, kappa: u64) -> Gain {
    if kappa == ONE { gain } else { normal_gain(multiply_fixed(mantissa(gain), kappa), gain.exponent) }
}

/// a + b, rounded down.
fn sum(a: Gain, b: Gain) -> Gain {
    if a.high == 0 {
        return b;
    }
    if b.high == 0 {
        return a;
    }
    let (larger, smaller) = if a.exponent < b.exponent { (b, a) } else { (a, b) };
    let distance = (larger.exponent - smaller.exponent).unsigned_abs();
    let smaller = mantissa(smaller).checked_shr(distance).unwrap_or(0);
    match mantissa(larger).overflowing_add(smaller) {
        // The carry is the first bit.
        (sum, true) => with_mantissa(sum >> 1 | 1 << 63, larger.exponent + 1),
        (sum, false) => with_mantissa(sum, larger.exponent),
    }
}

fn normal_gain(mantissa: u64, exponent: i32) -> Gain {
    let shift = mantissa.leading_zeros();
    if shift == 64 { with_mantissa(0, 0) } else { with_mantissa(mantissa << shift, exponent - shift as i32) }
}

/// α / gain, rounded to nearest. It is 0 below the normal range, and the largest number above it.
#[must_use]
pub fn divide(alpha: f32, gain: Gain) -> f32 {
    let bits = alpha.to_bits();
    if bits < f32::MIN_POSITIVE.to_bits() {
        return 0.0;
    }
    let divisor = mantissa(gain);
    let mut rest = u64::from(bits << 8 | 1 << 31) << 32;
    // The quotient's first digit stands before the point.
    let mut exponent = (bits >> 23) as i32 - 126 - gain.exponent;
    let mut carry = false;
    if rest < divisor {
        exponent -= 1;
        carry = true;
        rest <<= 1;
    }
    // 24 digits, and one to round by. There is no tie: an odd quotient of 25 digits times any divisor has more digits than α.
    let mut quotient = 0;
    for _ in 0..25 {
        let fits = carry || rest >= divisor;
        quotient = quotient << 1 | u32::from(fits);
        if fits {
            rest = rest.wrapping_sub(divisor);
        }
        carry = rest >> 63 == 1;
        rest <<= 1;
    }
    if exponent < -126 {
        return 0.0;
    }
    // The mantissa's leading 1 adds 1 to the exponent field, a carry out of rounding another.
    let field = ((exponent.min(128) + 126) as u32) << 23;
    f32::from_bits((field + ((quotient + 1) >> 1)).min(f32::MAX.to_bits()))
}

/// What the shader has as two words.
fn mantissa(gain: Gain) -> u64 {
    u64::from(gain.high) << 32 | u64::from(gain.low)
}

fn with_mantissa(mantissa: u64, exponent: i32) -> Gain {
    Gain { high: (mantissa >> 32) as u32, low: mantissa as u32, exponent }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::abi::{Powers, fixed_kappa, powers};

    /// Of `tests/golden/gains.py`.
    #[derive(Deserialize)]
    struct Run {
        beta1: f64,
        kappa: f64,
        order: usize,
        steps: Vec<u32>,
        gains: Vec<Vec<f64>>,
    }

    fn exact(gain: Gain) -> f64 {
        // In two halves: 2^exponent by itself may leave the range.
        let half = gain.exponent / 2;
        mantissa(gain) as f64 * 2f64.powi(half - 64) * 2f64.powi(gain.exponent - half)
    }

    /// 1 - βᵗ.
    fn first_moment(powers: &Powers, t: u32) -> u64 {
        let set = powers.iter().enumerate().filter(|(bit, _)| t >> bit & 1 == 1);
        !set.fold(u64::MAX, |power, (_, &[high, low])| multiply_fixed(power, u64::from(high) << 32 | u64::from(low)))
    }

    #[test]
    fn gains_and_step_sizes_are_exact_to_f32_rounding_until_step_10_million() {
        let runs: Vec<Run> = serde_json::from_str(include_str!("../../tests/golden/gains.json")).unwrap();
        for run in &runs {
            let (powers, kappa) = (powers(run.beta1), fixed_kappa(run.kappa));
            let mut gains = vec![with_mantissa(0, 0); run.order];
            let mut t = 0;
            for (&step, expected) in run.steps.iter().zip(&run.gains) {
                while t < step {
                    t += 1;
                    let mut below = first_gain(first_moment(&powers, t));
                    for gain in &mut gains {
                        *gain = advance_gain(*gain, kappa, below);
                        below = *gain;
                    }
                }
                for (n, (&gain, &wanted)) in (1..).zip(gains.iter().zip(expected)) {
                    // 2⁻⁶³ three times a step and integral; 32 products of 2⁻⁶⁴ in βᵗ; half an ulp of f64, twice.
                    let steps = 3.0 * f64::from(t) * f64::from(n) * 2f64.powi(-63);
                    let bound = steps + 2f64.powi(-59) / (1.0 - run.beta1) + f64::EPSILON;
                    let error = (exact(gain) / wanted - 1.0).abs();
                    assert!(
                        error <= bound,
                        "β1 {}, κ {}, n {n}, t {t}: off by {error:e}, not {bound:e}",
                        run.beta1,
                        run.kappa
                    );
                    for alpha in [1.0, 1e-3, 3.7e-5, f32::MAX] {
                        let (found, wanted) = (f64::from(divide(alpha, gain)), f64::from(alpha) / wanted);
                        if wanted >= f64::from(f32::MIN_POSITIVE) && wanted <= f64::from(f32::MAX) {
                            // Half an ulp, with room for the error above.
                            let error = (found / wanted - 1.0).abs() / f64::from(f32::EPSILON);
                            assert!(error <= 0.5001, "α {alpha}, κ {}, n {n}, t {t}: {error} ulp", run.kappa);
                        } else {
                            let end = if wanted < 1.0 { 0.0 } else { f32::MAX };
                            assert_eq!(found, f64::from(end), "α {alpha}, κ {}, n {n}, t {t}", run.kappa);
                        }
                    }
                }
            }
        }
    }

    /// Numbers with few bits set, and with many, so that carries and borrows go all the way.
    fn mantissas() -> impl Iterator<Item = u64> {
        let ends = [0, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, u64::MAX >> 1, u64::MAX >> 2];
        ends.into_iter().flat_map(|end| [1 << 63 | end, u64::MAX - end, 0xfedc_ba98_7654_3210 ^ end])
    }

    #[test]
    fn sums_products_and_quotients_are_those_of_128_bits() {
        for a in mantissas() {
            for b in mantissas() {
                let one = |fixed| with_mantissa(fixed, 0);
                let discounted = discount(one(a), b);
                let wanted = if b == ONE { a } else { ((u128::from(a) * u128::from(b)) >> 64) as u64 };
                assert_eq!(discounted, normal_gain(wanted, 0), "{a:x} · {b:x}");
                for distance in [0, 1, 31, 32, 33, 63, 64, 65, 1000] {
                    let found = sum(with_mantissa(a, distance), one(b));
                    assert_eq!(found, sum(one(b), with_mantissa(a, distance)), "a + b = b + a");
                    let wide = u128::from(a) + (u128::from(b).checked_shr(distance.unsigned_abs()).unwrap_or(0));
                    let carry = (wide >> 64) as u32;
                    assert_eq!(found, with_mantissa((wide >> carry) as u64, distance + carry as i32));
                }
                // α from 1 to 2 over b, which is from 1/2 to 1: half an ulp, in units of 2⁻⁸⁷.
                let alpha = f32::from_bits((a >> 40) as u32 & 0x007f_ffff | 1f32.to_bits());
                let quotient = f64::from(divide(alpha, one(b)));
                let ulp = if quotient < 2.0 { 1 } else { 2 };
                let product = (quotient * 2f64.powi(23)) as u128 * u128::from(b);
                let error = product.abs_diff(((f64::from(alpha) * 2f64.powi(23)) as u128) << 64);
                assert!(2 * error <= ulp * u128::from(b), "{alpha} / {b:x} is not {quotient}");
            }
        }
    }
}
