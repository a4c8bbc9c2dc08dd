//! Many small writes, gathered into few.

use super::memory::Memory;
use crate::abi::QUAD;
use crate::error::Error;

/// Bytes that are gathered, at most, unless a single piece is larger.
const GATHERED: usize = 16 << 20;

/// Writes that lie one after the other in a buffer, put together. Between two of them there may be the rest of a quad,
/// which becomes 0.
pub(super) struct Upload<'a> {
    memory: &'a Memory,
    buffer: Option<wgpu::Buffer>,
    offset: u64,
    bytes: Vec<u8>,
}

impl<'a> Upload<'a> {
    pub fn new(memory: &'a Memory) -> Self {
        Self { memory, buffer: None, offset: 0, bytes: Vec::new() }
    }

    /// Adds bytes at `offset` of a buffer.
    pub fn push(&mut self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let filled = self.bytes.len().next_multiple_of(4 * QUAD as usize);
        let goes_on = self.buffer.as_ref() == Some(buffer) && self.offset + filled as u64 == offset;
        if goes_on && filled + bytes.len() <= GATHERED {
            self.bytes.resize(filled, 0);
        } else {
            self.flush()?;
            (self.buffer, self.offset) = (Some(buffer.clone()), offset);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what is gathered.
    pub fn flush(&mut self) -> Result<(), Error> {
        if let Some(buffer) = self.buffer.take() {
            self.memory.write(&buffer, self.offset, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}
