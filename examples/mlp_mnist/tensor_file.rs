//! The bytes of a checkpoint, with its tensors or its metadata changed.

use std::collections::HashMap;
use std::error::Error;

use safetensors::tensor::{SafeTensors, TensorView, serialize};

/// The same file with this metadata, and with what `edit` makes of the bytes of every vector, by its whole name and the bytes
/// of an element.
pub fn rewrite(
    bytes: &[u8],
    metadata: HashMap<String, String>,
    edit: impl Fn(&str, usize, &[u8]) -> Vec<u8>,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        let (mut shape, mut data) = (view.shape().to_vec(), view.data().to_vec());
        if let [len] = &mut shape[..]
            && *len > 0
        {
            let width = data.len() / *len;
            data = edit(name, width, &data);
            *len = data.len() / width;
        }
        tensors.push((name.to_owned(), view.dtype(), shape, data));
    }
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        Ok::<_, safetensors::SafeTensorError>((name, TensorView::new(*dtype, shape.clone(), data)?))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>()?;
    Ok(serialize(views, Some(metadata))?)
}
