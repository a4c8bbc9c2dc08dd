// advance: counts the step, and derives each clock's coefficients from its own count.
//
//     t    <- t + 1, unless the clock rests            Algorithm 1, line 2
//     α_t  <- scale(α, n) if t < ζ, else α             lines 11 and 14
//     step_size  = α_t / (1 - β1ᵗ)                     lines 12, 15 and 18
//     root_scale = 1 / √(1 - β2ᵗ)                      lines 17 and 18
//
// A step size above 1 leaves its power of two to root_scale and ε: see `shared_unit`.
//
// βᵗ is the product of the β^(2^k) whose bit k is set in t. It is held in 0.64 fixed point, as (high, low) words: integers
// are exact on every backend, where `pow` in f32 is off by 1e-4 in 1 - 0.999ᵗ at t = 1.
//
// Parameters that have always been stepped together share a clock: their count of steps. A clock rests at a step that leaves
// its parameters out.
//
// Twin of src/math/advance.rs, but for the words.

#import shared/workgroup.wgsl
#import shared/coefs.wgsl
#import shared/progress.wgsl
#import shared/words.wgsl
#import shared/verdict.wgsl
#import shared/wide.wgsl

struct Group {
    beta1_powers: array<vec2<u32>, 32>,
    beta2_powers: array<vec2<u32>, 32>,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    one_minus_kappa: f32,
    eps: f32,
    coupled_decay: f32,
    cautious: u32,
    grad_sign: f32,
    order: u32,
    switch_step: u32,
    amsgrad: u32,
    average_least: f32,
    average_over: f32,
    average_under: f32,
    average_from: u32,
    average_every: u32,
    padding: u32,
}

struct Tick {
    integrating: f32,
    adam: f32,
    decay: f32,
    group: u32,
}

struct Recorded {
    settings: GradSettings,
    generation: u32,
    clock_words: u32,
    ticks: array<Tick>,
}

// The group of a clock that rests.
const RESTING = 0xffffffffu;

@group(0) @binding(0) var<storage, read> groups: array<Group>;
@group(0) @binding(1) var<storage, read> recorded: Recorded;
@group(0) @binding(2) var<storage, read_write> progress: Progress;
@group(0) @binding(3) var<storage, read_write> coefs: array<Coefs>;
// clock_words for each clock: its t, then its averagings.
@group(0) @binding(6) var<storage, read_write> clocks: array<u32>;

// One workgroup for all clocks, so that a barrier can keep the writes of what is counted behind every read.
@compute @workgroup_size(WORKGROUP_SIZE)
fn advance(@builtin(local_invocation_index) lane: u32) {
    var found = Found();
    if MEASURE {
        found = find(lane);
    }
    let verdict = judge(recorded.settings, found);
    for (var clock = lane; clock < arrayLength(&recorded.ticks); clock += WORKGROUP_SIZE) {
        if recorded.ticks[clock].group != RESTING {
            advance_clock(clock, verdict);
        }
    }
    storageBarrier();
    if lane == 0u {
        progress.step = count(progress.step, verdict);
        progress.generation = recorded.generation;
        if MEASURE || FOLLOW {
            progress.skipped += u32(verdict.skip && progress.skipped != 0xffffffffu);
            progress.norm = verdict.norm;
        }
        if MEASURE && recorded.settings.growth_interval > 0u {
            update_scaler(recorded.settings, found);
        }
        if !FOLLOW {
            tell(verdict);
        }
    }
}

// Saturates: t stays right for 2³² - 1 steps.
fn count(t: u32, verdict: Verdict) -> u32 {
    return t + select(1u, 0u, verdict.skip || t == 0xffffffffu);
}

