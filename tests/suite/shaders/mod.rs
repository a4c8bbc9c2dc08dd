//! Every variant of the shaders parses, validates, and translates to what Vulkan, Metal, DX12, OpenGL ES and WebGPU take.
//!
//! `cargo test` takes a part of the variants. CI takes all of them, and has the compilers that there are compile what naga has
//! written: `.ci/shaders`. That is a test which is ignored unless it is asked for: it writes a gigabyte, for tools that Cargo
//! does not install.

mod reachable;
mod translations;
mod variants;
mod written;

use miadam::shader::Shader;
use naga::back::hlsl::ShaderModel;
use naga::back::pipeline_constants::process_overrides;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use translations::Translated;
pub use variants::{Variant, sample};

/// A module that is valid with no capability beyond the core of WebGPU: what a device with `Limits::default()` and no
/// features has.
fn parse_wgsl(source: &str) -> Result<(naga::Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
    info.map(|info| (module, info)).map_err(|error| format!("{error:?}"))
}

/// The module with the shader's values in place of its overrides, as a pipeline has it.
pub fn parse(name: &str, shader: &Shader) -> (naga::Module, ModuleInfo) {
    let Shader { source, constants } = shader;
    let (module, info) = parse_wgsl(source).unwrap_or_else(|error| panic!("{name}: {error}"));
    // A value for each override, and no other.
    let mut overrides: Vec<_> = module.overrides.iter().map(|(_, item)| item.name.as_deref().unwrap()).collect();
    let mut names: Vec<_> = constants.iter().map(|(name, _)| *name).collect();
    overrides.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, overrides, "{name}");
    let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let (module, info) = process_overrides(&module, &info, None, &constants).unwrap();
    (module.into_owned(), info.into_owned())
}

/// Every translation of a shader, by the ending of its file.
pub fn translate(name: &str, shader: &Shader) -> [(&'static str, Vec<u8>); 6] {
    let (module, info) = parse(name, shader);
    let kernel = Translated { module: &module, info: &info };
    let spirv = kernel.spirv().unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = |source: Result<String, String>| source.unwrap_or_else(|error| panic!("{name}: {error}")).into_bytes();
    [
        ("spv", spirv.into_iter().flat_map(u32::to_le_bytes).collect()),
        ("metal", text(kernel.metal())),
        ("5_1.hlsl", text(kernel.direct(ShaderModel::V5_1))),
        ("6_0.hlsl", text(kernel.direct(ShaderModel::V6_0))),
        ("comp", text(kernel.gles())),
        ("wgsl", text(kernel.wgsl())),
    ]
}

#[test]
fn a_sample_of_all_variants_translates() {
    for variant in sample() {
        translate(&variant.to_string(), &variant.shader());
    }
}
