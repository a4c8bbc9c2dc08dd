//! Some samples: their forward pass, their gradients, and the products of their Hessian with a vector.
//!
//! ```text
//! a = x·W1 + b1     h = max(a, 0)       z = h·W2ᵀ + b2     p = softmax(z)     loss = -ln p[label]
//! δz = p - onehot   δh = δz·W2          δa = δh∘[a > 0]
//! ∂W2 = δzᵀ·h       ∂b2 = Σ δz          ∂W1 = xᵀ·δa        ∂b1 = Σ δa
//! ```
//!
//! R{f} is the derivative of f along (V1, c1, V2, c2), and R{∂} is the Hessian's product with it (Pearlmutter, "Fast Exact
//! Multiplication by the Hessian", Neural Computation 6, 1994):
//!
//! ```text
//! R{h} = (x·V1 + c1)∘[a > 0]            R{z} = R{h}·W2ᵀ + h·V2ᵀ + c2
//! R{δz} = p∘(R{z} - p·R{z})             R{δa} = (R{δz}·W2 + δz·V2)∘[a > 0]
//! R{∂W2} = R{δz}ᵀ·h + δzᵀ·R{h}          R{∂b2} = Σ R{δz}
//! R{∂W1} = xᵀ·R{δa}                     R{∂b1} = Σ R{δa}
//! ```
//!
//! The second derivative of max(a, 0) is 0 but at a = 0, where there is none. No weights that come out of training are likely
//! to hit that point, so nothing stands for it above.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use miadam_support::mnist::data::Samples;
use miadam_support::mnist::network::{CLASSES, INPUTS};

use super::layout::Parts;

/// What the products need of the forward pass, which all of them share. Pixels stay bytes until they are used.
pub(super) struct Block {
    rows: Vec<u32>,
    h: Vec<f64>,
    p: Vec<f64>,
    /// p - onehot(label).
    dz: Vec<f64>,
    /// The sum over the samples.
    pub loss: f64,
}

impl Block {
    pub fn forward(weights: &Parts<&[f64]>, samples: &Samples, rows: &[u32]) -> Self {
        let hidden = weights.b1.len();
        let x = pixels(samples, rows);
        let mut h = rows_of(weights.b1, rows.len());
        product(&mut h, view(&x, INPUTS), view(weights.w1, hidden));
        for h in &mut h {
            *h = h.max(0.0);
        }
        let mut z = rows_of(weights.b2, rows.len());
        product(&mut z, view(&h, hidden), view(weights.w2, hidden).transpose());

        let (mut p, mut dz, mut loss) = (z.clone(), z.clone(), 0.0);
        let of_rows = z.chunks_exact(CLASSES).zip(p.chunks_exact_mut(CLASSES)).zip(dz.chunks_exact_mut(CLASSES));
        for (((z, p), dz), &row) in of_rows.zip(rows) {
            let label = usize::from(samples.labels[row as usize]);
            loss += softmax(z, p) - z[label];
            dz.copy_from_slice(p);
            dz[label] -= 1.0;
        }
        Self { rows: rows.to_vec(), h, p, dz, loss }
    }

    /// sum += the gradient of these samples' summed loss.
    pub fn add_gradient(&self, weights: &Parts<&[f64]>, samples: &Samples, sum: &mut Parts<&mut [f64]>) {
        let hidden = weights.b1.len();
        let x = pixels(samples, &self.rows);
        let (h, dz) = (view(&self.h, hidden), view(&self.dz, CLASSES));
        let mut da = vec![0.0; self.h.len()];
        product(&mut da, dz, view(weights.w2, hidden));
        self.keep_active(&mut da);

        product(sum.w2, dz.transpose(), h);
        add_rows(sum.b2, &self.dz);
        add_first_layer(sum, &x, &da);
    }

    /// sum += the Hessian of these samples' summed loss · direction.
    pub fn add_product(
        &self,
        weights: &Parts<&[f64]>,
        samples: &Samples,
        direction: &Parts<&[f64]>,
        sum: &mut Parts<&mut [f64]>,
    ) {
        let hidden = weights.b1.len();
        let x = pixels(samples, &self.rows);
        let (h, dz) = (view(&self.h, hidden), view(&self.dz, CLASSES));
        let (w2, v2) = (view(weights.w2, hidden), view(direction.w2, hidden));

        let mut rh = rows_of(direction.b1, self.rows.len());
        product(&mut rh, view(&x, INPUTS), view(direction.w1, hidden));
        self.keep_active(&mut rh);
        let mut rz = rows_of(direction.b2, self.rows.len());
        product(&mut rz, view(&rh, hidden), w2.transpose());
        product(&mut rz, h, v2.transpose());

        let rdz = self.softmax_tangent(rz);
        let mut rda = vec![0.0; self.h.len()];
        product(&mut rda, view(&rdz, CLASSES), w2);
        product(&mut rda, dz, v2);
        self.keep_active(&mut rda);

        product(sum.w2, view(&rdz, CLASSES).transpose(), h);
        product(sum.w2, dz.transpose(), view(&rh, hidden));
        add_rows(sum.b2, &rdz);
        add_first_layer(sum, &x, &rda);
    }

    /// p∘(R{z} - p·R{z}), row by row.
    fn softmax_tangent(&self, mut rz: Vec<f64>) -> Vec<f64> {
        for (p, rz) in self.p.chunks_exact(CLASSES).zip(rz.chunks_exact_mut(CLASSES)) {
            let mean: f64 = p.iter().zip(&*rz).map(|(p, rz)| p * rz).sum();
            for (rz, p) in rz.iter_mut().zip(p) {
                *rz = p * (*rz - mean);
            }
        }
        rz
    }

    /// values∘[a > 0].
    fn keep_active(&self, values: &mut [f64]) {
        for (value, &h) in values.iter_mut().zip(&self.h) {
            *value = if h > 0.0 { *value } else { 0.0 };
        }
    }
}

fn add_first_layer(sum: &mut Parts<&mut [f64]>, x: &[f64], da: &[f64]) {
    product(sum.w1, view(x, INPUTS).transpose(), view(da, sum.b1.len()));
    add_rows(sum.b1, da);
}

/// p = softmax(z). Returns ln Σ exp z.
fn softmax(z: &[f64], p: &mut [f64]) -> f64 {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for (p, z) in p.iter_mut().zip(z) {
        *p = (z - largest).exp();
    }
    let sum: f64 = p.iter().sum();
    for p in p {
        *p /= sum;
    }
    sum.ln() + largest
}

/// The pixels as numbers from 0 to 1.
fn pixels(samples: &Samples, rows: &[u32]) -> Vec<f64> {
    let images = rows.iter().map(|&row| &samples.images[row as usize * INPUTS..][..INPUTS]);
    images.flatten().map(|&pixel| f64::from(pixel) / 255.0).collect()
}

/// A matrix whose rows are all the same.
fn rows_of(row: &[f64], rows: usize) -> Vec<f64> {
    row.repeat(rows)
}

/// A row-major matrix.
fn view(values: &[f64], columns: usize) -> MatRef<'_, f64> {
    MatRef::from_row_major_slice(values, values.len() / columns, columns)
}

/// out += left·right. Blocks are what the threads share, so one block needs no more than one.
fn product(out: &mut [f64], left: MatRef<'_, f64>, right: MatRef<'_, f64>) {
    let out = MatMut::from_row_major_slice_mut(out, left.nrows(), right.ncols());
    matmul(out, Accum::Add, left, right, 1.0, Par::Seq);
}

fn add_rows(sum: &mut [f64], rows: &[f64]) {
    for row in rows.chunks_exact(sum.len()) {
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
