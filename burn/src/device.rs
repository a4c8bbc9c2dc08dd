//! The wgpu devices whose queues are known.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use burn::backend::DispatchDevice;
use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuOptions, WgpuSetup};
use burn_cubecl::CubeDevice;
use cubecl::wgpu::WgpuDevice;

use crate::error::Error;

/// burn gives a device's queue to whoever makes the device, and to nobody later.
static SETUPS: Mutex<Option<HashMap<WgpuDevice, WgpuSetup>>> = Mutex::new(None);

/// Makes burn's wgpu device, so that an optimizer can run on it: `WgpuOptions::init` with the queue kept.
///
/// It comes before anything else on that device, since burn makes a device when it is first used.
///
/// # Errors
/// As `WgpuOptions::init_with_setup`: if there is no such adapter, or burn has the device already.
pub fn wgpu_device(options: WgpuOptions) -> Result<Device, Error> {
    let (device, setup) = options.init_with_setup().map_err(|error| Error::Burn(error.to_string()))?;
    register(&device, setup)?;
    Ok(device)
}

/// Tells the wgpu handles behind a burn device, for a program that has made them itself: with `WgpuOptions::setup`, or with
/// `init_with_setup`.
///
/// # Errors
/// If the device is not one of burn's wgpu backend.
pub fn register(device: &Device, setup: WgpuSetup) -> Result<(), Error> {
    let Some(key) = wgpu_key(device) else { return Err(Error::UnsupportedDevice { device: Box::new(device.clone()) }) };
    let mut setups = SETUPS.lock().unwrap_or_else(PoisonError::into_inner);
    setups.get_or_insert_default().insert(key, setup);
    Ok(())
}

/// What kind of device it is.
pub enum Kind {
    /// A wgpu device whose queue is known.
    Gpu(WgpuSetup),
    /// Tensors lie in host memory, or burn copies them there.
    Host,
}

/// What an optimizer does on a device.
pub fn kind(device: &Device) -> Result<Kind, Error> {
    let unsupported = || Err(Error::UnsupportedDevice { device: Box::new(device.clone()) });
    match device.clone().without_autodiff().as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(key)) => {
            let setups = SETUPS.lock().unwrap_or_else(PoisonError::into_inner);
            let setup = setups.as_ref().and_then(|setups| setups.get(key)).cloned();
            setup.map(Kind::Gpu).ok_or_else(|| Error::UnknownQueue { device: Box::new(device.clone()) })
        }
        DispatchDevice::Cube(CubeDevice::Cpu(_)) => Ok(Kind::Host),
        DispatchDevice::Cube(_) => unsupported(),
        _ => Ok(Kind::Host),
    }
}

fn wgpu_key(device: &Device) -> Option<WgpuDevice> {
    match device.clone().without_autodiff().as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(key)) => Some(key.clone()),
        _ => None,
    }
}
