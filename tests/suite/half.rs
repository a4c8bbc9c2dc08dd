//! f16 and bf16 on the device: bit for bit those of the `half` crate and of the CPU twin.

use half::{bf16, f16};
use miadam::math::half::bf16_stochastic;
use miadam::shader::Shader;

use crate::common::{Gpu, Random, gpu};
use crate::shaders::translate;

/// A kernel for each question, over words as they are or over f32, as the update has them.
fn source() -> String {
    let kernels = "
        @group(0) @binding(0) var<storage, read> words_in: array<vec4<u32>>;
        @group(0) @binding(1) var<storage, read> values_in: array<vec4<f32>>;
        @group(0) @binding(2) var<storage, read_write> words_out: array<vec2<u32>>;
        @group(0) @binding(3) var<storage, read_write> values_out: array<vec4<f32>>;
    ";
    let kernel = |name: &str, body: &str| {
        format!(
            "@compute @workgroup_size(64)
            fn {name}(@builtin(global_invocation_id) invocation: vec3<u32>) {{
                let i = invocation.x;
                {body}
            }}\n"
        )
    };
    [
        include_str!("../../shaders/shared/half.wgsl"),
        kernels,
        &kernel("widen_f16", "values_out[i] = unpack_f16(words_in[i].xy);"),
        &kernel("widen_bf16", "values_out[i] = unpack_bf16(words_in[i].xy);"),
        &kernel("narrow_f16", "words_out[i] = pack_f16(values_in[i]);"),
        &kernel("narrow_bf16", "words_out[i] = pack_bf16(values_in[i]);"),
        &kernel("draw_bf16", "words_out[i] = pack_bf16_stochastic(values_in[i], words_in[i].xy);"),
    ]
    .join("\n")
}

/// What a kernel makes of its inputs: each a binding and its words, four for each invocation.
fn run(gpu: &Gpu, kernel: &str, inputs: &[(u32, &[u32])], output: u32) -> Vec<u32> {
    let invocations = inputs[0].1.len() / 4;
    assert!(inputs.iter().all(|(_, words)| words.len() == 4 * invocations) && invocations.is_multiple_of(64));
    let device = &gpu.device;
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source().into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some(kernel),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let words = if output == 2 { 2 } else { 4 };
    // The tests' buffers hold f32, which is as good as any other word.
    let mut buffers: Vec<_> =
        inputs.iter().map(|&(binding, words)| (binding, gpu.buffer_of(bytemuck::cast_slice(words)))).collect();
    buffers.push((output, gpu.buffer_of(&vec![0.0; words * invocations])));
    let entries: Vec<_> = buffers
        .iter()
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding: *binding, resource: buffer.as_entire_binding() })
        .collect();
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let mut encoder = gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bind_group, &[]);
    pass.dispatch_workgroups(u32::try_from(invocations / 64).unwrap(), 1, 1);
    drop(pass);
    gpu.submit(encoder);
    bytemuck::cast_vec(gpu.floats(&buffers[inputs.len()].1))
}

/// Quads of 16-bit numbers, each in the first two of an invocation's four words.
fn packed(numbers: &[u16]) -> Vec<u32> {
    let word = |pair: &[u16]| u32::from(pair[0]) | u32::from(pair[1]) << 16;
    numbers.chunks_exact(4).flat_map(|quad| [word(&quad[..2]), word(&quad[2..]), 0, 0]).collect()
}

fn unpacked(words: &[u32]) -> impl Iterator<Item = u16> {
    words.iter().flat_map(|&word| [word as u16, (word >> 16) as u16])
}

/// Every 16-bit pattern.
fn all() -> Vec<u16> {
    (0..=u16::MAX).collect()
}

/// f32 patterns in which roundings to f16 or bf16 may go wrong: every number of either format and every point
/// halfway between two, each with its neighbours.
fn boundaries() -> Vec<u32> {
    let f16s = all().into_iter().flat_map(|bits| {
        let value = f16::from_bits(bits).to_f32();
        // Above the largest is what would be the next, were infinity a number; f32 holds every point halfway.
        let next = f16::from_bits(bits.wrapping_add(1)).to_f32();
        let next = if next.is_infinite() { 65_536f32.copysign(value) } else { next };
        [value.to_bits(), ((value + next) / 2.0).to_bits()]
    });
    let bf16s = all().into_iter().flat_map(|bits| [u32::from(bits) << 16, u32::from(bits) << 16 | 0x8000]);
    f16s.chain(bf16s).flat_map(|bits| [bits.wrapping_sub(1), bits, bits.wrapping_add(1)]).collect()
}

/// As many random words as `count`, rounded up to what a dispatch takes.
fn random(seed: u64, count: usize) -> Vec<u32> {
    let mut random = Random(seed);
    (0..count.next_multiple_of(256)).map(|_| random.bits() as u32).collect()
}

