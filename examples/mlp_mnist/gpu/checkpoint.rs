//! Checkpoints without the padding of rows, so that the CPU can go on from one of the GPU's, and the other way round.

use std::error::Error;

use miadam::Checkpoint;
use miadam_support::mnist::network::Weights;
use safetensors::tensor::{SafeTensorError, SafeTensors, TensorView, serialize};

use super::layout::{Layout, resize_rows};

/// The padding's weights, gradients and state are 0: nothing is lost.
pub fn unpad(checkpoint: &Checkpoint, layout: Layout) -> Result<Checkpoint, Box<dyn Error>> {
    resize(checkpoint, layout.rows().map(|(plain, padded)| (padded, plain)))
}

pub fn pad(checkpoint: &Checkpoint, layout: Layout) -> Result<Checkpoint, Box<dyn Error>> {
    resize(checkpoint, layout.rows())
}

/// The same checkpoint with rows of the second length instead of the first, in w1, b1, w2, b2 and in their state.
fn resize(checkpoint: &Checkpoint, rows: [(usize, usize); 4]) -> Result<Checkpoint, Box<dyn Error>> {
    let bytes = checkpoint.to_bytes()?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let mut entries = Vec::new();
    for (entry, view) in SafeTensors::deserialize(&bytes)?.tensors() {
        let (dtype, width) = (view.dtype(), view.dtype().bitsize() / 8);
        let name = entry.rsplit('/').next();
        let tensor = Weights::NAMES.iter().position(|&own| Some(own) == name);
        let data = match tensor.map(|tensor| (width * rows[tensor].0, width * rows[tensor].1)) {
            Some((from, to)) if view.data().len().is_multiple_of(from) => resize_rows(view.data(), from, to),
            // An entry that is not made of such rows fits no optimizer, and `load` says so.
            _ => view.data().to_vec(),
        };
        entries.push((entry, dtype, [data.len() / width], data));
    }
    let views = entries.iter().map(|(entry, dtype, shape, data)| {
        Ok::<_, SafeTensorError>((entry, TensorView::new(*dtype, shape.to_vec(), data)?))
    });
    let resized = serialize(views.collect::<Result<Vec<_>, _>>()?, header.metadata().clone())?;
    Ok(Checkpoint::from_bytes(&resized)?)
}
