//! The network on the CPU: faer's matrix products, and plain loops for all that is element by element.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::data::Samples;
use super::network::{CLASSES, INPUTS, Score, Weights};

/// Weights, gradients, and the rows of the current batch; the vectors keep their memory from batch to batch.
pub struct Network {
    pub weights: Weights,
    pub grads: Weights,
    /// The factor on the loss whose gradients [`backward`](Self::backward) computes.
    pub loss_scale: f32,
    /// Whether gradients are added to those that are there.
    pub accum: Accum,
    x: Vec<f32>,
    h: Vec<f32>,
    z: Vec<f32>,
    dz: Vec<f32>,
    dh: Vec<f32>,
}

impl Network {
    pub fn new(weights: Weights) -> Self {
        let grads = Weights::zeros(weights.hidden());
        let (loss_scale, accum) = (1.0, Accum::Replace);
        Self { weights, grads, loss_scale, accum, x: vec![], h: vec![], z: vec![], dz: vec![], dh: vec![] }
    }

    /// Sums over the batch, not means. Leaves behind what [`backward`](Self::backward) needs.
    pub fn forward(&mut self, samples: &Samples, batch: &[u32]) -> Score {
        let (rows, hidden) = (batch.len(), self.weights.hidden());
        self.gather(samples, batch);
        self.h.resize(rows * hidden, 0.0);
        self.z.resize(rows * CLASSES, 0.0);
        self.dz.resize(rows * CLASSES, 0.0);

        product(&mut self.h, Accum::Replace, view(&self.x, INPUTS), view(&self.weights.w1, hidden));
        for row in self.h.chunks_exact_mut(hidden) {
            for (h, b) in row.iter_mut().zip(&self.weights.b1) {
                *h = (*h + b).max(0.0);
            }
        }
        product(&mut self.z, Accum::Replace, view(&self.h, hidden), view(&self.weights.w2, hidden).transpose());

        let mut total = Score::default();
        let logits = self.z.chunks_exact_mut(CLASSES);
        for ((z, dz), &sample) in logits.zip(self.dz.chunks_exact_mut(CLASSES)).zip(batch) {
            for (z, b) in z.iter_mut().zip(&self.weights.b2) {
                *z += b;
            }
            let label = usize::from(samples.labels[sample as usize]);
            total.add(classify(z, label, dz, self.loss_scale / rows as f32));
        }
        total
    }

    /// The batch's pixels as numbers from 0 to 1.
    fn gather(&mut self, samples: &Samples, batch: &[u32]) {
        self.x.resize(batch.len() * INPUTS, 0.0);
        for (row, &sample) in self.x.chunks_exact_mut(INPUTS).zip(batch) {
            let image = &samples.images[sample as usize * INPUTS..][..INPUTS];
            for (x, &pixel) in row.iter_mut().zip(image) {
                *x = f32::from(pixel) * (1.0 / 255.0);
            }
        }
    }

    /// The gradients of the mean loss over the last batch given to [`forward`](Self::forward).
    pub fn backward(&mut self) {
        let hidden = self.weights.hidden();
        self.dh.resize(self.h.len(), 0.0);
        let dz = view(&self.dz, CLASSES);

        product(&mut self.grads.w2, self.accum, dz.transpose(), view(&self.h, hidden));
        sum_rows(&mut self.grads.b2, self.accum, &self.dz);
        product(&mut self.dh, Accum::Replace, dz, view(&self.weights.w2, hidden));
        for (dh, &h) in self.dh.iter_mut().zip(&self.h) {
            *dh = if h > 0.0 { *dh } else { 0.0 };
        }
        product(&mut self.grads.w1, self.accum, view(&self.x, INPUTS).transpose(), view(&self.dh, hidden));
        sum_rows(&mut self.grads.b1, self.accum, &self.dh);
    }
}

