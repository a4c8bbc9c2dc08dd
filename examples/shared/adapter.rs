//! The choice of a GPU.

use wgpu::{
    Adapter, AdapterInfo, Backends, Device, DeviceDescriptor, DeviceType, Instance, InstanceDescriptor, Limits,
};

/// Why there is no GPU.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error(
        "there is no GPU adapter; install a driver for Vulkan, Metal or DX12 (mesa-vulkan-drivers has one in software), \
         or use the CPU"
    )]
    Missing,

    #[error("no GPU adapter has `{wanted}` in its name; give --adapter a part of one of: {names}")]
    Unmatched { wanted: String, names: String },

    #[error("the GPU adapter `{name}` gives no device: {reason}; choose another by --adapter, or use the CPU")]
    Unusable { name: String, reason: String },
}

/// The first of the fastest kind among those whose name has `wanted` in it, whatever the case. Backends are the platform's own:
/// GL would be a second, slower way to the same GPUs.
pub fn choose(wanted: Option<&str>) -> Result<Adapter, AdapterError> {
    let backends = Backends::PRIMARY;
    let instance = Instance::new(InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle() });
    let adapters = pollster::block_on(instance.enumerate_adapters(backends));
    adapters.iter().for_each(|adapter| log::debug!("found {:?}", adapter.get_info()));
    let names: Vec<_> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    if names.is_empty() {
        return Err(AdapterError::Missing);
    }
    let part = wanted.unwrap_or_default().to_lowercase();
    let is_wanted = |adapter: &Adapter| adapter.get_info().name.to_lowercase().contains(&part);
    adapters.into_iter().filter(is_wanted).min_by_key(slowness).ok_or_else(|| AdapterError::Unmatched {
        wanted: wanted.unwrap_or_default().to_owned(),
        names: names.join(", "),
    })
}

fn slowness(adapter: &Adapter) -> u32 {
    match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// A device with these limits.
pub fn open(adapter: &Adapter, required_limits: Limits) -> Result<(Device, wgpu::Queue), AdapterError> {
    let descriptor = DeviceDescriptor { required_limits, ..Default::default() };
    pollster::block_on(adapter.request_device(&descriptor))
        .map_err(|error| AdapterError::Unusable { name: adapter.get_info().name, reason: error.to_string() })
}

/// An adapter's name, with its backend.
pub fn description(AdapterInfo { name, backend, .. }: &AdapterInfo) -> String {
    format!("{name} ({backend})")
}
