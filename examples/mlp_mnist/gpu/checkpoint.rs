//! Checkpoints without the padding of rows, so that the CPU can go on from one of the GPU's, and the other way round.

use std::error::Error;

use miadam::Checkpoint;
use safetensors::SafeTensors;

use super::layout::Layout;
use crate::network::Weights;
use crate::tensor_file::rewrite;

/// The padding's weights, gradients and state are 0: nothing is lost.
pub fn unpad(checkpoint: &Checkpoint, layout: Layout) -> Result<Checkpoint, Box<dyn Error>> {
    resize(checkpoint, layout.rows().map(|(plain, padded)| (padded, plain)))
}

pub fn pad(checkpoint: &Checkpoint, layout: Layout) -> Result<Checkpoint, Box<dyn Error>> {
    resize(checkpoint, layout.rows())
}

/// Cuts the rows of every tensor that belongs to w1, b1, w2 or b2 from the first length to the second, or fills them up.
fn resize(checkpoint: &Checkpoint, rows: [(usize, usize); 4]) -> Result<Checkpoint, Box<dyn Error>> {
    let bytes = checkpoint.to_bytes()?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
    let metadata = metadata.metadata().clone().unwrap_or_default();
    let resized = rewrite(&bytes, metadata, |entry, width, values| {
        let name = entry.rsplit('/').next();
        let tensor = Weights::NAMES.iter().position(|&own| Some(own) == name);
        match tensor.map(|tensor| (width * rows[tensor].0, width * rows[tensor].1)) {
            // What is no rows of that length fits no optimizer, which says so.
            Some((from, to)) if values.len().is_multiple_of(from) => {
                let zeros = vec![0; to.saturating_sub(from)];
                let row = |row: &[u8]| [&row[..from.min(to)], &zeros].concat();
                values.chunks_exact(from).flat_map(row).collect()
            }
            _ => values.to_vec(),
        }
    })?;
    Ok(Checkpoint::from_bytes(&resized)?)
}
