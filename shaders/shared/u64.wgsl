// u64: 64-bit numbers as (high, low) words. src/math has u64 itself.

// The high half of the product. Of two 0.64 fixed-point numbers it is the product, rounded down.
fn multiply(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let high = multiply_words(a.x, b.x);
    let middle1 = multiply_words(a.x, b.y);
    let middle2 = multiply_words(a.y, b.x);
    let low = multiply_words(a.y, b.y);
    // Words of weight 2⁻⁹⁶: only their carry is kept.
    let sum1 = low.x + middle1.y;
    let sum2 = sum1 + middle2.y;
    let carry = u32(sum1 < low.x) + u32(sum2 < sum1);
    return add(high, add(vec2(0u, carry), add(vec2(0u, middle1.x), vec2(0u, middle2.x))));
}

fn add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.y + b.y;
    return vec2(a.x + b.x + u32(low < a.y), low);
}

fn subtract(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2(a.x - b.x - u32(a.y < b.y), a.y - b.y);
}

fn is_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x < b.x || (a.x == b.x && a.y < b.y);
}

// 64 for 0.
fn leading_zeros(a: vec2<u32>) -> u32 {
    return select(countLeadingZeros(a.x), 32u + countLeadingZeros(a.y), a.x == 0u);
}

// By less than 64.
fn shift_left(a: vec2<u32>, shift: u32) -> vec2<u32> {
    if shift >= 32u {
        return vec2(a.y << (shift - 32u), 0u);
    }
    // Twice, since a shift by 32 is not defined.
    return vec2((a.x << shift) | ((a.y >> 1u) >> (31u - shift)), a.y << shift);
}

// By less than 64.
fn shift_right(a: vec2<u32>, shift: u32) -> vec2<u32> {
    if shift >= 32u {
        return vec2(0u, a.x >> (shift - 32u));
    }
    return vec2(a.x >> shift, (a.y >> shift) | ((a.x << 1u) << (31u - shift)));
}

// The full product of two words, as (high, low).
fn multiply_words(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle1 = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let middle2 = (a & 0xffffu) * (b >> 16u) + (middle1 & 0xffffu);
    return vec2((a >> 16u) * (b >> 16u) + (middle1 >> 16u) + (middle2 >> 16u), a * b);
}
