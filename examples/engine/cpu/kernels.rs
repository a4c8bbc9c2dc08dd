//! The kernels of shaders/, loop for loop. The shaders have the equations; here `inputs` and `outputs` are their tensors in the order
//! of their bindings.

use faer::linalg::matmul::matmul as product;
use faer::{Accum, MatMut, MatRef, Par};

use super::Slice;
use crate::device::Kernel;

const EPSILON: f32 = 1e-5;

pub fn run(kernel: Kernel, tensors: &[&Slice], shape: [usize; 4]) {
    let outputs = if matches!(kernel, Kernel::Attend | Kernel::CrossEntropy | Kernel::Norm) { 2 } else { 1 };
    let (inputs, outputs) = tensors.split_at(tensors.len() - outputs);
    let inputs: Vec<_> = inputs.iter().map(|tensor| tensor.borrow()).collect();
    let mut outputs: Vec<_> = outputs.iter().map(|tensor| tensor.borrow_mut()).collect();
    let inputs: Vec<_> = inputs.iter().map(|tensor| &tensor[..]).collect();
    let mut outputs: Vec<_> = outputs.iter_mut().map(|tensor| &mut tensor[..]).collect();
    match (kernel, &inputs[..], &mut outputs[..]) {
        (Kernel::Add, [a, b], [out]) => add(a, b, out),
        (Kernel::Attend, [qkv], [weights, out]) => attend(qkv, weights, out, shape),
        (Kernel::AttendBackward, [qkv, weights, dscores, dout], [dqkv]) => {
            attend_backward(qkv, [weights, dscores], dout, dqkv, shape);
        }
        (Kernel::AttendScores, [qkv, weights, dout], [dscores]) => attend_scores(qkv, weights, dout, dscores, shape),
        (Kernel::CrossEntropy, [logits, targets], [losses, dlogits]) => {
            cross_entropy(logits, targets, losses, dlogits, shape);
        }
        (Kernel::Embed, [ids, table], [out]) => embed(ids, table, out, shape),
        (Kernel::EmbedBackward, [ids, dout], [dtable]) => embed_backward(ids, dout, dtable, shape),
        (Kernel::Matmul, [a, b], [out]) => matmul(a, b, out, shape),
        (Kernel::Norm, [x, gain], [scale, out]) => norm(x, gain, scale, out),
        (Kernel::NormBackward, [x, gain, scale, dout], [dx]) => norm_backward(x, gain, scale, dout, dx),
        (Kernel::NormGain, [x, scale, dout], [dgain]) => norm_gain(x, scale, dout, dgain),
        (Kernel::SquareRelu, [x], [out]) => square_relu(x, out),
        (Kernel::SquareReluBackward, [x, dout], [dx]) => square_relu_backward(x, dout, dx),
        (kernel, ..) => unreachable!("{kernel:?} of {} tensors", tensors.len()),
    }
}

fn add(a: &[f32], b: &[f32], out: &mut [f32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a + b;
    }
}

/// In eight sums side by side, for which a processor has instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.into_iter().chain(rest).sum()
}

/// The query (0), the key (1) or the value (2) of a head at a row.
fn part(qkv: &[f32], part: usize, row: usize, head: usize, [_, _, heads, depth]: [usize; 4]) -> &[f32] {
    &qkv[((3 * row + part) * heads + head) * depth..][..depth]
}

/// Sequence, head and t of each row of the weights.
fn places([sequences, context, heads, _]: [usize; 4]) -> impl Iterator<Item = [usize; 3]> {
    (0..sequences * heads * context).map(move |row| [row / context / heads, row / context % heads, row % context])
}

fn attend(qkv: &[f32], weights: &mut [f32], out: &mut [f32], shape: [usize; 4]) {
    let [_, context, heads, depth] = shape;
    for ([sequence, head, t], weights) in places(shape).zip(weights.chunks_exact_mut(context)) {
        let first = sequence * context;
        weights.fill(0.0);
        for (s, weight) in weights[..=t].iter_mut().enumerate() {
            let [query, key] = [(0, t), (1, s)].map(|(kind, row)| part(qkv, kind, first + row, head, shape));
            *weight = dot(query, key) / (depth as f32).sqrt();
        }
        softmax(&mut weights[..=t]);
        let out = &mut out[((first + t) * heads + head) * depth..][..depth];
        out.fill(0.0);
        for (s, weight) in weights[..=t].iter().enumerate() {
            let value = part(qkv, 2, first + s, head, shape);
            out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
        }
    }
}

/// Gives log Σ exp(values), too.
fn softmax(values: &mut [f32]) -> f32 {
    let largest = values.iter().copied().fold(f32::MIN, f32::max);
    values.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let sum: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
    sum.ln() + largest
}

