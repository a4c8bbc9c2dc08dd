//! What the tests hold the products to: the loss's second derivatives one by one, and a dense solver.

use faer::{Mat, Side};
use miadam_paper::hessian::{Operator, dimension, flatten};
use miadam_support::mnist::data::{Data, Samples};
use miadam_support::mnist::network::{CLASSES, INPUTS, Weights};
use miadam_support::mnist::random::Random;

pub fn digits() -> Samples {
    Data::built_in().unwrap().train
}

/// Weights three times as large as training begins with, so that the softmax is neither flat nor sure.
pub fn weights(hidden: usize, seed: u64) -> Vec<f64> {
    let random = flatten(&Weights::random(hidden, &mut Random::new(seed, 0)));
    random.into_iter().map(|weight| 3.0 * weight).collect()
}

/// Uniform in ±1.
pub fn vector(len: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed, 1);
    (0..len).map(|_| f64::from(random.symmetric(1.0))).collect()
}

/// The Hessian of the mean loss, from its definition: Jᵀ·(diag p - p·pᵀ)·J + Σ (p - y)·∂²z, where J = ∂z. Only the derivatives of
/// a logit by a weight into a unit and by a weight out of it do not vanish: ∂²z_c / ∂w2_cn ∂w1_kn = x_k·[a_n > 0].
pub fn dense_hessian(weights: &[f64], hidden: usize, samples: &Samples, chosen: &[u32]) -> Mat<f64> {
    let size = dimension(hidden);
    let (b1, w2) = (INPUTS * hidden, (INPUTS + 1) * hidden);
    let b2 = w2 + CLASSES * hidden;
    let mut hessian = Mat::zeros(size, size);
    for &sample in chosen {
        let image = &samples.images[sample as usize * INPUTS..][..INPUTS];
        let x: Vec<_> = image.iter().map(|&pixel| f64::from(pixel) / 255.0).collect();
        let a: Vec<f64> = (0..hidden)
            .map(|n| (0..INPUTS).map(|k| x[k] * weights[k * hidden + n]).sum::<f64>() + weights[b1 + n])
            .collect();
        let z: Vec<f64> = (0..CLASSES)
            .map(|c| (0..hidden).map(|n| a[n].max(0.0) * weights[w2 + c * hidden + n]).sum::<f64>() + weights[b2 + c])
            .collect();
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        let p: Vec<_> = z.iter().map(|z| z.exp() / sum).collect();
        let label = usize::from(samples.labels[sample as usize]);

        let mut jacobian = Mat::zeros(CLASSES, size);
        for c in 0..CLASSES {
            let residual = p[c] - f64::from(u8::from(c == label));
            jacobian[(c, b2 + c)] = 1.0;
            for n in (0..hidden).filter(|&n| a[n] > 0.0) {
                let out = w2 + c * hidden + n;
                jacobian[(c, out)] = a[n];
                for k in 0..=INPUTS {
                    // The bias is the weight of a pixel that is always 1.
                    let (into, x) = (k * hidden + n, x.get(k).copied().unwrap_or(1.0));
                    jacobian[(c, into)] = weights[out] * x;
                    hessian[(out, into)] += residual * x;
                    hessian[(into, out)] += residual * x;
                }
            }
        }
        let of_softmax = Mat::from_fn(CLASSES, CLASSES, |i, j| if i == j { p[i] } else { 0.0 } - p[i] * p[j]);
        hessian += jacobian.transpose() * (of_softmax * &jacobian);
    }
    hessian * faer::Scale(1.0 / chosen.len() as f64)
}

/// The operator's matrix, column by column.
pub fn dense(operator: &impl Operator) -> Mat<f64> {
    let size = operator.dimension();
    let mut columns = Mat::zeros(size, size);
    for column in 0..size {
        let mut unit = vec![0.0; size];
        unit[column] = 1.0;
        for (row, value) in operator.apply(&unit).into_iter().enumerate() {
            columns[(row, column)] = value;
        }
    }
    columns
}

/// The least one first.
pub fn eigenvalues(matrix: &Mat<f64>) -> Vec<f64> {
    matrix.self_adjoint_eigenvalues(Side::Lower).unwrap()
}

/// The mean of λᵏ.
pub fn moment(eigenvalues: &[f64], k: i32) -> f64 {
    eigenvalues.iter().map(|value| value.powi(k)).sum::<f64>() / eigenvalues.len() as f64
}

/// A matrix with these eigenvalues on its diagonal.
pub struct Diagonal(pub Vec<f64>);

impl Operator for Diagonal {
    fn dimension(&self) -> usize {
        self.0.len()
    }

    fn apply(&self, vector: &[f64]) -> Vec<f64> {
        self.0.iter().zip(vector).map(|(value, x)| value * x).collect()
    }
}

#[track_caller]
pub fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found:e}, not {expected:e} within {tolerance:e}");
}