fn advance_clock(clock: u32, verdict: Verdict) {
    let tick = recorded.ticks[clock];
    let g = tick.group;
    let word = clock * recorded.clock_words;
    let t = count(clocks[word], verdict);
    clocks[word] = t;
    let integrating = t < groups[g].switch_step;
    let alpha = select(tick.adam, tick.integrating, integrating);
    var power1 = vec2(0xffffffffu);
    var power2 = vec2(0xffffffffu);
    for (var bit = 0u; bit < 32u; bit += 1u) {
        if ((t >> bit) & 1u) == 1u {
            power1 = multiply(power1, groups[g].beta1_powers[bit]);
            power2 = multiply(power2, groups[g].beta2_powers[bit]);
        }
    }
    coefs[clock].one_minus_beta1 = groups[g].one_minus_beta1;
    coefs[clock].one_minus_beta2 = groups[g].one_minus_beta2;
    coefs[clock].one_minus_kappa = groups[g].one_minus_kappa;
    coefs[clock].coupled_decay = groups[g].coupled_decay;
    coefs[clock].grad_factor = groups[g].grad_sign * verdict.factors.x;
    coefs[clock].grad_unit = verdict.factors.y;
    // Products round down, so the one's complement is as near as the two's, and is never 0.
    let step_size = alpha / to_f32(~power1);
    let unit = shared_unit(step_size, groups[g].eps);
    coefs[clock].eps = groups[g].eps * unit;
    coefs[clock].step_size = step_size * unit;
    coefs[clock].root_scale = 1.0 / sqrt(to_f32(~power2)) * unit;
    coefs[clock].decay = tick.decay;
    coefs[clock].cautious = groups[g].cautious;
    coefs[clock].order = select(0u, groups[g].order, integrating);
    coefs[clock].amsgrad = groups[g].amsgrad;
    coefs[clock].max_value = recorded.settings.max_value;
    coefs[clock].skip = u32(verdict.skip);
    coefs[clock].average_rate = 0.0;
    if is_averaged(g, t) && !verdict.skip {
        coefs[clock].average_rate = average_rate(g, word + 1u);
    }
    coefs[clock].step = t;
}

// A power of two, up to 1, that can be multiplied with step size, root_scale and ε alike, as the update has the first times
// num over the others. It brings a step size below 1, so that the quotient is in the normal range where the update is. It
// keeps in that range ε, and the root of any second moment that is in it and shows beside ε.
fn shared_unit(step_size: f32, eps: f32) -> f32 {
    let size = widen(eps, 0).exponent;
    let room = select(63, max(min(63, size + 126), min(126, size + 102)), eps > 0.0);
    return power_of_two(-clamp(widen(step_size, 1).exponent, 0, room));
}

// Whether the weights after step t are averaged.
fn is_averaged(g: u32, t: u32) -> bool {
    let first = groups[g].average_from;
    let every = groups[g].average_every;
    return every > 0u && t >= first && (t - first) % every == 0u;
}

// Counts an averaging, in the clock's second word. Gives the rate at which the average takes the weights in: 1 where it
// becomes a copy.
fn average_rate(g: u32, word: u32) -> f32 {
    let before = clocks[word];
    clocks[word] = before + u32(before != 0xffffffffu);
    // A device may give the quotient 1/1 another last bit.
    if before == 0u {
        return 1.0;
    }
    return max(groups[g].average_least, groups[g].average_over / (groups[g].average_under + f32(before)));
}

// The product of two 0.64 fixed-point numbers, rounded down.
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

// A 0.64 fixed-point number, which is above 0 where the step is taken (a first step that is skipped has t = 0, and
// nothing reads its coefficients), rounded to nearest even.
fn to_f32(fixed: vec2<u32>) -> f32 {
    let shift = select(countLeadingZeros(fixed.x), 32u + countLeadingZeros(fixed.y), fixed.x == 0u);
    let normalized = shift_left(fixed, shift);
    let mantissa = normalized.x >> 8u;
    // The 40 bits below the mantissa, against half of its last bit.
    let rest = normalized.x & 0xffu;
    let above_half = rest > 0x80u || (rest == 0x80u && normalized.y > 0u);
    let tie_to_odd = rest == 0x80u && normalized.y == 0u && (mantissa & 1u) == 1u;
    // The mantissa's leading 1 adds 1 to the exponent field, a carry out of rounding another.
    return bitcast<f32>(((125u - shift) << 23u) + mantissa + u32(above_half || tie_to_odd));
}

fn shift_left(a: vec2<u32>, shift: u32) -> vec2<u32> {
    if shift >= 32u {
        return vec2(a.y << (shift - 32u), 0u);
    }
    // Twice, since a shift by 32 is not defined.
    return vec2((a.x << shift) | ((a.y >> 1u) >> (31u - shift)), a.y << shift);
}
