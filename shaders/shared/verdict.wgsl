// verdict: what becomes of the gradients of a step, from what measure.wgsl found in them.
//
//     norm   = factor / scale · √(Σ g²)
//     factor <- factor / scale · min(1, max_norm / (norm + 1e-6))      torch.nn.utils.clip_grad_norm_
//     scale  <- scale · backoff_factor after a gradient that is not finite,
//               scale · growth_factor after growth_interval steps in a row without one      torch.amp.GradScaler
//
// A loss scale may be anywhere in the range of f32, and gradients with it: factors and norm are wide.
//
// A step that follows another optimizer's takes that one's verdict, by which the scaler is the leader's, and is only read.
//
// Twin of src/math/verdict.rs, where the norm is an f64.

#import shared/workgroup.wgsl
#import shared/partial.wgsl
#import shared/wide.wgsl

// True if the gradients have been measured.
override MEASURE: bool = false;
// True if the verdict is another optimizer's.
override FOLLOW: bool = false;

struct GradSettings {
    factor: f32,
    clips: u32,
    max_norm: f32,
    max_value: f32,
    skips: u32,
    growth_interval: u32,
    growth_factor: f32,
    backoff_factor: f32,
}

// src/abi/structs.rs describes each field.
struct Scaler {
    scale: f32,
    good_steps: u32,
    skip: u32,
    padding: u32,
    factor: f32,
    unit: f32,
    norm: u32,
    tail: u32,
}

struct Found {
    // √(Σ g²)
    norm: Wide,
    largest: u32,
}

struct Verdict {
    skip: bool,
    // Every gradient is multiplied by the first, then by the second.
    factors: vec2<f32>,
    // As bits, since it may be infinite or NaN.
    norm: u32,
}

@group(0) @binding(4) var<storage, read> partials: array<Partial>;
@group(0) @binding(5) var<storage, read_write> scaler: Scaler;

const INFINITE = 0x7f800000u;
const ONE_AS_BITS = 0x3f800000u;

fn find(lane: u32) -> Found {
    var own = Partial();
    for (var at = lane; at < arrayLength(&partials); at += WORKGROUP_SIZE) {
        own = combine(own, partials[at]);
    }
    let all = gather(lane, own);
    if all.largest <= LITTLE {
        return Found(widen(sqrt(all.large_squares), -80), all.largest);
    }
    // Squares below 2¹²⁰ are far from infinity, which a compiler may assume away: again by bits.
    if bitcast<u32>(all.squares) < 0x7b800000u {
        return Found(widen(sqrt(all.squares), 0), all.largest);
    }
    return Found(widen(sqrt(all.small_squares), 80), all.largest);
}

fn judge(settings: GradSettings, found: Found) -> Verdict {
    if FOLLOW {
        return told();
    }
    var factor = widen(settings.factor, 0);
    if settings.growth_interval > 0u {
        factor = product(factor, reciprocal(widen(scaler.scale, 0)));
    }
    if !MEASURE {
        return Verdict(false, factors(factor), 0u);
    }
    let finite = found.largest < INFINITE;
    let norm = product(found.norm, factor);
    let norm_bits = select(found.largest, bitcast<u32>(narrow(norm)), finite);
    var both = factors(factor);
    if settings.clips == 1u {
        // NaN of NaN, and 0 of infinity.
        let poison = vec2(select(0u, found.largest, found.largest > INFINITE), ONE_AS_BITS);
        let clipped = bitcast<vec2<u32>>(factors(clip(settings.max_norm, norm, factor)));
        both = bitcast<vec2<f32>>(select(poison, clipped, finite));
    }
    return Verdict(settings.skips == 1u && !finite, both, norm_bits);
}

// The verdict that the last step has told.
fn told() -> Verdict {
    return Verdict(scaler.skip == 1u, vec2(scaler.factor, scaler.unit), scaler.norm);
}

// Tells it to the kernels that come after the step.
fn tell(verdict: Verdict) {
    scaler.skip = u32(verdict.skip);
    scaler.factor = verdict.factors.x;
    scaler.unit = verdict.factors.y;
    scaler.norm = verdict.norm;
}

// factor · min(1, max_norm / (norm + 1e-6))
fn clip(max_norm: f32, norm: Wide, factor: Wide) -> Wide {
    var divisor = norm;
    // Beside a larger one, 1e-6 does not show.
    if norm.exponent < 64 {
        divisor = widen(narrow(norm) + 1e-6, 0);
    }
    let ratio = quotient(widen(max_norm, 0), divisor);
    if ratio.exponent >= 0 {
        return factor;
    }
    return product(factor, ratio);
}

// 1/x, exact for a power of two also where division is not.
fn reciprocal(x: Wide) -> Wide {
    return widen(select(1.0 / x.mantissa, 1.0, x.mantissa == 1.0), -x.exponent);
}

fn update_scaler(settings: GradSettings, found: Found) {
    var next = scaler.scale;
    if found.largest >= INFINITE {
        next *= settings.backoff_factor;
        scaler.good_steps = 0u;
    } else if scaler.good_steps >= settings.growth_interval - 1u {
        next *= settings.growth_factor;
        scaler.good_steps = 0u;
    } else {
        scaler.good_steps += 1u;
    }
    // Past either end of the normal range it stays where it is. As bits: it may be infinite.
    if bitcast<u32>(next) >= 0x00800000u && bitcast<u32>(next) <= 0x7e800000u {
        scaler.scale = next;
    }
}
