// advance: counts the step, and derives each clock's coefficients from its own count.
//
//     t    <- t + 1, unless the clock rests            Algorithm 1, line 2
//     α_t  <- scale(α, n) if t < ζ, else α             lines 11 and 14
//     step_size  = α_t / (1 - β1ᵗ)                     lines 12, 15 and 18; α / S_n(t) under an exact gain
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
#import shared/u64.wgsl
#import shared/gain.wgsl
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
    exact_gain: u32,
    kappa: vec2<u32>,
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
// clock_words for each clock: a quad with its t, one with its averagings, and one for each of its gains.
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
    var step_size = alpha / to_f32(~power1);
    if integrating && groups[g].order > 0u && !verdict.skip {
        let gain = advance_gains(word, g, first_gain(~power1));
        if groups[g].exact_gain == 1u {
            step_size = divide(alpha, gain);
        }
    }
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
        coefs[clock].average_rate = average_rate(g, word + 4u);
    }
    coefs[clock].step = t;
}

// S_n, after S_1 to S_n have taken a step. They are kept under every step scale, so that it may change.
fn advance_gains(word: u32, g: u32, s0: Gain) -> Gain {
    var gain = s0;
    for (var j = 1u; j <= groups[g].order; j += 1u) {
        let at = word + 4u + 4u * j;
        let before = Gain(clocks[at], clocks[at + 1u], bitcast<i32>(clocks[at + 2u]));
        gain = advance_gain(before, groups[g].kappa, gain);
        clocks[at] = gain.high;
        clocks[at + 1u] = gain.low;
        clocks[at + 2u] = bitcast<u32>(gain.exponent);
    }
    return gain;
}

// A power of two, up to 1, that can be multiplied with step size, root_scale and ε alike, as the update has the first times
// num over the others. It brings a step size below 1, so that the quotient is in the normal range where the update is. It
// keeps in that range ε, and the root of any second moment that is in it and shows beside ε.
fn shared_unit(step_size: f32, eps: f32) -> f32 {
    let size = widen(eps, 0).exponent;
    let room = select(63, max(min(63, size + 126), min(126, size + 102)), eps > 0.0);
    return power_of_two(-clamp(widen(step_size, 1).exponent, 0, room));
}

// It says whether the weights after step t are averaged.
fn is_averaged(g: u32, t: u32) -> bool {
    let first = groups[g].average_from;
    let every = groups[g].average_every;
    return every > 0u && t >= first && (t - first) % every == 0u;
}

// Counts an averaging, in the clock's second quad. Gives the rate at which the average takes the weights in: 1 where it
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

// A 0.64 fixed-point number, which is above 0 where the step is taken (a first step that is skipped has t = 0, and
// nothing reads its coefficients), rounded to nearest even.
fn to_f32(fixed: vec2<u32>) -> f32 {
    let shift = leading_zeros(fixed);
    let normalized = shift_left(fixed, shift);
    let mantissa = normalized.x >> 8u;
    // The 40 bits below the mantissa, against half of its last bit.
    let rest = normalized.x & 0xffu;
    let above_half = rest > 0x80u || (rest == 0x80u && normalized.y > 0u);
    let tie_to_odd = rest == 0x80u && normalized.y == 0u && (mantissa & 1u) == 1u;
    // The mantissa's leading 1 adds 1 to the exponent field, a carry out of rounding another.
    return bitcast<f32>(((125u - shift) << 23u) + mantissa + u32(above_half || tie_to_odd));
}
