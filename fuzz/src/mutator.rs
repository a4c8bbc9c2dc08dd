//! Changes to a safetensors file that leave it one: the length of the header follows the header.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::Value;

/// Most often a part of the file, else all of its bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if !seed.is_multiple_of(8)
        && let Some(file) = mutate_part(&data[..size], max_size, seed / 8)
        && file.len() <= max_size
    {
        data[..file.len()].copy_from_slice(&file);
        return file.len();
    }
    fuzzer_mutate(data, size, max_size)
}

fn mutate_part(file: &[u8], max_size: usize, seed: u32) -> Option<Vec<u8>> {
    let (len, rest) = file.split_first_chunk::<8>()?;
    let (header, payload) = rest.split_at_checked(u64::from_le_bytes(*len).try_into().ok()?)?;
    let (header, payload) = match seed % 4 {
        0 => (header.to_vec(), change(payload, max_size)),
        1 => (change(header, max_size), payload.to_vec()),
        _ => (mutate_metadata(header, max_size, seed / 4)?, payload.to_vec()),
    };
    Some([&(header.len() as u64).to_le_bytes()[..], &header, &payload].concat())
}

/// The text of one entry of the metadata, which is JSON within JSON.
fn mutate_metadata(header: &[u8], max_size: usize, seed: u32) -> Option<Vec<u8>> {
    let mut header: Value = serde_json::from_slice(header).ok()?;
    let entries = header.get_mut("__metadata__")?.as_object_mut()?;
    let number = (seed as usize).checked_rem(entries.len())?;
    let entry = entries.values_mut().nth(number)?;
    let text = change(entry.as_str()?.as_bytes(), max_size);
    *entry = String::from_utf8_lossy(&text).into();
    serde_json::to_vec(&header).ok()
}

fn change(part: &[u8], max_size: usize) -> Vec<u8> {
    let mut bytes = part.to_vec();
    bytes.resize(max_size.max(part.len()), 0);
    let (size, max_size) = (part.len(), bytes.len());
    let len = fuzzer_mutate(&mut bytes, size, max_size);
    bytes.truncate(len);
    bytes
}
