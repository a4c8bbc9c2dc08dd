// ACCESS where parameters, gradients or both are in half precision. WORDS is the file that reaches their words.

#import shared/chunk.wgsl
#import shared/draw.wgsl
#import shared/half.wgsl
#import WORDS

// The types of the elements, each one of the numbers below.
override PARAM_DTYPE: u32 = 0u;
override GRAD_DTYPE: u32 = 0u;
// True if a bf16 parameter is rounded at random.
override STOCHASTIC: bool = false;

const F32 = 0u;
const F16 = 1u;
const BF16 = 2u;

fn load_param(chunk: Chunk, quad: u32) -> vec4<f32> {
    return load(chunk, PARAM, PARAM_DTYPE, chunk.param, quad);
}

fn load_grad(chunk: Chunk, quad: u32) -> vec4<f32> {
    return load(chunk, GRAD, GRAD_DTYPE, chunk.grad, quad);
}

// Gives what is stored, or the value itself, if that is kept in a master copy. Stochastic rounding draws by the step and by
// the quad's number in its tensor, whatever chunk the quad is in.
fn store_param(chunk: Chunk, quad: u32, value: vec4<f32>, step: u32) -> vec4<f32> {
    if STOCHASTIC {
        let random = draw(draw_key(chunk, step), 2u * (chunk.first + quad));
        let words = pack_bf16_stochastic(value, random.xy);
        store_half(chunk, PARAM, chunk.param, quad, words);
        return unpack_bf16(words);
    }
    store(chunk, PARAM, PARAM_DTYPE, chunk.param, quad, value);
    return value;
}

fn store_grad(chunk: Chunk, quad: u32, value: vec4<f32>) {
    store(chunk, GRAD, GRAD_DTYPE, chunk.grad, quad, value);
}

// The value that a parameter has once it is rounded to its type.
fn rounded_param(value: vec4<f32>) -> vec4<f32> {
    if PARAM_DTYPE == F16 {
        return unpack_f16(pack_f16(value));
    }
    return unpack_bf16(pack_bf16(value));
}

fn load(chunk: Chunk, role: u32, dtype: u32, start: u32, quad: u32) -> vec4<f32> {
    if dtype == F32 {
        return load_single(chunk, role, start, quad);
    }
    let words = load_half(chunk, role, start, quad);
    if dtype == F16 {
        return unpack_f16(words);
    }
    return unpack_bf16(words);
}

fn store(chunk: Chunk, role: u32, dtype: u32, start: u32, quad: u32, value: vec4<f32>) {
    if dtype == F32 {
        store_single(chunk, role, start, quad, value);
    } else if dtype == F16 {
        store_half(chunk, role, start, quad, pack_f16(value));
    } else {
        store_half(chunk, role, start, quad, pack_bf16(value));
    }
}
