//! Every variant of the shaders parses, validates, and translates to what Vulkan, Metal and DX12 take.

use miadam::plan::{Access, Extras, Form, Format, Integrals, Kernel, Shape};
use miadam::shader::{self, Judgement, Shader};
use miadam::{Dtype, HalfParams, Rounding};
use naga::back::pipeline_constants::process_overrides;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// All formats with a half in them.
fn mixed_formats() -> impl Iterator<Item = Format> {
    use Dtype::{Bf16, F16, F32};
    let dtypes = [F32, F16, Bf16];
    let pairs = dtypes.into_iter().flat_map(move |param| dtypes.map(|grad| (param, grad)));
    let mixed = pairs.filter(|&pair| pair != (F32, F32));
    let master = mixed.map(|(param, grad)| Format::new(param, grad, HalfParams::Master));
    master.chain(dtypes.map(|grad| Format::new(Bf16, grad, HalfParams::Stochastic { seed: 0 })))
}

/// Every shader that the crate can hand to a device, with a name for it.
pub fn shaders() -> Vec<(String, Shader)> {
    let advance = Judgement::ALL.map(|judgement| (format!("advance, {judgement:?}"), shader::advance(judgement)));
    let mut shaders = advance.to_vec();
    shaders.push(("move".to_owned(), shader::moves()));
    shaders.extend([false, true].map(|by_quads| (format!("gather, by quads {by_quads}"), shader::gather(by_quads))));
    for access in [Access::Quads, Access::Elements] {
        for shape in [Shape::Run, Shape::Table] {
            let [pairs, many] = [Form::Pairs, Form::Many];
            for (form, windows) in
                [(Form::One, 1), (Form::Two, 2), (pairs, 3), (pairs, 4), (pairs, 16), (many, 2), (many, 4), (many, 16)]
            {
                let kernel = Kernel { access, form, shape, format: Format::default(), extras: Extras::default() };
                for format in mixed_formats() {
                    let kernel = Kernel { format, ..kernel };
                    shaders.push((format!("measure {kernel:?} over {windows}"), shader::measure(kernel, windows)));
                    shaders.push((format!("update {kernel:?} over {windows}"), shader::update(kernel, windows)));
                    if format.param == format.grad {
                        let out = windows % 2 == 0;
                        let swap = shader::swap(kernel, windows, out, 4);
                        shaders.push((format!("swap {kernel:?} over {windows}"), swap));
                    }
                    if format.rounding == Rounding::Master {
                        shaders.push((format!("adopt {kernel:?} over {windows}"), shader::adopt(kernel, windows)));
                    }
                }
                shaders.push((format!("measure {kernel:?} over {windows}"), shader::measure(kernel, windows)));
                shaders.push((format!("swap {kernel:?} over {windows}"), shader::swap(kernel, windows, true, 4)));
                for (number, integrals) in [0, 1, 2, 3, 4].map(Integrals::of).into_iter().enumerate() {
                    let bits = [0, 1, 2].map(|bit| (number + windows) >> bit & 1 == 1);
                    let extras = Extras {
                        adjust: number % 2 == 0,
                        clamp: bits[0],
                        decay: number % 2 == windows % 2,
                        cautious: number % 4 == windows % 4,
                        skip: bits[1],
                        zero: bits[2],
                        amsgrad: number % 3 == 0,
                        average: number % 3 != windows % 3,
                        integrals,
                    };
                    let kernel = Kernel { extras, ..kernel };
                    shaders.push((format!("update {kernel:?} over {windows}"), shader::update(kernel, windows)));
                }
            }
        }
    }
    shaders
}

/// The module with the shader's values in place of its overrides, as a pipeline has it.
pub fn parse(name: &str, shader: &Shader) -> (naga::Module, ModuleInfo) {
    let Shader { source, constants } = shader;
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{name}: {error}\n{source}"));
    // No capability beyond the core of WebGPU.
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
    let info = info.unwrap_or_else(|error| panic!("{name}: {error:?}"));
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

/// Panics unless the shader can go to Vulkan, Metal and DX12.
pub fn translate(name: &str, shader: &Shader) {
    let (module, info) = parse(name, shader);
    let words = spv::write_vec(&module, &info, &spv::Options::default(), None).unwrap();
    assert_eq!(words[0], 0x0723_0203, "{name}: SPIR-V's magic number");

    let options = msl::Options { fake_missing_bindings: true, ..Default::default() };
    let (metal, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default()).unwrap();
    assert!(metal.contains("kernel void"), "{name}");

    let (mut direct, options) = (String::new(), hlsl::Options::default());
    let pipeline = hlsl::PipelineOptions::default();
    hlsl::Writer::new(&mut direct, &options, &pipeline).write(&module, &info, None).unwrap();
    assert!(direct.contains("numthreads"), "{name}");
}

#[test]
fn translate_to_spirv_msl_and_hlsl() {
    for (name, shader) in shaders() {
        translate(&name, &shader);
    }
}
