// What a workgroup knows of the gradients, and how all of its invocations put together what each has found: always in
// the same order, so that the same gradients give the same bits.

struct Partial {
    squares: f32,
    // Of 2⁻⁸⁰·g, for squares past the range of f32.
    small_squares: f32,
    // The largest absolute value as bits, which order numbers as integers and put infinity and NaN last.
    largest: u32,
    padding: u32,
}

var<workgroup> gathered: array<Partial, WORKGROUP_SIZE>;

fn combine(a: Partial, b: Partial) -> Partial {
    return Partial(a.squares + b.squares, a.small_squares + b.small_squares, max(a.largest, b.largest), 0u);
}

fn gather(lane: u32, own: Partial) -> Partial {
    gathered[lane] = own;
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            gathered[lane] = combine(gathered[lane], gathered[lane + half]);
        }
    }
    workgroupBarrier();
    return gathered[0];
}
