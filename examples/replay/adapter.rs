//! The choice of a GPU.

use wgpu::{Adapter, DeviceType};

#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error("there is no GPU adapter; install a driver (mesa-vulkan-drivers has one in software), or use --device cpu")]
    Missing,

    #[error("no GPU adapter has `{wanted}` in its name; give --adapter a part of one of: {names}")]
    Unmatched { wanted: String, names: String },

    #[error("the GPU adapter `{name}` gives no device: {reason}; choose another by --adapter, or use --device cpu")]
    Unusable { name: String, reason: String },
}

/// A device with all that the adapter can do, and a description of it.
pub fn open(wanted: Option<&str>) -> Result<(wgpu::Device, wgpu::Queue, String), AdapterError> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let adapter = choose(adapters, wanted)?;
    let info = adapter.get_info();
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("replay"),
        required_limits: adapter.limits(),
        ..wgpu::DeviceDescriptor::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
        .map_err(|error| AdapterError::Unusable { name: info.name.clone(), reason: error.to_string() })?;
    Ok((device, queue, format!("gpu, {} ({})", info.name, info.backend)))
}

/// The first of the fastest kind among those whose name has `wanted` in it, whatever the case.
fn choose(adapters: Vec<Adapter>, wanted: Option<&str>) -> Result<Adapter, AdapterError> {
    let name = |adapter: &Adapter| adapter.get_info().name;
    let names: Vec<_> = adapters.iter().map(name).collect();
    if names.is_empty() {
        return Err(AdapterError::Missing);
    }
    let part = wanted.unwrap_or_default().to_lowercase();
    let matching = adapters.into_iter().filter(|adapter| name(adapter).to_lowercase().contains(&part));
    let slowness = |adapter: &Adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    matching.min_by_key(slowness).ok_or_else(|| AdapterError::Unmatched {
        wanted: wanted.unwrap_or_default().to_owned(),
        names: names.join(", "),
    })
}
