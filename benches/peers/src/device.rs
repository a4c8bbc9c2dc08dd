//! burn's device on the adapter that miadam runs on.

use burn::tensor::{Device, DeviceKind};
use miadam_support::adapter::{self, AdapterError};

/// The backend that burn prefers on this platform.
const BACKENDS: wgpu::Backends =
    if cfg!(target_vendor = "apple") { wgpu::Backends::METAL } else { wgpu::Backends::VULKAN };

/// The fastest adapter there.
///
/// # Errors
/// If there is none.
pub fn adapter() -> Result<wgpu::Adapter, AdapterError> {
    adapter::choose_within(BACKENDS, None)
}

/// burn takes the first adapter of its kind. Its kernels are WGSL, or SPIR-V with this package's feature `spirv`.
pub fn of_kind(adapter: wgpu::DeviceType) -> Device {
    Device::wgpu(match adapter {
        wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(0),
        wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(0),
        wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu(0),
        wgpu::DeviceType::Cpu => DeviceKind::Cpu,
        wgpu::DeviceType::Other => DeviceKind::DefaultDevice,
    })
}
