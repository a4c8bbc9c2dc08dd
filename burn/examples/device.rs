//! burn's device for the flags that say where to train.

use std::error::Error;

use burn::tensor::Device;
use burn::tensor::wgpu::WgpuSetup;
use miadam_burn::miadam::wgpu::{
    Adapter, Backends, DeviceDescriptor, DeviceType, Features, Instance, InstanceDescriptor,
};
use miadam_support::adapter::{self, description};
use miadam_support::command_line::one_line;
use miadam_support::device_kind::DeviceKind;

/// The device and its name. The name also says why, where it is not the user who chose the CPU.
///
/// # Errors
/// If the user asks for a GPU, and there is none.
pub fn open(kind: DeviceKind) -> Result<(Device, String), Box<dyn Error>> {
    let cpu = |reason: &str| Ok((Device::flex(), format!("CPU{reason}")));
    if kind == DeviceKind::Cpu {
        return cpu("");
    }
    let is_wanted = kind == DeviceKind::Gpu;
    match adapter::choose(None) {
        Err(error) if is_wanted || !error.is_missing() => Err(error.into()),
        Ok(adapter) if is_wanted || adapter.get_info().device_type != DeviceType::Cpu => {
            let name = description(&adapter.get_info());
            let gpu =
                gpu(adapter).map_err(|error| format!("{name}: {}; try --device cpu", one_line(&error.to_string())))?;
            Ok((gpu, name))
        }
        // A GPU in software is slower than the CPU.
        _ => cpu(" (there is no hardware GPU)"),
    }
}

/// burn on this adapter. Where burn may choose one itself, `miadam_burn::wgpu_device` is enough.
fn gpu(adapter: Adapter) -> Result<Device, Box<dyn Error>> {
    // burn reads the adapter's limits and features, whatever the device has.
    let (device, queue) = pollster::block_on(adapter.request_device(&DeviceDescriptor {
        required_features: adapter.features() - Features::MAPPABLE_PRIMARY_BUFFERS,
        required_limits: adapter.limits(),
        ..DeviceDescriptor::default()
    }))?;
    let backends = Backends::PRIMARY;
    let instance = Instance::new(InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle() });
    let backend = adapter.get_info().backend;
    let setup = WgpuSetup { instance, adapter, device, queue, backend };
    let device = Device::wgpu_options().setup(setup.clone()).init()?;
    miadam_burn::register(&device, setup)?;
    Ok(device)
}
