// wide: numbers with an exponent of their own, for products and quotients that may lie past either end of the range of f32
// although what is made of them lies in it. A device may take every f32 below 2⁻¹²⁶ for 0.
//
// Arithmetic is on mantissas, so that it rounds as it would on f32 that stay in range.
//
// Twin of src/math/wide.rs.

// mantissa · 2^exponent. The mantissa is at least 1 and below 2, or the number is 0.
struct Wide {
    mantissa: f32,
    exponent: i32,
}

// x · 2^exponent, for an x that is not negative. Subnormal numbers are 0.
fn widen(x: f32, exponent: i32) -> Wide {
    let bits = bitcast<u32>(x);
    let mantissa = select(0u, (bits & 0x007fffffu) | 0x3f800000u, bits >= 0x00800000u);
    return Wide(bitcast<f32>(mantissa), i32(bits >> 23u) - 127 + exponent);
}

fn product(a: Wide, b: Wide) -> Wide {
    return widen(a.mantissa * b.mantissa, a.exponent + b.exponent);
}

// b is not 0.
fn quotient(a: Wide, b: Wide) -> Wide {
    return widen(a.mantissa / b.mantissa, a.exponent - b.exponent);
}

// Two factors of a number. The second is a power of two: 1, if the number is in the normal range. Otherwise both are below
// 1, or neither is, so that x times the first and then the second leaves the range only if it ends there. The second is 0
// for a number below 2⁻²⁵².
fn factors(a: Wide) -> vec2<f32> {
    let first = clamp(a.exponent, -126, 127);
    return vec2(a.mantissa * power_of_two(first), power_of_two(clamp(a.exponent - first, -127, 127)));
}

// The number as an f32: 0 or subnormal below the normal range, infinite above it.
fn narrow(a: Wide) -> f32 {
    let both = factors(a);
    return both.x * both.y;
}

// From 2⁻¹²⁶ to 2¹²⁷; 0 for an exponent of -127.
fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}
