//! In which order a tensor's elements lie.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::zspace::{Shape, Strides};

/// The axes of a tensor that have more than one element, the slowest first. Row-major is ascending.
///
/// burn's convolutions keep weights with the input channels last, and so are the gradients that they give. An update works
/// element by element, so that parameter, gradient and state may lie in any order, if it is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order(Vec<usize>);

impl Order {
    /// The order of row-major tensors of a shape.
    pub fn row_major(shape: &[usize]) -> Self {
        Self((0..shape.len()).filter(|&axis| shape[axis] > 1).collect())
    }

    /// The order of a tensor without holes and without elements that stand for several.
    pub fn of(tensor: &CubeTensor) -> Option<Self> {
        let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
        if tensor.meta.is_tiled() {
            return None;
        }
        let Self(mut axes) = Self::row_major(shape);
        axes.sort_by_key(|&axis| std::cmp::Reverse(strides[axis]));
        let mut expected = 1;
        for &axis in axes.iter().rev() {
            if strides[axis] != expected {
                return None;
            }
            expected *= shape[axis];
        }
        Some(Self(axes))
    }

    pub fn is_row_major(&self) -> bool {
        self.0.is_sorted()
    }

    /// All axes, those of one element first.
    pub fn axes(&self, rank: usize) -> Vec<usize> {
        (0..rank).filter(|axis| !self.0.contains(axis)).chain(self.0.iter().copied()).collect()
    }

    /// The tensor in this order: itself, or a copy.
    pub fn apply(&self, tensor: CubeTensor) -> CubeTensor {
        if Self::of(&tensor).as_ref() == Some(self) {
            return tensor;
        }
        let (shape, strides): (Vec<_>, Vec<_>) = (tensor.meta.shape().to_vec(), tensor.meta.strides().to_vec());
        let axes = self.axes(shape.len());
        let mut permuted = tensor;
        permuted.meta.shape = Shape::from(axes.iter().map(|&axis| shape[axis]).collect::<Vec<_>>());
        permuted.meta.strides = Strides::from(axes.iter().map(|&axis| strides[axis]).collect::<Vec<_>>());
        let mut copy = into_contiguous(permuted);
        let mut own = vec![0; shape.len()];
        let mut stride = 1;
        for &axis in axes.iter().rev() {
            own[axis] = stride;
            stride *= shape[axis];
        }
        copy.meta.shape = Shape::from(shape);
        copy.meta.strides = Strides::from(own);
        copy
    }
}
