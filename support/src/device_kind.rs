//! The flag that says where to train, and what comes of it.

use std::env;

use clap::ValueEnum;
use miadam::wgpu::{DeviceType, Limits};

use crate::adapter::{AdapterError, AdapterFlags};
use crate::command_line::one_line;
use crate::gpu::Gpu;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    Auto,
    Gpu,
    Cpu,
}

impl DeviceKind {
    /// The GPU, or none and, if it is not the user who chose the CPU, why.
    ///
    /// # Errors
    /// If there is no such GPU as the user asks for.
    pub fn open(self, adapter: &AdapterFlags) -> Result<(Option<Gpu>, String), AdapterError> {
        if self == Self::Cpu {
            return Ok((None, String::new()));
        }
        let is_named = adapter.adapter.is_some() || env::var_os("WGPU_ADAPTER_NAME").is_some();
        let is_wanted = is_named || self == Self::Gpu;
        let opened = adapter.choose().and_then(|adapter| {
            let is_hardware = adapter.get_info().device_type != DeviceType::Cpu;
            (is_wanted || is_hardware).then(|| Gpu::open(&adapter, Limits::default())).transpose()
        });
        match opened {
            Ok(Some(gpu)) => Ok((Some(gpu), String::new())),
            Err(error) if is_wanted => Err(error),
            Err(error) if !error.is_missing() => Ok((None, format!(" ({})", one_line(&error.to_string())))),
            // A software adapter is slower than the CPU path.
            _ => Ok((None, " (there is no hardware GPU)".to_owned())),
        }
    }
}
