//! What naga makes of a kernel for each of the backends, with the options that wgpu gives it there.

use naga::back::{glsl, hlsl, msl, spv, wgsl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;
use naga::{AddressSpace, Module, ResourceBinding, ShaderStage, StorageAccess};

use super::parse_wgsl;

/// Nothing is read or written past a buffer's end.
const RESTRICT: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Restrict,
    buffer: BoundsCheckPolicy::Restrict,
    image_load: BoundsCheckPolicy::Restrict,
    binding_array: BoundsCheckPolicy::Unchecked,
};

/// A kernel whose overrides have their values.
pub struct Translated<'a> {
    pub module: &'a Module,
    pub info: &'a ModuleInfo,
}

impl Translated<'_> {
    pub fn entry_point(&self) -> &str {
        &self.module.entry_points[0].name
    }

    /// The bindings in order, each with whether it is written.
    fn bindings(&self) -> Vec<(ResourceBinding, bool)> {
        let bindings = self.module.global_variables.iter().filter_map(|(_, variable)| {
            let AddressSpace::Storage { access } = variable.space else { return None };
            Some((variable.binding?, access.contains(StorageAccess::STORE)))
        });
        let mut bindings: Vec<_> = bindings.collect();
        bindings.sort_unstable();
        bindings
    }

    /// For Vulkan 1.0, which has the fewest capabilities.
    pub fn spirv(&self) -> Result<Vec<u32>, String> {
        let options = spv::Options {
            flags: spv::WriterFlags::empty(),
            capabilities: Some([spv::Capability::Shader].into_iter().collect()),
            bounds_check_policies: RESTRICT,
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            ..spv::Options::default()
        };
        let pipeline =
            spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: self.entry_point().to_owned() };
        spv::write_vec(self.module, self.info, &options, Some(&pipeline)).map_err(|error| error.to_string())
    }

    /// For Metal 2.0, the oldest that wgpu runs on.
    pub fn metal(&self) -> Result<String, String> {
        let bindings = self.bindings();
        let slots = bindings.iter().zip(0..).map(|(&(binding, mutable), slot)| {
            (binding, msl::BindTarget { buffer: Some(slot), mutable, ..msl::BindTarget::default() })
        });
        let resources = msl::EntryPointResources {
            resources: slots.collect(),
            sizes_buffer: Some(bindings.len() as u8),
            ..msl::EntryPointResources::default()
        };
        let options = msl::Options {
            lang_version: (2, 0),
            per_entry_point_map: [(self.entry_point().to_owned(), resources)].into_iter().collect(),
            fake_missing_bindings: false,
            bounds_check_policies: RESTRICT,
            zero_initialize_workgroup_memory: false,
            ..msl::Options::default()
        };
        let entry_point = Some((ShaderStage::Compute, self.entry_point().to_owned()));
        let pipeline = msl::PipelineOptions { entry_point, ..msl::PipelineOptions::default() };
        let written = msl::write_string(self.module, self.info, &options, &pipeline);
        written.map(|(source, _)| source).map_err(|error| error.to_string())
    }

    /// For DX12. The workgroups' number is in a constant of its own, as is the dynamic offset of the recorded step.
    pub fn direct(&self, shader_model: hlsl::ShaderModel) -> Result<String, String> {
        let is_dynamic = |binding: &ResourceBinding| {
            self.entry_point() == "advance" && binding.binding == miadam::abi::advance::RECORDED
        };
        let mut registers = [0; 2];
        let targets = self.bindings().into_iter().map(|(binding, mutable)| {
            let register = &mut registers[usize::from(mutable)];
            *register += 1;
            let target = hlsl::BindTarget {
                register: *register - 1,
                dynamic_storage_buffer_offsets_index: is_dynamic(&binding).then_some(0),
                restrict_indexing: true,
                ..hlsl::BindTarget::default()
            };
            (binding, target)
        });
        let offsets = hlsl::OffsetsBindTarget { space: 1, register: 0, size: 1 };
        let options = hlsl::Options {
            shader_model,
            binding_map: targets.collect(),
            fake_missing_bindings: false,
            special_constants_binding: Some(hlsl::BindTarget::default()),
            dynamic_storage_buffer_offsets_targets: [(0, offsets)].into_iter().collect(),
            // As the crate asks for. With it, FXC took minutes for each measure kernel.
            zero_initialize_workgroup_memory: false,
            ..hlsl::Options::default()
        };
        let entry_point = Some((ShaderStage::Compute, self.entry_point().to_owned()));
        let (mut source, pipeline) = (String::new(), hlsl::PipelineOptions { entry_point });
        let written = hlsl::Writer::new(&mut source, &options, &pipeline).write(self.module, self.info, None);
        let names = written.map_err(|error| error.to_string())?.entry_point_names;
        assert!(matches!(names[..], [Ok(_)]), "{names:?}");
        Ok(source)
    }

    /// For OpenGL ES 3.1.
    pub fn gles(&self) -> Result<String, String> {
        let bindings = self.bindings();
        let options = glsl::Options {
            version: glsl::Version::new_gles(310),
            writer_flags: glsl::WriterFlags::empty(),
            binding_map: bindings.iter().zip(0..).map(|(&(binding, _), slot)| (binding, slot)).collect(),
            zero_initialize_workgroup_memory: false,
        };
        let pipeline = glsl::PipelineOptions {
            shader_stage: ShaderStage::Compute,
            entry_point: self.entry_point().to_owned(),
            multiview: None,
        };
        let mut source = String::new();
        glsl::Writer::new(&mut source, self.module, self.info, &options, &pipeline, RESTRICT)
            .and_then(|mut writer| writer.write())
            .map_err(|error| error.to_string())?;
        // glslang takes `average` for a function of an Intel extension that is not asked for.
        let (version, rest) = source.split_once('\n').unwrap_or_default();
        Ok(format!("{version}\n#define average average_of_moments\n{rest}"))
    }

    /// Back to WGSL, which has to be a kernel again.
    pub fn wgsl(&self) -> Result<String, String> {
        let source = wgsl::write_string(self.module, self.info, wgsl::WriterFlags::empty());
        let source = source.map_err(|error| error.to_string())?;
        parse_wgsl(&source)?;
        Ok(source)
    }
}
