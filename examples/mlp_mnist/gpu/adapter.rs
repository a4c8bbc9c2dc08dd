//! Choosing and opening a GPU.

use std::error::Error;

use wgpu::{Adapter, Backends, DeviceDescriptor, DeviceType, Instance, InstanceDescriptor, Limits};

use super::device::Gpu;

/// The adapters of the platform's own backends: GL would be a second, slower way to the same GPUs.
fn adapters() -> Vec<Adapter> {
    let backends = Backends::PRIMARY;
    let instance = Instance::new(InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle() });
    let mut adapters = pollster::block_on(instance.enumerate_adapters(backends));
    for adapter in &adapters {
        log::debug!("found {:?}", adapter.get_info());
    }
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    });
    adapters
}

fn is_hardware(adapter: &Adapter) -> bool {
    adapter.get_info().device_type != DeviceType::Cpu
}

/// The best hardware GPU, if there is one. Software adapters are slower than the CPU path.
pub fn open_hardware() -> Result<Option<Gpu>, Box<dyn Error>> {
    adapters().iter().find(|adapter| is_hardware(adapter)).map(open).transpose()
}

/// The best adapter, hardware or software.
pub fn open_any() -> Result<Gpu, Box<dyn Error>> {
    let adapters = adapters();
    let adapter = adapters
        .first()
        .ok_or("--device gpu: there is no GPU adapter; install a Vulkan, Metal or DX12 driver, or use --device cpu")?;
    open(adapter)
}

/// The best adapter whose name contains `name`.
pub fn open_named(name: &str) -> Result<Gpu, Box<dyn Error>> {
    let adapters = adapters();
    let wanted = name.to_lowercase();
    let adapter = adapters.iter().find(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted));
    open(adapter.ok_or_else(|| {
        let names: Vec<_> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
        match &names[..] {
            [] => format!("--adapter {name}: there is no GPU adapter; use --device cpu"),
            names => format!("--adapter {name}: no adapter has such a name; choose from: {}", names.join(", ")),
        }
    })?)
}

fn open(adapter: &Adapter) -> Result<Gpu, Box<dyn Error>> {
    let info = adapter.get_info();
    let name = format!("{} ({})", info.name, info.backend);
    let descriptor =
        DeviceDescriptor { label: Some("mlp_mnist"), required_limits: Limits::default(), ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
        .map_err(|error| format!("{name} cannot be opened: {error}; use --device cpu"))?;
    Ok(Gpu::new(device, queue, name))
}
