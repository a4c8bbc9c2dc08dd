//! burn's device for the flag that says where to train.

use std::error::Error;

use burn::tensor::Device;
use miadam_burn::miadam::wgpu::DeviceType;
use miadam_support::adapter::description;
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
    match Device::wgpu_options().init_with_setup() {
        Err(error) if kind == DeviceKind::Gpu => {
            Err(format!("burn finds no GPU: {}; install a driver, or use --device cpu", one_line(&error.to_string()))
                .into())
        }
        Ok((device, setup)) if kind == DeviceKind::Gpu || setup.adapter.get_info().device_type != DeviceType::Cpu => {
            let name = description(&setup.adapter.get_info());
            // `miadam_burn::wgpu_device` does both, where the name is not wanted.
            miadam_burn::register(&device, setup)?;
            Ok((device, name))
        }
        // A GPU in software is slower than the CPU.
        _ => cpu(" (there is no hardware GPU)"),
    }
}
