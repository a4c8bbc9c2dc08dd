// The sums over the gradients of one workgroup. The sum is always taken in the same order, so
// that the same gradients give the same bits.

#import shared/workgroup.wgsl

struct Partial {
    squares: f32,
    // The same sum for 2⁻⁸⁰·g, for squares past the range of f32.
    small_squares: f32,
    // The same for 2⁸⁰·g, for squares below the normal range. It is right only where each |g| is at most LITTLE.
    large_squares: f32,
    // The largest absolute value as bits, which order numbers as integers and put infinity and NaN last.
    largest: u32,
}

// 2⁻³⁴, as the bits of an f32. Beside a larger gradient, a square below the normal range does not show in the sum.
const LITTLE = 0x2e800000u;

// One invocation sums up what this many have found.
const PART = 16u;
const_assert PART * PART == WORKGROUP_SIZE;

var<workgroup> gathered: array<Partial, WORKGROUP_SIZE>;

// The sum of what all invocations have found, known to all of them. It takes two steps only, since a barrier is dear where
// a driver has to switch between the invocations by itself.
fn gather(lane: u32, own: Partial) -> Partial {
    gathered[lane] = own;
    workgroupBarrier();
    if lane < WORKGROUP_SIZE / PART {
        gathered[lane * PART] = sum_up(lane * PART, 1u);
    }
    workgroupBarrier();
    return sum_up(0u, PART);
}

fn sum_up(first: u32, stride: u32) -> Partial {
    var sum = gathered[first];
    for (var part = 1u; part < PART; part += 1u) {
        sum = combine(sum, gathered[first + part * stride]);
    }
    return sum;
}

fn combine(a: Partial, b: Partial) -> Partial {
    return Partial(
        a.squares + b.squares,
        a.small_squares + b.small_squares,
        a.large_squares + b.large_squares,
        max(a.largest, b.largest),
    );
}
