//! The bytes of a checkpoint, with its tensors or its metadata changed.

use std::collections::HashMap;
use std::error::Error;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

/// The same file with this metadata, and with what `edit` makes of every tensor of `f32`, by its whole name.
pub fn rewrite(
    bytes: &[u8],
    metadata: HashMap<String, String>,
    edit: impl Fn(&str, &[f32]) -> Vec<f32>,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        let (mut shape, mut data) = (view.shape().to_vec(), view.data().to_vec());
        if let (Dtype::F32, [len]) = (view.dtype(), &mut shape[..]) {
            let values = edit(name, &bytemuck::pod_collect_to_vec::<u8, f32>(&data));
            *len = values.len();
            data = bytemuck::cast_slice(&values).to_vec();
        }
        tensors.push((name.to_owned(), view.dtype(), shape, data));
    }
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        Ok::<_, safetensors::SafeTensorError>((name, TensorView::new(*dtype, shape.clone(), data)?))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>()?;
    Ok(serialize(views, Some(metadata))?)
}