fn assert_same(name: &str, inputs: &[u32], found: impl Iterator<Item = u16>, expected: impl Fn(f32) -> u16) {
    let mut count = 0;
    for (&bits, found) in inputs.iter().zip(found) {
        let expected = expected(f32::from_bits(bits));
        assert!(found == expected, "{bits:#010x} to {name}: {found:#06x}, not {expected:#06x}");
        count += 1;
    }
    assert_eq!(count, inputs.len());
}

#[test]
fn every_f16_and_bf16_widens_exactly() {
    let Some(gpu) = gpu() else { return };
    let words = packed(&all());
    let f16s = run(&gpu, "widen_f16", &[(0, &words)], 3);
    let bf16s = run(&gpu, "widen_bf16", &[(0, &words)], 3);
    for (bits, (from_f16, from_bf16)) in all().into_iter().zip(f16s.iter().zip(&bf16s)) {
        let (f16, bf16) = (f16::from_bits(bits), bf16::from_bits(bits));
        assert_eq!(*from_f16, f16.to_f32().to_bits(), "f16 {bits:#06x}");
        // In software, where `to_f32` may be an instruction.
        assert_eq!(*from_f16, f16.to_f32_const().to_bits(), "f16 {bits:#06x}");
        assert_eq!(*from_bf16, bf16.to_f32().to_bits(), "bf16 {bits:#06x}");
    }

    let there_and_back = |narrow, wide: &[u32]| run(&gpu, narrow, &[(1, wide)], 2);
    let quiet = |bits: u16, infinity: u16, bit: u16| if bits & 0x7fff > infinity { bits | bit } else { bits };
    for (bits, back) in all().into_iter().zip(unpacked(&there_and_back("narrow_f16", &f16s))) {
        assert_eq!(back, quiet(bits, 0x7c00, 0x0200));
    }
    for (bits, back) in all().into_iter().zip(unpacked(&there_and_back("narrow_bf16", &bf16s))) {
        assert_eq!(back, quiet(bits, 0x7f80, 0x0040));
    }
}

fn narrows(gpu: &Gpu, inputs: &[u32]) {
    let f16s = run(gpu, "narrow_f16", &[(1, inputs)], 2);
    assert_same("f16", inputs, unpacked(&f16s), |value| f16::from_f32(value).to_bits());
    assert_same("f16", inputs, unpacked(&f16s), |value| f16::from_f32_const(value).to_bits());
    let bf16s = run(gpu, "narrow_bf16", &[(1, inputs)], 2);
    assert_same("bf16", inputs, unpacked(&bf16s), |value| bf16::from_f32(value).to_bits());
}

#[test]
fn f32_narrows_to_the_nearest_even() {
    let Some(gpu) = gpu() else { return };
    narrows(&gpu, &boundaries());
    narrows(&gpu, &random(1, 10_000_000));
}

#[test]
#[ignore = "every f32: a few minutes"]
fn every_f32_narrows_to_the_nearest_even() {
    let Some(gpu) = gpu() else { return };
    for high in 0..1 << 9 {
        narrows(&gpu, &(0..1 << 23).map(|low| high << 23 | low).collect::<Vec<_>>());
    }
}

#[test]
fn stochastic_rounding_is_the_twins() {
    let Some(gpu) = gpu() else { return };
    for inputs in [boundaries(), random(2, 4_000_000)] {
        let draws: Vec<_> = random(3, inputs.len()).iter().map(|&bits| bits as u16).collect();
        let found = run(&gpu, "draw_bf16", &[(1, &inputs), (0, &packed(&draws))], 2);
        for ((&bits, &draw), found) in inputs.iter().zip(&draws).zip(unpacked(&found)) {
            let expected = bf16_stochastic(f32::from_bits(bits), draw.into()).to_bits();
            assert!(found == expected, "{bits:#010x} with {draw:#06x}: {found:#06x}, not {expected:#06x}");
        }
    }
}

#[test]
fn the_mean_of_stochastic_roundings_is_the_value() {
    let Some(gpu) = gpu() else { return };
    let draws = packed(&all());
    for bits in [0, 1, 0x807f_ffff, 0x3f80_0001, 0xbf9e_0651, 0x3fff_ffff, 0x7f7e_ffff, 0xff7f_0000] {
        let found = run(&gpu, "draw_bf16", &[(1, &[bits; 1 << 16]), (0, &draws)], 2);
        // Between two neighbours the bits grow with the value, so that their mean may stand for the value's; times
        // 65,536 it is an integer.
        let sum = unpacked(&found).map(u64::from).sum::<u64>();
        assert_eq!(sum, u64::from(bits), "{bits:#010x}");
    }
}

#[test]
fn translates_to_spirv_msl_and_hlsl() {
    translate("half", &Shader { source: source(), constants: Vec::new() });
}
