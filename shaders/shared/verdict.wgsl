// verdict: what becomes of the gradients of a step, from what measure.wgsl found in them.
//
//     norm   = |factor / scale| · √(Σ g²)
//     factor <- factor / scale · min(1, max_norm / (norm + 1e-6))      torch.nn.utils.clip_grad_norm_
//     scale  <- scale · backoff_factor after a gradient that is not finite,
//               scale · growth_factor after growth_interval steps in a row without one      torch.amp.GradScaler
//
// Twin of src/math/verdict.rs, where the norm is one f64.

#import shared/workgroup.wgsl
#import shared/partial.wgsl

// Whether the gradients have been measured.
override MEASURE: bool = false;

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

struct Scaler {
    scale: f32,
    good_steps: u32,
    @size(8) padding: u32,
}

// √(Σ g²) is root · unit, which may be past the range of f32 as long as the loss scale is in it.
struct Found {
    root: f32,
    unit: f32,
    largest: u32,
}

struct Verdict {
    skip: bool,
    factor: f32,
    // As bits, since it may be infinite or NaN.
    norm: u32,
}

@group(0) @binding(4) var<storage, read> partials: array<Partial>;
@group(0) @binding(5) var<storage, read_write> scaler: Scaler;

const INFINITE = 0x7f800000u;

fn find(lane: u32) -> Found {
    var own = Partial();
    for (var at = lane; at < arrayLength(&partials); at += WORKGROUP_SIZE) {
        own = combine(own, partials[at]);
    }
    let all = gather(lane, own);
    // Squares below 2¹²⁰ are far from infinity, which a compiler may assume away: again by bits.
    if bitcast<u32>(all.squares) < 0x7b800000u {
        return Found(sqrt(all.squares), 1.0, all.largest);
    }
    return Found(sqrt(all.small_squares), 0x1p80, all.largest);
}

fn judge(settings: GradSettings, found: Found) -> Verdict {
    var factor = settings.factor;
    if settings.growth_interval > 0u {
        factor *= reciprocal(scaler.scale);
    }
    if !MEASURE {
        return Verdict(false, factor, 0u);
    }
    let finite = found.largest < INFINITE;
    let norm = select(found.largest, bitcast<u32>(found.root * abs(factor) * found.unit), finite);
    if settings.clips == 1u {
        factor = clip(settings.max_norm, norm, factor);
    }
    return Verdict(settings.skips == 1u && !finite, factor, norm);
}

// factor · min(1, max_norm / (norm + 1e-6)); NaN of NaN, 0 of infinity, and 0 where the ratio would be subnormal.
fn clip(max_norm: f32, norm: u32, factor: f32) -> f32 {
    let ratio = max_norm / (bitcast<f32>(norm) + 1e-6);
    let is_normal = norm < INFINITE && ratio >= 0x1p-126;
    return bitcast<f32>(select(
        select(0u, norm, norm > INFINITE),
        bitcast<u32>(factor * min(ratio, 1.0)),
        is_normal,
    ));
}

// 1/x, exact for a power of two also where division is not.
fn reciprocal(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    return select(1.0 / x, bitcast<f32>(0x7f000000u - bits), (bits & 0x007fffffu) == 0u);
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
