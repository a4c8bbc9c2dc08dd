use miadam::wgpu;

/// The fastest adapter's device. An engine has one already.
pub async fn open() -> Result<(wgpu::Device, wgpu::Queue), Box<dyn std::error::Error>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let power_preference = wgpu::PowerPreference::HighPerformance;
    let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
    let adapter = instance.request_adapter(&options).await?;
    Ok(adapter.request_device(&wgpu::DeviceDescriptor::default()).await?)
}
