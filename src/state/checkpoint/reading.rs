//! From a file to a checkpoint, tensor by tensor.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use safetensors::SafeTensorError;

use super::contents::Checkpoint;
use super::entries::{PART, SavedParam, malformed, malformed_entry};
use super::layout::{Layout, Place, check_header_len};
use crate::error::Error;
use crate::state::params::ParamState;

/// Reads a file of `len` bytes. `failed` makes an error of one of `source`.
pub(super) fn read(
    source: &mut (impl Read + Seek),
    len: u64,
    failed: impl Fn(io::Error) -> Error,
) -> Result<Checkpoint, Error> {
    let rest = len.checked_sub(8).ok_or_else(|| malformed(SafeTensorError::HeaderTooSmall))?;
    let mut header_len = [0; 8];
    source.read_exact(&mut header_len).map_err(&failed)?;
    let header_len = u64::from_le_bytes(header_len);
    check_header_len(header_len)?;
    let data_len = rest.checked_sub(header_len).ok_or_else(|| malformed(SafeTensorError::InvalidHeaderLength))?;
    let mut header = vec![0; header_len as usize];
    source.read_exact(&mut header).map_err(&failed)?;
    let layout = Layout::parse(&header, data_len)?;
    drop(header);
    read_tensors(layout, source, 8 + header_len, failed)
}

/// Reads the tensors of a file whose data begins at byte `start`.
fn read_tensors(
    layout: Layout,
    source: &mut (impl Read + Seek),
    start: u64,
    failed: impl Fn(io::Error) -> Error,
) -> Result<Checkpoint, Error> {
    let mut part = vec![0; PART];
    let mut states = Vec::with_capacity(layout.places.len());
    let mut params = BTreeMap::new();
    for Place { name, len, list, clock, planes, param } in layout.places {
        let mut offsets = planes.into_iter();
        states.push(ParamState::try_new(&name, len, list, clock, |plane| {
            // One for each plane of the list.
            let offset = offsets.next().unwrap_or_default();
            source.seek(SeekFrom::Start(start + offset as u64)).map_err(&failed)?;
            let values = read_floats(source, len, &mut part).map_err(&failed)?;
            // Its root would be NaN, and so would the parameter after the next step.
            if !plane.is_signed() && values.iter().any(|&value| value < 0.0) {
                return Err(malformed_entry(&format!("{plane}/{name}"), "an average of squares is below 0"));
            }
            Ok(values)
        })?);
        if let Some((dtype, offset)) = param {
            source.seek(SeekFrom::Start(start + offset as u64)).map_err(&failed)?;
            let bytes = read_bytes(source, len * dtype.width() as usize).map_err(&failed)?;
            params.insert(name, SavedParam { dtype, bytes });
        }
    }
    Ok(Checkpoint { header: layout.header, states, params })
}

fn read_floats(source: &mut impl Read, len: usize, part: &mut [u8]) -> io::Result<Vec<f32>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len)?;
    while values.len() < len {
        let bytes = (4 * (len - values.len())).min(part.len());
        let part = &mut part[..bytes];
        source.read_exact(part)?;
        values.extend(part.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)));
    }
    Ok(values)
}

fn read_bytes(source: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len)?;
    bytes.resize(len, 0);
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}
