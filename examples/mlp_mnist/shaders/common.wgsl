// The bindings that all kernels share. The bindings of weights (3) and gradients (7) are in a file for each type. Rows of
// every matrix are padded to whole vec4s ("quads") with zeros, which the kernels keep zero, so that nothing needs to know
// where a row really ends.

// Hidden units, padded to a multiple of 8, in quads.
override QUADS: u32;
// Whether gradients are added to those that are there.
override ADD: bool;

const IMAGE = 49u; // an image's 784 pixels, 16 to a vec4<u32>
const PIXEL = 1.0 / 255.0; // what a pixel's byte counts for
const CLASS_QUADS = 3u; // the ten classes and two zeros

// Where the tensors start in `params` and `grads`, in rows of QUADS.
const W1 = 0u; // 784 rows
const B1 = 784u; // 1 row
const W2 = 785u; // 10 rows, one per class
const B2 = 795u; // CLASS_QUADS, not a row

struct Batch {
    first: u32, // its first entry in `samples`, a multiple of 8
    len: u32,
}

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> images: array<vec4<u32>>;
// 16 · image + label; each batch is padded to a multiple of 8.
@group(0) @binding(2) var<storage, read> samples: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> hidden: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> dhidden: array<vec4<f32>>;
// For each row of a batch: loss and correct answers since they were last cleared.
@group(0) @binding(8) var<storage, read_write> totals: array<vec2<f32>>;
// The factor on the loss whose gradients are computed.
@group(0) @binding(9) var<uniform> loss_scale: f32;

// Four columns of a row of W2.
fn class_weights(digit: u32, column: u32) -> vec4<f32> {
    return param((W2 + digit) * QUADS + column);
}

fn store_gradient(i: u32, gradient: vec4<f32>) {
    if ADD {
        write_grad(i, grad(i) + gradient);
    } else {
        write_grad(i, gradient);
    }
}

// Where the images of batch rows row..row+4 start. `row` is a multiple of 4.
fn image_starts(row: u32) -> vec4<u32> {
    return (samples[(batch.first + row) / 4u] >> vec4(4u)) * IMAGE;
}

// Four pixels as numbers from 0 to 255. By way of signed integers, whose conversion is one instruction on any CPU.
fn unpack(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>((vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(0xffu)));
}

// Four pixels of four images, an image a column.
fn pixels(a: u32, b: u32, c: u32, d: u32) -> mat4x4<f32> {
    return mat4x4(unpack(a), unpack(b), unpack(c), unpack(d));
}