/// dz = scale·(softmax(z) - onehot(label)), and this sample's score.
fn classify(z: &[f32], label: usize, dz: &mut [f32], scale: f32) -> Score {
    let largest = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (p, z) in dz.iter_mut().zip(z) {
        *p = (z - largest).exp();
        sum += *p;
    }
    for p in &mut *dz {
        *p *= scale / sum;
    }
    dz[label] -= scale;
    // The first of equal logits wins, as in argmax.
    let correct = z.iter().position(|&z| z == largest) == Some(label);
    Score { loss: f64::from(sum.ln() + largest - z[label]), accuracy: f64::from(u8::from(correct)) }
}

/// A row-major matrix.
fn view(values: &[f32], columns: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(values, values.len() / columns, columns)
}

/// out = left·right, or out += left·right. The threads share the rows of `out`. Each element is one sum, whoever computes
/// it, so the result does not depend on the number of threads. faer's own threads wait for one another by
/// spinning, which costs many times the work when another program wants the cores.
fn product(out: &mut [f32], accum: Accum, left: MatRef<'_, f32>, right: MatRef<'_, f32>) {
    let columns = right.ncols();
    let block = left.nrows().div_ceil(rayon::current_num_threads()).next_multiple_of(16);
    out.par_chunks_mut(block * columns).enumerate().for_each(|(index, out)| {
        let rows = out.len() / columns;
        let left = left.subrows(index * block, rows);
        matmul(MatMut::from_row_major_slice_mut(out, rows, columns), accum, left, right, 1.0, Par::Seq);
    });
}

fn sum_rows(out: &mut [f32], accum: Accum, rows: &[f32]) {
    if accum == Accum::Replace {
        out.fill(0.0);
    }
    for row in rows.chunks_exact(out.len()) {
        for (sum, value) in out.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::Data;
    use super::super::random::Random;
    use super::*;

    /// The mean loss in f64, straight from the equations of [`network`](super::super::network).
    fn loss(weights: &Weights, samples: &Samples, batch: &[u32]) -> f64 {
        let hidden = weights.hidden();
        let [w1, b1, w2, b2] =
            weights.tensors().map(|tensor| tensor.iter().copied().map(f64::from).collect::<Vec<_>>());
        let sample_loss = |&sample: &u32| {
            let image = &samples.images[sample as usize * INPUTS..][..INPUTS];
            let x: Vec<_> = image.iter().map(|&pixel| f64::from(pixel) / 255.0).collect();
            let h: Vec<_> = (0..hidden)
                .map(|n| ((0..INPUTS).map(|k| x[k] * w1[k * hidden + n]).sum::<f64>() + b1[n]).max(0.0))
                .collect();
            let z: Vec<_> =
                (0..CLASSES).map(|c| (0..hidden).map(|n| h[n] * w2[c * hidden + n]).sum::<f64>() + b2[c]).collect();
            z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[usize::from(samples.labels[sample as usize])]
        };
        batch.iter().map(sample_loss).sum::<f64>() / batch.len() as f64
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        let data = Data::built_in().unwrap();
        let batch = [3, 14, 15, 92, 65];
        let mut network = Network::new(Weights::random(6, &mut Random::new(0, 2)));
        let score = network.forward(&data.train, &batch);
        network.backward();

        let expected = loss(&network.weights, &data.train, &batch);
        // Sums of 784 products in f32.
        assert!((score.loss / batch.len() as f64 - expected).abs() < 1e-5 * expected, "{score:?}, not {expected}");
        let mut random = Random::new(0, 3);
        for tensor in 0..4 {
            for _ in 0..40 {
                let len = network.grads.tensors()[tensor].len();
                let element = random.below(len);
                let loss_at = |step: f32| {
                    let mut weights = network.weights.clone();
                    let weight = &mut weights.tensors_mut()[tensor][element];
                    *weight += step;
                    let exact = f64::from(*weight);
                    (exact, loss(&weights, &data.train, &batch))
                };
                let ((low, below), (high, above)) = (loss_at(-1e-3), loss_at(1e-3));
                let slope = (above - below) / (high - low);
                let found = f64::from(network.grads.tensors()[tensor][element]);
                // The third derivative times the step squared, and f32 sums.
                assert!((found - slope).abs() < 1e-5, "{}[{element}]: {found}, not {slope}", Weights::NAMES[tensor]);
            }
        }
    }
}
