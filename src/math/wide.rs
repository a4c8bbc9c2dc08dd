//! The twin of `shaders/shared/wide.wgsl`: numbers with an exponent of their own, for products and quotients that may lie past
//! either end of the range of `f32` although what is made of them lies in it.

/// mantissa · 2^exponent. The mantissa is at least 1 and below 2, or the number is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wide {
    pub mantissa: f32,
    pub exponent: i32,
}

/// x · 2^exponent, for an x that is not negative. Subnormal numbers are 0.
pub(crate) fn widen(x: f32, exponent: i32) -> Wide {
    let bits = x.to_bits();
    let mantissa = if bits >= 0x0080_0000 { (bits & 0x007f_ffff) | 0x3f80_0000 } else { 0 };
    Wide { mantissa: f32::from_bits(mantissa), exponent: (bits >> 23) as i32 - 127 + exponent }
}

/// An `f64` that is not negative, rounded to an `f32`'s mantissa. The shader has no need of this.
pub(crate) fn widen_double(x: f64) -> Wide {
    let bits = x.to_bits();
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | 1f64.to_bits());
    // Rounded, it may be 2.
    widen(if x == 0.0 { 0.0 } else { mantissa as f32 }, (bits >> 52) as i32 - 1023)
}

pub(crate) fn product(a: Wide, b: Wide) -> Wide {
    widen(a.mantissa * b.mantissa, a.exponent + b.exponent)
}

/// `b` is not 0.
pub(crate) fn quotient(a: Wide, b: Wide) -> Wide {
    widen(a.mantissa / b.mantissa, a.exponent - b.exponent)
}

/// Two factors of a number. The second is a power of two: 1, if the number is in the normal range. Otherwise both are below
/// 1, or neither is, so that x times the first and then the second leaves the range only if it ends there. The second is 0
/// for a number below 2⁻²⁵².
pub(crate) fn factors(a: Wide) -> [f32; 2] {
    let first = a.exponent.clamp(-126, 127);
    [a.mantissa * power_of_two(first), power_of_two((a.exponent - first).clamp(-127, 127))]
}

/// The number as an `f32`: 0 or subnormal below the normal range, infinite above it.
pub(crate) fn narrow(a: Wide) -> f32 {
    let [first, second] = factors(a);
    first * second
}

/// From 2⁻¹²⁶ to 2¹²⁷; 0 for an exponent of -127.
pub(crate) fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: f64 = f32::MIN_POSITIVE as f64;
    const HUGE: f64 = f32::MAX as f64;

    fn exact(a: Wide) -> f64 {
        f64::from(a.mantissa) * 2f64.powi(a.exponent)
    }

    /// Numbers of all sizes, 0 among them.
    fn numbers() -> Vec<f32> {
        let powers = (-126..=127).step_by(11).map(|exponent| 2f32.powi(exponent));
        let mut numbers: Vec<_> = powers.flat_map(|power| [1.0, 1.25, 2.0 - f32::EPSILON].map(|x| x * power)).collect();
        numbers.extend([0.0, f32::MIN_POSITIVE, f32::MAX]);
        numbers
    }

    #[test]
    fn arithmetic_rounds_as_that_of_f32_and_has_no_ends() {
        for a in numbers() {
            for b in numbers() {
                let (wide_a, wide_b) = (widen(a, 0), widen(b, 0));
                assert_eq!([exact(wide_a), exact(wide_b)], [f64::from(a), f64::from(b)]);
                let mut results = vec![(product(wide_a, wide_b), f64::from(a) * f64::from(b), a * b)];
                if b > 0.0 {
                    results.push((quotient(wide_a, wide_b), f64::from(a) / f64::from(b), a / b));
                }
                for (found, wanted, single) in results {
                    assert!((exact(found) - wanted).abs() <= 0.5 * f64::from(f32::EPSILON) * wanted, "{a:e}, {b:e}");
                    if single.is_normal() {
                        assert_eq!((exact(found), narrow(found)), (f64::from(single), single), "{a:e}, {b:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_f64_is_rounded_to_a_mantissa() {
        for x in numbers().into_iter().map(f64::from) {
            for x in [x, 1e-50 * x, 1e60 * x, x * (1.0 - f64::EPSILON)] {
                assert!((exact(widen_double(x)) - x).abs() <= 0.5 * f64::from(f32::EPSILON) * x, "{x:e}");
            }
        }
    }

    /// Neither the factors nor a product on the way is subnormal or infinite, where the result is normal.
    #[test]
    fn factors_stay_in_range_where_the_result_does() {
        for x in numbers().into_iter().filter(|&x| x > 0.0) {
            for exponent in -252..=253 {
                let wide = Wide { mantissa: 1.75, exponent };
                let ([first, second], wanted) = (factors(wide), f64::from(x) * exact(wide));
                assert!(first.is_normal() && second.is_normal());
                assert!((-126..=127).contains(&exponent) == (second == 1.0), "{exponent}");
                if (TINY..HUGE).contains(&wanted) {
                    let between = x * first;
                    assert!(between.is_normal(), "{x:e}, {exponent}");
                    assert!(
                        (f64::from(between * second) / wanted - 1.0).abs() <= f64::from(f32::EPSILON),
                        "{x:e}, {exponent}"
                    );
                }
            }
            // Below, nothing is left.
            let [first, second] = factors(Wide { mantissa: 1.0, exponent: -253 });
            assert_eq!(x * first * second, 0.0);
        }
    }
}
