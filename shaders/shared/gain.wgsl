// gain: what the integrals make of a constant gradient of 1, and the step size that undoes it (StepScale::ExactGain).
//
//     S_0(t) = 1 - β1ᵗ                          the first moment
//     S_j(t) = κ·S_j(t-1) + S_{j-1}(t)          its integrals, j = 1..n, with S_j(0) = 0
//     step_size = α / S_n(t)
//
// S_n may lie far past the range of f32: it grows as tⁿ/n! where κ = 1. So a gain has an exponent of its own, and a mantissa of
// 64 bits, since the roundings of all steps add up. A step loses up to three times 2⁻⁶³ of each S_j, as no S_j ever
// falls: at t = 10⁷ the fourth is right to 2⁻³⁶. All is integers, whose bits are the same on every device.
//
// Twin of src/math/gain.rs.

#import shared/u64.wgsl

// (high, low) · 2^(exponent - 64). The first bit of `high` is set, or the gain is 0.
struct Gain {
    high: u32,
    low: u32,
    exponent: i32,
}

// κ = 1, for which 0.64 fixed point has no room. The number that has these bits is above every other κ.
const ONE = vec2(0xffffffffu);

// S_0, from its 0.64 fixed-point number.
fn first_gain(fixed: vec2<u32>) -> Gain {
    return normal_gain(fixed, 0);
}

// S_j(t) from S_j(t-1) and S_{j-1}(t). κ is 0.64 fixed point, or `ONE`.
fn advance_gain(gain: Gain, kappa: vec2<u32>, below: Gain) -> Gain {
    return sum(discount(gain, kappa), below);
}

// κ · gain, rounded down to a multiple of 2⁻⁶⁴ · 2^exponent.
fn discount(gain: Gain, kappa: vec2<u32>) -> Gain {
    if all(kappa == ONE) {
        return gain;
    }
    return normal_gain(multiply(vec2(gain.high, gain.low), kappa), gain.exponent);
}

// a + b, rounded down.
fn sum(a: Gain, b: Gain) -> Gain {
    if a.high == 0u {
        return b;
    }
    if b.high == 0u {
        return a;
    }
    let a_is_less = a.exponent < b.exponent;
    let exponent = max(a.exponent, b.exponent);
    let distance = u32(exponent - min(a.exponent, b.exponent));
    let larger = select(vec2(a.high, a.low), vec2(b.high, b.low), a_is_less);
    let smaller = select(vec2(b.high, b.low), vec2(a.high, a.low), a_is_less);
    if distance >= 64u {
        return Gain(larger.x, larger.y, exponent);
    }
    let mantissa = add(larger, shift_right(smaller, distance));
    if is_less(mantissa, larger) {
        // The carry is the first bit.
        let half = shift_right(mantissa, 1u);
        return Gain(half.x | 0x80000000u, half.y, exponent + 1);
    }
    return Gain(mantissa.x, mantissa.y, exponent);
}

fn normal_gain(mantissa: vec2<u32>, exponent: i32) -> Gain {
    let shift = leading_zeros(mantissa);
    if shift == 64u {
        return Gain();
    }
    let normal = shift_left(mantissa, shift);
    return Gain(normal.x, normal.y, exponent - i32(shift));
}

// α / gain, rounded to nearest. It is 0 below the normal range, and the largest number above it. A gain of 0, which a first step
// that is skipped has, gives some number that nothing reads.
fn divide(alpha: f32, gain: Gain) -> f32 {
    let bits = bitcast<u32>(alpha);
    if bits < 0x00800000u {
        return 0.0;
    }
    let divisor = vec2(gain.high, gain.low);
    var rest = vec2((bits << 8u) | 0x80000000u, 0u);
    // The quotient's first digit stands before the point.
    var exponent = i32(bits >> 23u) - 126 - gain.exponent;
    var carry = false;
    if is_less(rest, divisor) {
        exponent -= 1;
        carry = true;
        rest = vec2(rest.x << 1u, 0u);
    }
    // 24 digits, and one to round by. There is no tie: an odd quotient of 25 digits times any divisor has more digits than α.
    var quotient = 0u;
    for (var digit = 0u; digit < 25u; digit += 1u) {
        let fits = carry || !is_less(rest, divisor);
        quotient = (quotient << 1u) | u32(fits);
        if fits {
            rest = subtract(rest, divisor);
        }
        carry = rest.x >= 0x80000000u;
        rest = shift_left(rest, 1u);
    }
    if exponent < -126 {
        return 0.0;
    }
    // The mantissa's leading 1 adds 1 to the exponent field, a carry out of rounding another.
    let field = u32(min(exponent, 128) + 126) << 23u;
    return bitcast<f32>(min(field + ((quotient + 1u) >> 1u), 0x7f7fffffu));
}
