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
