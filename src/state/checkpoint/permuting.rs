//! A checkpoint's parameters in another order of their elements.

use super::contents::Checkpoint;
use super::entries::malformed_entry;
use crate::error::Error;

impl Checkpoint {
    /// Puts the elements of a parameter in another order, in all of its state and in itself if it was saved: as NumPy's
    /// `transpose(axes)` does, of an array of this shape in row-major order. Axis `axes[0]` of before is the slowest one then.
    ///
    /// Checkpoints are row-major by convention, as PyTorch's `flatten()` is. An engine that keeps tensors in an order of its own,
    /// such as a convolution's weights with the input channels last, converts by this.
    ///
    /// ```
    /// use miadam::{Hyperparams, Param, ParamGroup, cpu};
    ///
    /// let optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("w", 6)])])?;
    /// let mut checkpoint = optimizer.read_checkpoint();
    /// checkpoint.insert_param("w", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// checkpoint.permute_param("w", &[2, 3], &[1, 0])?;
    /// let mut columns = [0.0; 6];
    /// checkpoint.copy_param("w", &mut columns)?;
    /// assert_eq!(columns, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    /// # Ok::<(), miadam::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such parameter, if it has not as many elements as the shape, or if `axes` does not name each axis once.
    /// Nothing is changed then.
    pub fn permute_param(&mut self, name: &str, shape: &[usize], axes: &[usize]) -> Result<(), Error> {
        let state = self.states.iter_mut().find(|state| state.name == name);
        let state = state.ok_or_else(|| Error::UnknownParam { name: name.to_owned() })?;
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..shape.len()) {
            let reason = format!("{axes:?} does not name each axis of {shape:?} once");
            return Err(malformed_entry(name, reason));
        }
        let len = shape.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim));
        if len != Some(state.len()) {
            let reason = format!("it has {} elements, which is not the shape {shape:?}", state.len());
            return Err(malformed_entry(name, reason));
        }
        let sources = sources(shape, axes);
        for (_, values) in state.planes_mut() {
            let permuted: Vec<_> = sources.iter().map(|&source| values[source]).collect();
            values.copy_from_slice(&permuted);
        }
        if let Some(param) = self.params.get_mut(name) {
            let width = param.dtype.width() as usize;
            param.bytes = sources.iter().flat_map(|&source| &param.bytes[source * width..][..width]).copied().collect();
        }
        Ok(())
    }
}

/// Where each element of the permuted array comes from.
fn sources(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    axes.iter().fold(vec![0], |sources, &axis| {
        let along = |source: usize| (0..shape[axis]).map(move |index| (source, index));
        sources.into_iter().flat_map(along).map(|(source, index)| source + index * strides[axis]).collect()
    })
}
