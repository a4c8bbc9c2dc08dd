//! The choice of a GPU, by the command line or by the environment variables WGPU_BACKEND and WGPU_ADAPTER_NAME.

use miadam::wgpu::{
    Adapter, AdapterInfo, Backends, Device, DeviceDescriptor, DeviceType, Instance, InstanceDescriptor, Limits, Queue,
};

use crate::command_line::{WIDTH, one_line, wrapped};

/// Why there is no GPU.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error(
        "there is no GPU adapter{within}; install a driver for Vulkan, Metal or DX12 (mesa-vulkan-drivers has one in \
         software), or use the CPU"
    )]
    Missing { within: String },

    #[error("no GPU adapter has `{wanted}` in its name; give --adapter or WGPU_ADAPTER_NAME a part of one of: {names}")]
    Unmatched { wanted: String, names: String },

    #[error("WGPU_BACKEND names no backend by `{word}`; make it one or more of {}, with commas between", words())]
    UnknownBackend { word: String },

    #[error("the GPU adapter `{name}` gives no device: {reason}; choose another by --adapter, or use the CPU")]
    Unusable { name: String, reason: String },
}

impl AdapterError {
    /// Whether there is no adapter at all, so that a program may go on without one.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

// The flags that choose a GPU. No doc comment: clap would put it in place of what the program says of itself.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AdapterFlags {
    /// A part of the GPU's name, where there are several
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// List the GPUs that there are, and do nothing else
    #[arg(long)]
    pub list_adapters: bool,
}

impl AdapterFlags {
    /// # Errors
    /// As [`choose`].
    pub fn choose(&self) -> Result<Adapter, AdapterError> {
        choose(self.adapter.as_deref())
    }
}

/// The words of WGPU_BACKEND, the usual one of each backend first.
const BACKENDS: [(&[&str], Backends); 4] = [
    (&["vulkan", "vk"], Backends::VULKAN),
    (&["metal", "mtl"], Backends::METAL),
    (&["dx12", "d3d12"], Backends::DX12),
    (&["gl", "gles", "opengl"], Backends::GL),
];

fn words() -> String {
    BACKENDS.map(|(words, _)| words[0]).join(", ")
}

/// The first of the fastest kind among those whose name has `wanted` in it, whatever the case; without `wanted`,
/// WGPU_ADAPTER_NAME counts.
///
/// # Errors
/// If there is none, or if WGPU_BACKEND is wrong.
pub fn choose(wanted: Option<&str>) -> Result<Adapter, AdapterError> {
    let by_environment = environment("WGPU_ADAPTER_NAME");
    choose_within(backends()?, wanted.or(by_environment.as_deref()))
}

/// As [`choose`], whatever the environment says.
///
/// # Errors
/// If there is none.
pub fn choose_within(backends: Backends, wanted: Option<&str>) -> Result<Adapter, AdapterError> {
    let adapters = adapters(backends);
    let names: Vec<_> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    if names.is_empty() {
        return Err(missing(backends));
    }
    let part = wanted.unwrap_or_default().to_lowercase();
    let is_wanted = |adapter: &Adapter| adapter.get_info().name.to_lowercase().contains(&part);
    adapters.into_iter().filter(is_wanted).min_by_key(slowness).ok_or_else(|| AdapterError::Unmatched {
        wanted: wanted.unwrap_or_default().to_owned(),
        names: names.join(", "),
    })
}

/// For a test: none only where MIADAM_ALLOW_NO_ADAPTER says that this is all right.
///
/// # Panics
/// If there is no adapter otherwise, or if the environment is wrong.
pub fn for_test() -> Option<Adapter> {
    match choose(None) {
        Ok(adapter) => Some(adapter),
        Err(error) if error.is_missing() && std::env::var_os("MIADAM_ALLOW_NO_ADAPTER").is_some() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}; or set MIADAM_ALLOW_NO_ADAPTER=1 to skip the tests that need a GPU"),
    }
}

/// A device with these limits.
///
/// # Errors
/// If the adapter gives none.
pub fn open(adapter: &Adapter, required_limits: Limits) -> Result<(Device, Queue), AdapterError> {
    let descriptor = DeviceDescriptor { required_limits, ..Default::default() };
    pollster::block_on(adapter.request_device(&descriptor))
        .map_err(|error| AdapterError::Unusable { name: adapter.get_info().name, reason: error.to_string() })
}

/// An adapter's name, with its backend.
pub fn description(AdapterInfo { name, backend, .. }: &AdapterInfo) -> String {
    format!("{name} ({backend})")
}

/// All adapters that [`choose`] chooses among.
///
/// # Errors
/// If WGPU_BACKEND is wrong.
pub fn all() -> Result<Vec<Adapter>, AdapterError> {
    Ok(adapters(backends()?))
}

