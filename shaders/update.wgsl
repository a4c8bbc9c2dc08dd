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

#import shared/average.wgsl
#import shared/bundle.wgsl
#import shared/chunk.wgsl
#import shared/coefs.wgsl
#import GRID
#import STATE
#import ACCESS

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
        #each reset_grad(chunk, quad_of(bundle, {i}u));
        return;
    }
    var theta: Bundle;
    var g: Bundle;
    #each theta.{q} = within(chunk, quad_of(bundle, {i}u), load_theta(chunk, quad_of(bundle, {i}u)));
    #each g.{q} = adjust(c, theta.{q}, within(chunk, quad_of(bundle, {i}u), load_grad(chunk, quad_of(bundle, {i}u))));
    let random = random_of(chunk, c.step, chunk.first + quad_of(bundle, 0u));
    let m = average(chunk, c, bundle, g, random);
    let root = raise(chunk, c, bundle, m.second, random);
    let num = integrate(chunk, c, bundle, m.first, random);
    #each finish(chunk, c, quad_of(bundle, {i}u), apply(c, theta.{q}, num.{q}, root.{q}));
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
    #each m.{q} = m.{q} + c.one_minus_beta1 * (g.{q} - m.{q});
    #each v.{q} = average_square(c, v.{q}, g.{q});
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
        #each largest.{q} = bitcast<vec4<f32>>(max(bitcast<vec4<u32>>(v.{q}), bitcast<vec4<u32>>(largest.{q})));
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
    #each s.{q} = num.{q} + (s.{q} - c.one_minus_kappa * s.{q});
    store_integral(plane, bundle, encode(s, true, of_plane(random, INTEGRAL + j + 1u), nothing(c)));
    return s;
}

// The cells of a bundle in a plane.
fn load_moments(plane: u32, bundle: u32) -> Cells {
    var cells: Cells;
    #cell cells.{q} = moments[plane + cell_of(bundle, {i}u, CELLS)];
    return cells;
}

fn store_moments(plane: u32, bundle: u32, cells: Cells) {
    #cell moments[plane + cell_of(bundle, {i}u, CELLS)] = cells.{q};
}

fn load_integral(plane: u32, bundle: u32) -> Cells {
    var cells: Cells;
    #cell cells.{q} = integrals[plane + cell_of(bundle, {i}u, CELLS)];
    return cells;
}

fn store_integral(plane: u32, bundle: u32, cells: Cells) {
    #cell integrals[plane + cell_of(bundle, {i}u, CELLS)] = cells.{q};
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