fn attend_scores(qkv: &[f32], weights: &[f32], dout: &[f32], dscores: &mut [f32], shape: [usize; 4]) {
    let [_, context, heads, depth] = shape;
    let rows = weights.chunks_exact(context).zip(dscores.chunks_exact_mut(context));
    for ([sequence, head, t], (weights, dscores)) in places(shape).zip(rows) {
        let first = sequence * context;
        let dout = &dout[((first + t) * heads + head) * depth..][..depth];
        for (s, dscore) in dscores.iter_mut().enumerate() {
            *dscore = if s <= t { dot(dout, part(qkv, 2, first + s, head, shape)) } else { 0.0 };
        }
        let sum = dot(weights, dscores);
        for (dscore, weight) in dscores.iter_mut().zip(weights) {
            *dscore = weight * (*dscore - sum) / (depth as f32).sqrt();
        }
    }
}

fn attend_backward(qkv: &[f32], squares: [&[f32]; 2], dout: &[f32], dqkv: &mut [f32], shape: [usize; 4]) {
    let [_, context, heads, depth] = shape;
    dqkv.fill(0.0);
    for (row, [sequence, head, t]) in places(shape).enumerate() {
        let first = sequence * context;
        let [weights, dscores] = squares.map(|square| &square[row * context..][..context]);
        let dout = &dout[((first + t) * heads + head) * depth..][..depth];
        let mut add = |kind: usize, to: usize, factor: f32, values: &[f32]| {
            let place = ((3 * (first + to) + kind) * heads + head) * depth;
            dqkv[place..][..depth].iter_mut().zip(values).for_each(|(out, value)| *out += factor * value);
        };
        for s in 0..=t {
            add(0, t, dscores[s], part(qkv, 1, first + s, head, shape));
            add(1, s, dscores[s], part(qkv, 0, first + t, head, shape));
            add(2, s, weights[s], dout);
        }
    }
}

fn cross_entropy(logits: &[f32], targets: &[f32], losses: &mut [f32], dlogits: &mut [f32], shape: [usize; 4]) {
    let [rows, columns, ..] = shape;
    dlogits.copy_from_slice(logits);
    for (row, probabilities) in dlogits.chunks_exact_mut(columns).enumerate() {
        let correct = targets[row] as usize;
        let logit = probabilities[correct];
        losses[row] += softmax(probabilities) - logit;
        probabilities[correct] -= 1.0;
        probabilities.iter_mut().for_each(|value| *value /= rows as f32);
    }
}

fn embed(ids: &[f32], table: &[f32], out: &mut [f32], [_, width, ..]: [usize; 4]) {
    for (out, &id) in out.chunks_exact_mut(width).zip(ids) {
        out.copy_from_slice(&table[id as usize * width..][..width]);
    }
}

fn embed_backward(ids: &[f32], dout: &[f32], dtable: &mut [f32], [_, width, ..]: [usize; 4]) {
    dtable.fill(0.0);
    for (dout, &id) in dout.chunks_exact(width).zip(ids) {
        dtable[id as usize * width..][..width].iter_mut().zip(dout).for_each(|(sum, dout)| *sum += dout);
    }
}

fn matmul(a: &[f32], b: &[f32], out: &mut [f32], [rows, columns, inner, transposes]: [usize; 4]) {
    let view = |values, [rows, columns]: [usize; 2], is_transposed| match is_transposed {
        false => MatRef::from_row_major_slice(values, rows, columns),
        true => MatRef::from_row_major_slice(values, columns, rows).transpose(),
    };
    let (a, b) = (view(a, [rows, inner], transposes & 1 > 0), view(b, [inner, columns], transposes & 2 > 0));
    product(MatMut::from_row_major_slice_mut(out, rows, columns), Accum::Replace, a, b, 1.0, Par::Seq);
}

fn norm(x: &[f32], gain: &[f32], scale: &mut [f32], out: &mut [f32]) {
    let width = gain.len();
    for ((x, out), scale) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(scale) {
        *scale = 1.0 / (dot(x, x) / width as f32 + EPSILON).sqrt();
        for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
            *out = gain * x * *scale;
        }
    }
}

fn norm_backward(x: &[f32], gain: &[f32], scale: &[f32], dout: &[f32], dx: &mut [f32]) {
    let width = gain.len();
    for (row, dx) in dx.chunks_exact_mut(width).enumerate() {
        let [x, dout] = [x, dout].map(|values| &values[row * width..][..width]);
        let sum: f32 = (0..width).map(|c| gain[c] * dout[c] * x[c]).sum();
        let mean = scale[row] * scale[row] * sum / width as f32;
        for (c, dx) in dx.iter_mut().enumerate() {
            *dx = scale[row] * (gain[c] * dout[c] - x[c] * mean);
        }
    }
}

fn norm_gain(x: &[f32], scale: &[f32], dout: &[f32], dgain: &mut [f32]) {
    let width = dgain.len();
    dgain.fill(0.0);
    for ((x, dout), scale) in x.chunks_exact(width).zip(dout.chunks_exact(width)).zip(scale) {
        for ((sum, x), dout) in dgain.iter_mut().zip(x).zip(dout) {
            *sum += dout * x * scale;
        }
    }
}

fn square_relu(x: &[f32], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = x.max(0.0) * x.max(0.0);
    }
}

fn square_relu_backward(x: &[f32], dout: &[f32], dx: &mut [f32]) {
    for ((dx, x), dout) in dx.iter_mut().zip(x).zip(dout) {
        *dx = 2.0 * x.max(0.0) * dout;
    }
}
