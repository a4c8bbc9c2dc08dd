//! A vector of all parameters: the tensors of [`Weights`], one behind the other.

use miadam_support::mnist::network::{CLASSES, INPUTS, Weights};

/// The four tensors of a vector, laid out as in [`Weights`].
pub(super) struct Parts<S> {
    pub w1: S,
    pub b1: S,
    pub w2: S,
    pub b2: S,
}

/// How many parameters a network of `hidden` units has.
pub fn dimension(hidden: usize) -> usize {
    (INPUTS + 1 + CLASSES) * hidden + CLASSES
}

/// The weights as one vector.
pub fn flatten(weights: &Weights) -> Vec<f64> {
    weights.tensors().into_iter().flatten().copied().map(f64::from).collect()
}

pub(super) fn parts(vector: &[f64], hidden: usize) -> Parts<&[f64]> {
    let (w1, rest) = vector.split_at(INPUTS * hidden);
    let (b1, rest) = rest.split_at(hidden);
    let (w2, b2) = rest.split_at(CLASSES * hidden);
    Parts { w1, b1, w2, b2 }
}

pub(super) fn parts_mut(vector: &mut [f64], hidden: usize) -> Parts<&mut [f64]> {
    let (w1, rest) = vector.split_at_mut(INPUTS * hidden);
    let (b1, rest) = rest.split_at_mut(hidden);
    let (w2, b2) = rest.split_at_mut(CLASSES * hidden);
    Parts { w1, b1, w2, b2 }
}