/// A line for each of [`all`]: name, backend, kind of device and driver.
///
/// # Errors
/// If WGPU_BACKEND is wrong.
pub fn list() -> Result<String, AdapterError> {
    let infos: Vec<_> = all()?.iter().map(Adapter::get_info).collect();
    if infos.is_empty() {
        return Ok(wrapped(&missing(backends()?).to_string()));
    }
    Ok(table(&infos))
}

/// A line for each. Where it would be too long for a terminal, the driver has a line of its own.
fn table(infos: &[AdapterInfo]) -> String {
    let width = infos.iter().map(|info| info.name.chars().count()).max().unwrap_or(0);
    let line = |AdapterInfo { name, backend, device_type, driver, driver_info, .. }: &AdapterInfo| {
        let kind = match device_type {
            DeviceType::DiscreteGpu => "discrete",
            DeviceType::IntegratedGpu => "integrated",
            DeviceType::VirtualGpu => "virtual",
            DeviceType::Cpu => "software",
            DeviceType::Other => "other",
        };
        // Many names have the driver's in them, and the line is long enough.
        let is_named = name.to_lowercase().contains(&driver.to_lowercase());
        let driver = if is_named { String::new() } else { format!("{driver} ") };
        let driver = one_line(&format!("{driver}{driver_info}"));
        let line = format!("{name:width$}  {backend:6}  {kind:10}  {driver}").trim_end().to_owned();
        if line.chars().count() <= WIDTH {
            return line;
        }
        // Beside a name that is longer still, the columns are given up.
        wrapped(&format!("{name}  {backend}  {kind}")) + "\n" + &wrapped(&format!("  {driver}"))
    };
    infos.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What WGPU_BACKEND allows. By default the platform's own: GL would be a second, slower way to the same GPUs.
fn backends() -> Result<Backends, AdapterError> {
    match environment("WGPU_BACKEND") {
        None => Ok(Backends::PRIMARY),
        Some(list) => parse(&list),
    }
}

fn parse(list: &str) -> Result<Backends, AdapterError> {
    let backend = |word: &str| {
        let word = word.trim().to_lowercase();
        let found = BACKENDS.iter().find(|(words, _)| words.contains(&&word[..]));
        found.map(|(_, backend)| *backend).ok_or(AdapterError::UnknownBackend { word })
    };
    list.split(',').map(backend).collect()
}

/// A variable that is set to more than nothing.
fn environment(variable: &str) -> Option<String> {
    let value = std::env::var_os(variable)?.to_string_lossy().into_owned();
    (!value.trim().is_empty()).then_some(value)
}

fn adapters(backends: Backends) -> Vec<Adapter> {
    let instance = Instance::new(InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle() });
    let adapters = pollster::block_on(instance.enumerate_adapters(backends));
    adapters.iter().for_each(|adapter| log::debug!("found {:?}", adapter.get_info()));
    adapters
}

fn missing(backends: Backends) -> AdapterError {
    let searched = BACKENDS.iter().filter(|(_, backend)| backends.contains(*backend)).map(|(words, _)| words[0]);
    let searched = searched.collect::<Vec<_>>().join(", ");
    let within = match Instance::enabled_backend_features().intersects(backends) {
        _ if backends == Backends::PRIMARY => String::new(),
        true => format!(" for {searched}"),
        false => format!(" for {searched} (not in this build)"),
    };
    AdapterError::Missing { within }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_named_by_words_with_commas_between() {
        assert_eq!(parse("vulkan").unwrap(), Backends::VULKAN);
        assert_eq!(parse(" GL, dx12,mtl").unwrap(), Backends::GL | Backends::DX12 | Backends::METAL);
        for wrong in ["vulcan", "vulkan,", "vulkan;metal"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains("one or more of vulkan, metal, dx12, gl"), "{error}");
        }
    }

    #[test]
    fn lists_fit_a_terminal() {
        let info = |name: &str, driver: &str, driver_info: &str| AdapterInfo {
            name: name.to_owned(),
            driver: driver.to_owned(),
            driver_info: driver_info.to_owned(),
            ..AdapterInfo::new(DeviceType::IntegratedGpu, miadam::wgpu::Backend::Vulkan)
        };
        let short = info("Some GPU", "some", "1.2.3");
        assert_eq!(table(std::slice::from_ref(&short)), "Some GPU  vulkan  integrated  1.2.3");
        let long =
            info("A GPU of a long name (with an architecture)", "A driver of a long name", "version 123.456 (abc)");
        let lines = table(&[long, short]);
        assert!(lines.lines().all(|line| line.chars().count() <= WIDTH), "{lines}");
        assert!(lines.contains("integrated\n  A driver of a long name version 123.456 (abc)\nSome GPU"), "{lines}");
        let endless = table(&[info(&"name ".repeat(30), "x", &"drivers ".repeat(30))]);
        assert!(endless.lines().all(|line| line.chars().count() <= WIDTH), "{endless}");
    }
}
