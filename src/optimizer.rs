//! Stub until the GPU path lands.
use crate::{Error, ParamGroup};

/// MIAdam on the GPU.
#[derive(Debug)]
pub struct MiAdam;

impl MiAdam {
    /// An optimizer whose state is all 0.
    pub fn new(
        _device: &wgpu::Device,
        _queue: &wgpu::Queue,
        _groups: impl IntoIterator<Item = ParamGroup>,
    ) -> Result<Self, Error> {
        Ok(Self)
    }

    /// Records one step.
    pub fn step(&mut self, _encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        Ok(())
    }
}
