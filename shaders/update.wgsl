// update: one step of every element of a dispatch's chunks.
//
//     g      <- ±factor·g, between ±max_value          accumulation, loss scale and clipping: verdict.wgsl
//     g      <- g + λ·θ                                coupled weight decay
//     m      <- β1·m + (1-β1)·g                        Eq. (5a); Algorithm 1, line 4
//     v      <- β2·v + (1-β2)·g²                       Eq. (5b); line 5
//     s⁽⁰⁾   <- m;  s⁽ʲ⁾ <- κ·s⁽ʲ⁾ + s⁽ʲ⁻¹⁾, j = 1..n     Eq. (12); lines 7 to 10; n = 0 from ζ on
//     θ      <- θ - α·λ·θ - step_size · s⁽ⁿ⁾ / (√v · root_scale + ε)      lines 12 to 18, decoupled weight decay
//
// Sums are written in 1-β and 1-κ alone, x + (1-β)·(y - x) for β·x + (1-β)·y: with both factors rounded to f32
// the steady state would be off by 2⁻²⁵/(1-β), 1e-5 for β2 = 0.999.
//
// Twin of src/cpu/update.rs. run.wgsl or table.wgsl call `visit` for every quad; `load_param`, `load_grad`, `store_param` and
// `store_grad` come from quads.wgsl or elements.wgsl, or in half precision from mixed.wgsl: state always lies in whole
// quads of f32, parameters and gradients wherever and however the caller has them; `Chunk` is in chunk.wgsl, `Coefs` in
// coefs.wgsl. `ADJUST`, `CLAMP`, `SKIP`, `ZERO`, `AMSGRAD`, `INTEGRALS` and `MASTER` are constants that the host declares:
// what no group of the dispatch asks for is not compiled in. `PLANES` is n if all groups with integrals have the same few,
// else 0. With `MASTER`, θ lies in f32 beside the moments, where adopt.wgsl has put it, and the caller has a rounded copy.

@group(0) @binding(2) var<storage, read_write> moments: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> integrals: array<vec4<f32>>;

fn visit(chunk: Chunk, c: Coefs, quad: u32) {
    if SKIP && c.skip == 1u {
        if ZERO {
            store_grad(chunk, quad, vec4(0.0));
        }
        return;
    }
    let master = first_master(chunk, c.amsgrad) + quad;
    var theta = vec4(0.0);
    if MASTER {
        theta = moments[master];
    } else {
        theta = load_param(chunk, quad);
    }
    var g = load_grad(chunk, quad);
    if ADJUST {
        g = c.grad_factor * g;
        if CLAMP {
            // NaN stays, which a clamp may lose.
            let is_nan = (bitcast<vec4<u32>>(g) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
            g = select(clamp(g, vec4(-c.max_value), vec4(c.max_value)), g, is_nan);
        }
        g += c.coupled_decay * theta;
    }
    let first = chunk.moments + quad;
    let second = first + chunk.stride;
    // Loaded once: a driver may go to memory for each mention.
    let old_m = moments[first];
    let old_v = moments[second];
    let m = old_m + c.one_minus_beta1 * (g - old_m);
    // An infinite v stays so, and its element stands still, where inf - inf would make it NaN.
    let is_infinite = bitcast<vec4<u32>>(old_v) == vec4(0x7f800000u);
    let v = select(old_v + c.one_minus_beta2 * (g * g - old_v), old_v, is_infinite);
    moments[first] = m;
    moments[second] = v;

    var root = v;
    if AMSGRAD && c.amsgrad == 1u {
        let largest = second + chunk.stride;
        // By bits, which order numbers from 0 up as integers and put NaN above all: it must stay seen.
        root = bitcast<vec4<f32>>(max(bitcast<vec4<u32>>(v), bitcast<vec4<u32>>(moments[largest])));
        moments[largest] = root;
    }

    var num = m;
    if INTEGRALS && c.order > 0u {
        if PLANES == 0u {
            for (var j = 0u; j < c.order; j += 1u) {
                num = integrate(chunk, c, quad, j, num);
            }
        } else {
            num = integrate(chunk, c, quad, 0u, num);
            if PLANES > 1u {
                num = integrate(chunk, c, quad, 1u, num);
            }
            if PLANES > 2u {
                num = integrate(chunk, c, quad, 2u, num);
            }
        }
    }

    let denominator = sqrt(root) * c.root_scale + c.eps;
    var update = c.step_size * (num / denominator);
    if ADJUST {
        update += c.decay * theta;
    }
    let next = theta - update;
    if MASTER {
        moments[master] = next;
    }
    store_param(chunk, quad, next, c.step);
    if ZERO {
        store_grad(chunk, quad, vec4(0.0));
    }
}

// s⁽ʲ⁺¹⁾, from s⁽ʲ⁾ in `num`.
fn integrate(chunk: Chunk, c: Coefs, quad: u32, j: u32, num: vec4<f32>) -> vec4<f32> {
    let plane = chunk.integrals + j * chunk.stride + quad;
    let s = integrals[plane];
    let next = num + (s - c.one_minus_kappa * s);
    integrals[plane] = next;
    return next;
}
