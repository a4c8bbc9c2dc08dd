//! The advance kernel: coefficients right to f32 rounding at every t, computed on the device without f64.

use bytemuck::Zeroable;
use miadam::abi::{Coefs, GradSettings, Group, Partial, Progress, Recorded, Scaler, Tick};
use miadam::{Hyperparams, WeightDecay, shader};

use crate::common::{Gpu, gpu};

/// What the kernel makes of step `t` for the groups.
fn advance(gpu: &Gpu, groups: &[Hyperparams], t: u32) -> (Vec<Coefs>, Progress) {
    let device = &gpu.device;
    let shader = shader::advance(shader::Judgement::Blind);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(shader.source.into()),
    });
    // One for all variants, whether they use a binding or not.
    let entry = |binding| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: [0, 1, 4].contains(&binding) },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    };
    let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &[0, 1, 2, 3, 4, 5, 6].map(entry),
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&bindings)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&layout),
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &shader.constants,
            ..wgpu::PipelineCompilationOptions::default()
        },
        cache: None,
    });
    let constants: Vec<_> = groups.iter().map(Group::new).collect();
    let settings = GradSettings { factor: 1.0, max_value: f32::MAX, ..GradSettings::zeroed() };
    let ticks: Vec<_> = groups.iter().enumerate().map(|(number, group)| Tick::new(number, group, group.lr)).collect();
    // A quad for the count, and one for each gain.
    let clock_words = 8 + 4 * groups.iter().map(|group| group.order as usize).max().unwrap();
    let before = t.wrapping_sub(1);
    let clocks = [vec![before], vec![0; clock_words - 1]].concat().repeat(groups.len());
    let recorded = Recorded { settings, generation: 1, clock_words: clock_words as u32 };
    let recorded = [bytemuck::bytes_of(&recorded), bytemuck::cast_slice(&ticks)].concat();
    let progress = Progress { step: before, ..Progress::zeroed() };
    // The tests' buffers hold f32, which is as good as any other word.
    let words = |bytes: &[u8]| gpu.buffer_of(&bytemuck::pod_collect_to_vec::<_, f32>(bytes));
    let buffers = [
        words(bytemuck::cast_slice(&constants)),
        words(&recorded),
        words(bytemuck::bytes_of(&progress)),
        gpu.buffer_of(&vec![0.0; groups.len() * size_of::<Coefs>() / 4]),
        words(bytemuck::bytes_of(&Partial::zeroed())),
        words(bytemuck::bytes_of(&Scaler { scale: 1.0, ..Scaler::zeroed() })),
        words(bytemuck::cast_slice(&clocks)),
    ];
    let entries: Vec<_> = buffers
        .iter()
        .zip(0..)
        .map(|(buffer, binding)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    let bind_group =
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &bindings, entries: &entries });
    let mut encoder = gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bind_group, &[]);
    pass.dispatch_workgroups(1, 1, 1);
    drop(pass);
    gpu.submit(encoder);
    let progress = bytemuck::cast_slice::<f32, Progress>(&gpu.floats(&buffers[2]))[0];
    (bytemuck::pod_collect_to_vec(&gpu.floats(&buffers[3])), progress)
}

#[test]
fn are_right_at_every_step_on_the_device() {
    let Some(gpu) = gpu() else { return };
    let betas = [0.0, 0.3, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999_999, 1.0 - 1e-8];
    // More groups than a workgroup has invocations.
    let groups: Vec<_> = (0..betas.len().pow(2))
        .map(|number| Hyperparams {
            lr: 3e-3,
            beta1: betas[number % betas.len()],
            beta2: betas[number / betas.len()],
            kappa: 0.98,
            order: 2,
            switch_step: 1000,
            weight_decay: WeightDecay::Decoupled(0.01),
            ..Hyperparams::default()
        })
        .collect();
    for t in [1, 2, 3, 10, 999, 1000, 65_537, 1_234_567, 10_000_000, u32::MAX - 1, u32::MAX] {
        let (coefs, progress) = advance(&gpu, &groups, t);
        assert_eq!(progress.step, t);
        for (coefs, group) in coefs.iter().zip(&groups) {
            // 1 - βᵗ without cancellation.
            let correction = |beta: f64| -(f64::from(t) * (beta - 1.0).ln_1p()).exp_m1();
            let alpha = if t < 1000 { group.lr.powi(2) } else { group.lr };
            let close = |name: &str, found: f32, exact: f64, ulps: f64| {
                let error = (f64::from(found) / exact - 1.0).abs() / f64::from(f32::EPSILON);
                assert!(error <= ulps, "{name} at t {t} of {group:?}: {found:e} is {error} ulp from {exact:e}");
            };
            // The same for all three, and 1 where the step size is below 1 by itself.
            let unit = f64::from(coefs.eps / group.eps as f32);
            let below_1 = alpha / correction(group.beta1) < 1.0;
            assert!(
                unit.log2().fract() == 0.0 && (unit == 1.0) == below_1 && coefs.step_size < 1.0,
                "{unit}, {group:?}"
            );
            // Half an ulp each for α and for 1-β1ᵗ, 2.5 for WGSL's division.
            close("step_size", coefs.step_size, alpha / correction(group.beta1) * unit, 3.5);
            // A quarter for half of 1-β2ᵗ's, 2.5 for the root and 2.5 for the division.
            close("root_scale", coefs.root_scale, 1.0 / correction(group.beta2).sqrt() * unit, 5.25);
            close("one_minus_beta1", coefs.one_minus_beta1, 1.0 - group.beta1, 0.5);
            close("one_minus_beta2", coefs.one_minus_beta2, 1.0 - group.beta2, 0.5);
            close("one_minus_kappa", coefs.one_minus_kappa, 0.02, 0.5);
            close("decay", coefs.decay, 3e-5, 0.5);
            assert_eq!(coefs.order, if t < 1000 { 2 } else { 0 });
        }
    }
}

#[test]
fn the_counter_stops_at_the_last_step_it_can_hold() {
    let Some(gpu) = gpu() else { return };
    let groups = [Hyperparams::default()];
    let (last, _) = advance(&gpu, &groups, u32::MAX);
    // The step after: `t - 1` is the largest number.
    let (after, progress) = advance(&gpu, &groups, 0);
    assert_eq!(progress.step, u32::MAX);
    assert_eq!(after, last);
}
