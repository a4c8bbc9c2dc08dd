// override ADJUST = 0
// override CLAMP = 0
// override DECAY = 0
// override CAUTIOUS = 0
// override SKIP = 0
// override ZERO = 0
// override AMSGRAD = 0
// override AVERAGE = 0
// override INTEGRALS = 1
// override PLANES = 1
// override MASTER = 0
// override WIDTH = 1
// override BUNDLES = 1

// ==== shared/average.wgsl

// The bits of an average that a fresh row has: its next averaging copies. src/abi/structs.rs has the same number.

const NO_AVERAGE = 0xffffffffu;

// ==== shared/workgroup.wgsl

// The invocations of every workgroup. src/abi/mod.rs has the same number.

const WORKGROUP_SIZE = 256u;

// Neighbours that read side by side, a cache line of a GPU at a time. Where invocations take several quads, each such team
// goes through a stretch of its own from end to end: a software driver, which runs one team after the other, would jump
// through memory otherwise.
const TEAM = 8u;
const_assert WORKGROUP_SIZE % TEAM == 0u;

// The first of the `each` quads that an invocation takes; each of them is TEAM after the one before.
fn first_quad(lane: u32, each: u32) -> u32 {
    return lane / TEAM * TEAM * each + lane % TEAM;
}

// The number of quads that each invocation takes of so many.
fn share(quads: u32) -> u32 {
    return (quads + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
}

// ==== shared/chunk.wgsl

// A run of elements with everything that a kernel needs to know of it. src/abi/structs.rs describes each field.

struct Chunk {
    param: u32,
    grad: u32,
    moments: u32,
    integrals: u32,
    stride: u32,
    master: u32,
    average: u32,
    len: u32,
    clock: u32,
    windows: u32,
    stream: u32,
    first: u32,
}

// The number of quads of a chunk. The last one may be cut short.
fn quads_of(chunk: Chunk) -> u32 {
    return (chunk.len + 3u) / 4u;
}

// The number of quads of a chunk that each invocation of a workgroup takes.
fn quads_each(chunk: Chunk) -> u32 {
    return share(quads_of(chunk));
}

// ==== shared/bundle.wgsl

// A bundle is the quads that an invocation visits at once. The bundles of a block take turns at its quads, so that neighbours read
// side by side. A block is never cut.
//
//     f32     a quad
//     bf16    two quads; a block has four bundles
//     q8      eight quads; a block has four bundles

// Quads of a bundle, and bundles of a block.
override WIDTH: u32 = 1u;
override BUNDLES: u32 = 1u;

// The number of quad i of a bundle.
fn quad_of(bundle: u32, i: u32) -> u32 {
    return bundle / BUNDLES * (BUNDLES * WIDTH) + bundle % BUNDLES + BUNDLES * i;
}

// The number of cell i, of so many, of a bundle. A cell is 16 bytes of a plane.
fn cell_of(bundle: u32, i: u32, cells: u32) -> u32 {
    return bundle / BUNDLES * (BUNDLES * cells) + bundle % BUNDLES + BUNDLES * i;
}

// The number of bundles of a chunk.
fn bundles_of(chunk: Chunk) -> u32 {
    let block = BUNDLES * WIDTH;
    return (quads_of(chunk) + block - 1u) / block * BUNDLES;
}

// ==== shared/coefs.wgsl

// The coefficients of one clock, which advance.wgsl computes at each step and update.wgsl uses. They take 256 bytes, so
// that one clock's can be bound by itself on any device.

struct Coefs {
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    one_minus_kappa: f32,
    eps: f32,
    coupled_decay: f32,
    grad_factor: f32,
    grad_unit: f32,
    step_size: f32,
    root_scale: f32,
    decay: f32,
    cautious: u32,
    order: u32,
    amsgrad: u32,
    max_value: f32,
    skip: u32,
    average_rate: f32,
    @size(192) step: u32,
}

// ==== shared/run.wgsl

// GRID for a single run: one bundle for each invocation. Chunk and coefficients lie at constant addresses, so that a driver
// reads them once for all invocations.

@group(0) @binding(0) var<storage, read> run: Chunk;
@group(0) @binding(1) var<storage, read> coefs: Coefs;

@compute @workgroup_size(WORKGROUP_SIZE)
fn each_bundle(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Read before the branch: inside it, a driver must not read for lanes that are switched off.
    let chunk = run;
    let c = coefs;
    let bundle = WORKGROUP_SIZE * (workgroup.y * workgroups.x + workgroup.x) + lane;
    if bundle < bundles_of(chunk) {
        visit(chunk, c, bundle);
    }
}

// ==== state/f32.wgsl

// STATE in f32: a bundle is a quad, and so is a cell of a plane.

alias Packed = vec4<f32>;

// Cells of a bundle.
const CELLS = 1u;

struct Cells {
    a: Packed,
}

struct Bundle {
    a: vec4<f32>,
}

// Nothing is rounded.
struct Random {
    none: u32,
}

fn random_of(chunk: Chunk, step: u32, quad: u32) -> Random {
    return Random(0u);
}

fn decode(cells: Cells, signed: bool, nothing: u32) -> Bundle {
    return Bundle(cells.a);
}

fn of_plane(random: Random, plane: u32) -> Random {
    return random;
}

fn nearest() -> Random {
    return Random(0u);
}

fn encode(bundle: Bundle, signed: bool, random: Random, nothing: u32) -> Cells {
    return Cells(bundle.a);
}

// A quad of a plane that is always f32.
fn exact(packed: Packed) -> vec4<f32> {
    return packed;
}

fn packed_exact(quad: vec4<f32>) -> Packed {
    return quad;
}

// ==== WINDOWS

// Generated: the windows into the caller's buffers.

const PARAM = 0u;
const GRAD = 1u;

@group(0) @binding(4) var<storage, read_write> window_0: array<Word>;

fn read_word(chunk: Chunk, role: u32, at: u32) -> Word { return window_0[at]; }

fn write_word(chunk: Chunk, role: u32, at: u32, value: Word) { window_0[at] = value; }

// ==== access/quads.wgsl

// ACCESS to whole, 16-byte aligned quads of f32.

alias Word = vec4<f32>;

fn load_param(chunk: Chunk, quad: u32) -> vec4<f32> {
    return read_word(chunk, PARAM, chunk.param + quad);
}

fn load_grad(chunk: Chunk, quad: u32) -> vec4<f32> {
    return read_word(chunk, GRAD, chunk.grad + quad);
}

// Gives what is stored.
fn store_param(chunk: Chunk, quad: u32, value: vec4<f32>, step: u32) -> vec4<f32> {
    write_word(chunk, PARAM, chunk.param + quad, value);
    return value;
}

fn store_grad(chunk: Chunk, quad: u32, value: vec4<f32>) {
    write_word(chunk, GRAD, chunk.grad + quad, value);
}

// ==== update.wgsl

// update: one step of every element of a dispatch's chunks.
//
//     adjust     g    <- ±factor·g, between ±max_value       accumulation, loss scale, clipping: shared/verdict.wgsl
//                g    <- g + λ·θ                             coupled weight decay
//     average    m    <- β1·m + (1-β1)·g                     Eq. (5a); Algorithm 1, line 4
//                v    <- β2·v + (1-β2)·g²                    Eq. (5b); line 5
//     raise      v̂    <- max(v̂, v)                           amsgrad
//     integrate  s⁽⁰⁾ <- m;  s⁽ʲ⁾ <- κ·s⁽ʲ⁾ + s⁽ʲ⁻¹⁾, j = 1..n     Eq. (12); lines 7 to 10; n = 0 from ζ on
//     apply      θ    <- θ - α·λ·θ - step_size · s⁽ⁿ⁾ / (√v · root_scale + ε)    lines 12 to 18, decoupled weight decay
//     follow     average <- average + rate·(θ - average)     the average of the weights, if the step averages
//
// Sums are written in 1-β and 1-κ alone: x + (1-β)·(y - x) stands for β·x + (1-β)·y. With both factors rounded to f32 the
// steady state would be off by 2⁻²⁵/(1-β), 1e-5 for β2 = 0.999.
//
// STATE is the file that keeps moments and integrals, in f32 or in fewer bits. A bundle is the quads that are visited at once: one,
// two or eight, which it keeps in whole cells of 16 bytes. A line that begins with `#each` stands for one line for each quad of a
// bundle, `{q}` for its field, and `{i}` for its number, and one with `#cell` for each cell. Parameters and gradients lie wherever and
// however the caller has them: ACCESS is the file that reaches them, GRID the one that calls `visit` for every bundle.
//
// A device may take every f32 below 2⁻¹²⁶ for 0. Then smaller changes of state are lost: moments below 2⁻¹²⁶/(1-β) and
// integrals below 2⁻¹²⁶/(1-κ) may stand still, which is nothing beside any sensible ε. The products of `adjust` and `apply`
// leave the normal range only if they end outside it: advance.wgsl sees to that.
//
// Twin of src/math/update.rs, whose functions have the same names and order. The twin takes moments and integrals below
// 1e-34 for 0, because a processor is slow with subnormal numbers.

// Options that no group of the dispatch has are not compiled in.

// True if the gradient has a factor or a bound.
override ADJUST: bool = false;
// True if the gradient's elements have a bound. Only together with ADJUST.
override CLAMP: bool = false;
// True if any group's weights decay.
override DECAY: bool = false;
// True if any group's decoupled decay is cautious. Only together with DECAY.
override CAUTIOUS: bool = false;
// True if steps can be skipped.
override SKIP: bool = false;
// True if the gradient is reset after its use.
override ZERO: bool = false;
// True if any group keeps the largest second moment.
override AMSGRAD: bool = false;
// True if any group keeps an average of its weights.
override AVERAGE: bool = false;
// True if any group has integrals.
override INTEGRALS: bool = false;
// n, if all groups with integrals have the same n, from 1 to 3; else 0, for a loop.
override PLANES: u32 = 0u;
// True if θ is a master copy beside the moments, where adopt.wgsl has put it. The caller then has a rounded copy.
override MASTER: bool = false;

@group(0) @binding(2) var<storage, read_write> moments: array<Packed>;
@group(0) @binding(3) var<storage, read_write> integrals: array<Packed>;

struct Moments {
    first: Bundle,
    second: Bundle,
}

// The planes by which random bits are drawn; s⁽ʲ⁾ is INTEGRAL + j.
const FIRST_MOMENT = 0u;
const SECOND_MOMENT = 1u;
const MAX_SECOND_MOMENT = 2u;
const INTEGRAL = 2u;

fn visit(chunk: Chunk, c: Coefs, bundle: u32) {
    if SKIP && c.skip == 1u {
        reset_grad(chunk, quad_of(bundle, 0u));
        return;
    }
    var theta: Bundle;
    var g: Bundle;
    theta.a = within(chunk, quad_of(bundle, 0u), load_theta(chunk, quad_of(bundle, 0u)));
    g.a = adjust(c, theta.a, within(chunk, quad_of(bundle, 0u), load_grad(chunk, quad_of(bundle, 0u))));
    let random = random_of(chunk, c.step, chunk.first + quad_of(bundle, 0u));
    let m = average(chunk, c, bundle, g, random);
    let root = raise(chunk, c, bundle, m.second, random);
    let num = integrate(chunk, c, bundle, m.first, random);
    finish(chunk, c, quad_of(bundle, 0u), apply(c, theta.a, num.a, root.a));
}

// Elements past the tensor's end count as 0, where they share a block with others, and so does all of their state.
fn within(chunk: Chunk, quad: u32, value: vec4<f32>) -> vec4<f32> {
    if WIDTH == 1u {
        return value;
    }
    return select(vec4(0.0), value, vec4(4u * quad) + vec4(0u, 1u, 2u, 3u) < vec4(chunk.len));
}

fn finish(chunk: Chunk, c: Coefs, quad: u32, theta: vec4<f32>) {
    let stored = store_theta(chunk, c, quad, theta);
    follow(chunk, c, quad, stored);
    reset_grad(chunk, quad);
}

// The gradient that is averaged.
fn adjust(c: Coefs, theta: vec4<f32>, grad: vec4<f32>) -> vec4<f32> {
    var g = grad;
    if ADJUST {
        // A compiler may reorder products, and would then multiply the factors first, which may leave the range of f32. So
        // bits stand between the two.
        let once = bitcast<vec4<u32>>(c.grad_factor * g) | vec4(nothing(c));
        g = bitcast<vec4<f32>>(once) * c.grad_unit;
    }
    if CLAMP {
        // NaN stays, which a clamp may lose. It is chosen as bits, since a compiler may assume that no f32 is NaN.
        let bits = bitcast<vec4<u32>>(g);
        let clamped = bitcast<vec4<u32>>(clamp(g, vec4(-c.max_value), vec4(c.max_value)));
        g = bitcast<vec4<f32>>(select(clamped, bits, (bits & vec4(0x7fffffffu)) > vec4(0x7f800000u)));
    }
    if DECAY {
        // A group without decay has none, even where θ is infinite.
        g = select(g + c.coupled_decay * theta, g, c.coupled_decay == 0.0);
    }
    return g;
}

// 0, which no compiler can know: `skip` is 0 or 1.
fn nothing(c: Coefs) -> u32 {
    return c.skip >> 1u;
}

// The moments, from the gradient.
fn average(chunk: Chunk, c: Coefs, bundle: u32, g: Bundle, random: Random) -> Moments {
    let second = chunk.moments + chunk.stride;
    // Loaded once: a driver may go to memory for each mention.
    var m = decode(load_moments(chunk.moments, bundle), true, nothing(c));
    var v = decode(load_moments(second, bundle), false, nothing(c));
    m.a = m.a + c.one_minus_beta1 * (g.a - m.a);
    v.a = average_square(c, v.a, g.a);
    store_moments(chunk.moments, bundle, encode(m, true, of_plane(random, FIRST_MOMENT), nothing(c)));
    store_moments(second, bundle, encode(v, false, of_plane(random, SECOND_MOMENT), nothing(c)));
    return Moments(m, v);
}

fn average_square(c: Coefs, old_v: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    // An infinite v stays so, and its element stands still, where inf - inf would make it NaN.
    let old_bits = bitcast<vec4<u32>>(old_v);
    let new_bits = bitcast<vec4<u32>>(old_v + c.one_minus_beta2 * (g * g - old_v));
    return bitcast<vec4<f32>>(select(new_bits, old_bits, old_bits == vec4(0x7f800000u)));
}

// The second moment to divide by: under amsgrad the largest so far.
fn raise(chunk: Chunk, c: Coefs, bundle: u32, v: Bundle, random: Random) -> Bundle {
    var root = v;
    if AMSGRAD && c.amsgrad == 1u {
        let plane = chunk.moments + 2u * chunk.stride;
        var largest = decode(load_moments(plane, bundle), false, nothing(c));
        // Bits order numbers from 0 up as integers do, and put NaN above all: a NaN must stay visible.
        largest.a = bitcast<vec4<f32>>(max(bitcast<vec4<u32>>(v.a), bitcast<vec4<u32>>(largest.a)));
        store_moments(plane, bundle, encode(largest, false, of_plane(random, MAX_SECOND_MOMENT), nothing(c)));
        root = largest;
    }
    return root;
}

// s⁽ⁿ⁾, from s⁽⁰⁾ = m.
fn integrate(chunk: Chunk, c: Coefs, bundle: u32, m: Bundle, random: Random) -> Bundle {
    var num = m;
    if INTEGRALS && c.order > 0u {
        if PLANES == 0u {
            for (var j = 0u; j < c.order; j += 1u) {
                num = integral(chunk, c, bundle, j, num, random);
            }
        } else {
            num = integral(chunk, c, bundle, 0u, num, random);
            if PLANES > 1u {
                num = integral(chunk, c, bundle, 1u, num, random);
            }
            if PLANES > 2u {
                num = integral(chunk, c, bundle, 2u, num, random);
            }
        }
    }
    return num;
}

// s⁽ʲ⁺¹⁾, from s⁽ʲ⁾ in `num`.
fn integral(chunk: Chunk, c: Coefs, bundle: u32, j: u32, num: Bundle, random: Random) -> Bundle {
    let plane = chunk.integrals + j * chunk.stride;
    var s = decode(load_integral(plane, bundle), true, nothing(c));
    s.a = num.a + (s.a - c.one_minus_kappa * s.a);
    store_integral(plane, bundle, encode(s, true, of_plane(random, INTEGRAL + j + 1u), nothing(c)));
    return s;
}

// The cells of a bundle in a plane.
fn load_moments(plane: u32, bundle: u32) -> Cells {
    var cells: Cells;
    cells.a = moments[plane + cell_of(bundle, 0u, CELLS)];
    return cells;
}

fn store_moments(plane: u32, bundle: u32, cells: Cells) {
    moments[plane + cell_of(bundle, 0u, CELLS)] = cells.a;
}

fn load_integral(plane: u32, bundle: u32) -> Cells {
    var cells: Cells;
    cells.a = integrals[plane + cell_of(bundle, 0u, CELLS)];
    return cells;
}

fn store_integral(plane: u32, bundle: u32, cells: Cells) {
    integrals[plane + cell_of(bundle, 0u, CELLS)] = cells.a;
}

// The new θ.
fn apply(c: Coefs, theta: vec4<f32>, num: vec4<f32>, root: vec4<f32>) -> vec4<f32> {
    let denominator = sqrt(root) * c.root_scale + c.eps;
    var update = c.step_size * (num / denominator);
    if DECAY {
        var decays = vec4(c.decay != 0.0);
        if CAUTIOUS && c.cautious == 1u {
            decays &= (theta >= vec4(0.0)) == (num >= vec4(0.0));
        }
        update = select(update, update + c.decay * theta, decays);
    }
    return theta - update;
}

// The average, from the new θ.
fn follow(chunk: Chunk, c: Coefs, quad: u32, theta: vec4<f32>) {
    if AVERAGE && c.average_rate > 0.0 {
        let at = chunk.average + quad;
        let old = exact(moments[at]);
        // A copy is one to the bit.
        let copies = vec4(c.average_rate == 1.0) | (bitcast<vec4<u32>>(old) == vec4(NO_AVERAGE));
        moments[at] = packed_exact(select(old + c.average_rate * (theta - old), theta, copies));
    }
}

fn load_theta(chunk: Chunk, quad: u32) -> vec4<f32> {
    if MASTER {
        return exact(moments[chunk.master + quad]);
    }
    return load_param(chunk, quad);
}

// Gives θ as it is kept: rounded, if it was rounded at random.
fn store_theta(chunk: Chunk, c: Coefs, quad: u32, theta: vec4<f32>) -> vec4<f32> {
    if MASTER {
        moments[chunk.master + quad] = packed_exact(theta);
    }
    return store_param(chunk, quad, theta, c.step);
}

fn reset_grad(chunk: Chunk, quad: u32) {
    if ZERO {
        store_grad(chunk, quad, vec4(0.0));
    }
}
