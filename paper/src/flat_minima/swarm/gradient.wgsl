// The gradients of both landscapes at many points. Their twins are in landscapes.rs.
//
// waves:  u = x + y²;  ∂L/∂x = 2x + 5·cos u,  ∂L/∂y = 2y + 10·y·cos u
// wells:  e_c = exp(-|θ - c|²/(2·w_c²));  ∇L = B·θ + Σ_c e_c/w_c²·(θ - c)

@group(0) @binding(0) var<storage, read_write> points: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> gradients: array<vec2<f32>>;

override IS_WAVES: bool;
override BOWL: f32;
override SPACING: f32;
override REACH: i32;
override WIDE: f32;
override NARROW: f32;

const TAU = 6.283185307179586;

// WGSL promises nothing of cos beyond ±π.
fn cosine(u: f32) -> f32 {
    return cos(u - TAU * round(u / TAU));
}

fn waves(p: vec2<f32>) -> vec2<f32> {
    let c = cosine(p.x + p.y * p.y);
    return vec2(2.0 * p.x + 5.0 * c, 2.0 * p.y + 10.0 * p.y * c);
}

fn wells(p: vec2<f32>) -> vec2<f32> {
    var sum = BOWL * p;
    for (var i = -REACH; i <= REACH; i += 1) {
        for (var j = -REACH; j <= REACH; j += 1) {
            let d = p - SPACING * vec2(f32(i), f32(j));
            let width = select(WIDE, NARROW, ((i + j) & 1) != 0);
            let sharpness = 1.0 / (width * width);
            let e = exp(-dot(d, d) * sharpness / 2.0);
            sum += e * sharpness * d;
        }
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= arrayLength(&points) {
        return;
    }
    let p = points[id.x];
    if IS_WAVES {
        gradients[id.x] = waves(p);
    } else {
        gradients[id.x] = wells(p);
    }
}
