//! Gradients anywhere, and kernels and verdicts of the host's.

use half::{bf16, f16};
use miadam::{Binding, Dtype, GradOptions, GradScaler, Hyperparams, MiAdam, OtherGrad, Param, ParamGroup, cpu};

use crate::common::{Gpu, Random, Values, gpu};

fn options() -> GradOptions {
    let scaler = GradScaler { init_scale: 8.0, growth_interval: 2, ..GradScaler::default() };
    GradOptions { clip_norm: Some(1.0), scaler: Some(scaler), ..GradOptions::default() }
}

/// One parameter of this name and length, its values and its gradients.
struct Own {
    gpu: Gpu,
    optimizer: MiAdam,
    param: wgpu::Buffer,
    grad: wgpu::Buffer,
}

fn groups(names: &[&str]) -> [ParamGroup; 1] {
    [ParamGroup::new(Hyperparams::default(), names.iter().map(|name| Param::new(*name, 3)))]
}

fn own(gpu: &Gpu) -> Own {
    let (param, grad) = (gpu.buffer_of(&[1.0; 3]), gpu.buffer_of(&[0.5; 3]));
    let optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups(&["w"]), [Binding::new("w", &param, &grad)]).unwrap();
    Own { gpu: gpu.clone(), optimizer, param, grad }
}

impl Own {
    fn norm(&self) -> f32 {
        self.gpu.report(&self.optimizer).grad_norm.unwrap()
    }
}

#[test]
fn gradients_of_any_type_count_wherever_they_lie() {
    let Some(gpu) = gpu() else { return };
    let mut own = own(&gpu);
    own.optimizer.set_grad_options(GradOptions { skip_non_finite: true, ..GradOptions::default() }).unwrap();
    let pool = gpu.buffer_of(&vec![f32::NAN; 60_000]);
    let large = gpu.buffer_of(&vec![0.0; 40_001]);
    // The second shares a window with the first; the third has an odd length, the fourth none.
    let others = [
        OtherGrad::new((&pool, 4), 5),
        OtherGrad::new((&pool, 64), 6001).with_dtype(Dtype::Bf16),
        OtherGrad::new((&pool, 100_000), 33_000).with_dtype(Dtype::F16),
        OtherGrad::new((&pool, 8), 0),
        OtherGrad::new(&large, 40_001),
    ];
    own.optimizer.set_other_grads(others.clone()).unwrap();
    let mut random = Random(3);
    let values = others.each_ref().map(|other| {
        let values: Vec<_> = (0..other.len).map(|_| random.normal()).collect();
        Values::new(other.dtype, &values)
    });
    let write = |other: &OtherGrad, values: &Values| {
        let mut bytes = values.bytes();
        // The other half of the last word is not the gradient's.
        bytes.resize(bytes.len().next_multiple_of(4), 0xff);
        gpu.queue.write_buffer(&other.grad.buffer, other.grad.offset, &bytes);
    };
    others.iter().zip(&values).for_each(|(other, values)| write(other, values));
    gpu.step(&mut own.optimizer);
    let squares = |values: &Values| values.single().iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
    let exact = |numbers: &[usize]| (3.0 * 0.25 + numbers.iter().map(|&n| squares(&values[n])).sum::<f64>()).sqrt();
    // Half an ulp of a norm for each level of the sum at worst; they cancel for the most part.
    let near = |found: f32, exact: f64| {
        assert!((f64::from(found) / exact - 1.0).abs() <= 4.0 * f64::from(f32::EPSILON), "{found} is not {exact}");
    };
    near(own.norm(), exact(&[0, 1, 2, 4]));

    // A bad one anywhere is found.
    for (number, (other, values)) in others.iter().zip(&values).enumerate().filter(|(_, (other, _))| other.len > 0) {
        let mut bad = values.single();
        *bad.last_mut().unwrap() = f32::INFINITY;
        let before = gpu.report(&own.optimizer);
        write(other, &Values::new(other.dtype, &bad));
        gpu.step(&mut own.optimizer);
        let after = gpu.report(&own.optimizer);
        assert_eq!((after.step, after.skipped), (before.step, before.skipped + 1), "{number}");
        write(other, values);
    }
    // Others in their place, and none.
    own.optimizer.set_other_grads([others[1].clone()]).unwrap();
    gpu.step(&mut own.optimizer);
    near(own.norm(), exact(&[1]));
    own.optimizer.set_other_grads([]).unwrap();
    gpu.step(&mut own.optimizer);
    near(own.norm(), exact(&[]));
    assert_eq!(gpu.report(&own.optimizer).step, 3);
    let twin = [
        (Dtype::F32, cpu_norm(&[1.0_f32, 2.0])),
        (Dtype::F16, cpu_norm(&[f16::ONE, f16::from_f32(2.0)])),
        (Dtype::Bf16, cpu_norm(&[bf16::ONE, bf16::from_f32(2.0)])),
    ];
    assert!(twin.iter().all(|(_, norm)| *norm == 5.75_f32.sqrt()), "{twin:?}");
}

/// The norm with these gradients of somebody else's.
fn cpu_norm<'a>(other: impl Into<miadam::Values<'a>>) -> f32 {
    let mut optimizer = cpu::MiAdam::new(groups(&["w"])).unwrap();
    optimizer.set_grad_options(GradOptions { measure_norm: true, ..GradOptions::default() }).unwrap();
    let (mut param, mut grad) = ([1.0; 3], [0.5; 3]);
    optimizer.step_with_others([cpu::Binding::new("w", &mut param, &mut grad)], [other]).unwrap();
    optimizer.verdict().norm
}

/// Plain gradient descent by the norm and the loss scale of a `MiAdam`.
const SGD: &str = "
    struct LossScale {
        scale: f32,
        good_steps: u32,
        skip: u32,
        padding: u32,
        factor: f32,
        unit: f32,
        norm: f32,
        tail: u32,
    }

    @group(0) @binding(0) var<uniform> loss_scale: LossScale;
    @group(0) @binding(1) var<storage, read_write> theta: array<f32>;
    @group(0) @binding(2) var<storage, read_write> grad: array<f32>;

    @compute @workgroup_size(1)
    fn sgd(@builtin(global_invocation_id) id: vec3<u32>) {
        if loss_scale.skip == 0u {
            theta[id.x] -= 0.1 * (grad[id.x] * loss_scale.factor * loss_scale.unit);
        }
    }";

#[test]
fn a_kernel_of_the_hosts_goes_by_the_verdict() {
    let Some(gpu) = gpu() else { return };
    let mut own = own(&gpu);
    let mut twin = cpu::MiAdam::new(groups(&["w"])).unwrap();
    own.optimizer.set_grad_options(options()).unwrap();
    twin.set_grad_options(options()).unwrap();
    let (theta, grad) = (gpu.buffer_of(&[1.0; 4]), gpu.buffer_of(&[0.0; 4]));
    own.optimizer.set_other_grads([OtherGrad::new(&grad, 4)]).unwrap();
    let source = wgpu::ShaderSource::Wgsl(SGD.into());
    let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let buffers = [own.optimizer.loss_scale(), &theta, &grad];
    let entries: Vec<_> = (0..)
        .zip(buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    let layout = pipeline.get_bind_group_layout(0);
    let bind_group =
        gpu.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });

    let (mut w, mut expected) = ([1.0_f32; 3], [1.0_f32; 4]);
    let mut random = Random(5);
    let mut skipped = 0;
    for step in 0..12 {
        let mut grads: Vec<f32> = (0..4).map(|_| 8.0 * random.normal()).collect();
        if step % 5 == 2 {
            grads[step % 4] = f32::NAN;
        }
        gpu.queue.write_buffer(&grad, 0, bytemuck::cast_slice(&grads));
        let mut encoder = gpu.encoder();
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        own.optimizer.step_in_pass(&mut pass).unwrap();
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(4, 1, 1);
        drop(pass);
        gpu.submit(encoder);

        twin.step_with_others([cpu::Binding::new("w", &mut w, &mut [0.5; 3])], [&grads]).unwrap();
        let verdict = twin.verdict();
        skipped += u32::from(verdict.skip);
        if !verdict.skip {
            expected.iter_mut().zip(&grads).for_each(|(theta, &g)| *theta -= 0.1 * verdict.apply(g));
        }
        for (found, expected) in gpu.floats(&theta).iter().zip(expected) {
            // Steps of up to 0.1, each right to a few roundings of norm, quotient and products.
            assert!((found - expected).abs() <= 32.0 * f32::EPSILON * 0.1 * (step + 1) as f32 + f32::EPSILON);
        }
    }
    assert_eq!((skipped, gpu.report(&own.optimizer).skipped), (2, 2));
}

#[test]
fn a_verdict_of_the_hosts_is_followed() {
    let Some(gpu) = gpu() else { return };
    let [mut plain, mut follower] = [own(&gpu), own(&gpu)];
    plain.optimizer.set_grad_options(GradOptions { factor: 0.25, ..GradOptions::default() }).unwrap();
    let verdict = gpu.buffer_of(&[0.0; 64]);
    let tell = |skip: u32| {
        let words = [0, 0, skip, 0, 0.125_f32.to_bits(), 2.0_f32.to_bits(), 7.0_f32.to_bits(), 0];
        gpu.queue.write_buffer(&verdict, 0, bytemuck::cast_slice::<u32, _>(&words));
    };
    follower.optimizer.follow(Some(&verdict)).unwrap();
    let mut twin = cpu::MiAdam::new(groups(&["w"])).unwrap();
    let mut w = [1.0; 3];
    for (skip, taken) in [(0, 1), (1, 1), (0, 2)] {
        tell(skip);
        gpu.step(&mut follower.optimizer);
        if skip == 0 {
            gpu.step(&mut plain.optimizer);
        }
        let given = cpu::Verdict { skip: skip == 1, factor: 0.125, unit: 2.0, norm: 7.0 };
        twin.step_following(&given, [cpu::Binding::new("w", &mut w, &mut [0.5; 3])]).unwrap();
        assert_eq!(gpu.floats(&follower.param), gpu.floats(&plain.param));
        assert!(gpu.state(&follower.optimizer).params == gpu.state(&plain.optimizer).params);
        for report in [gpu.report(&follower.optimizer), twin.read_report()] {
            assert_eq!((report.step, report.grad_norm, report.loss_scale), (taken, Some(7.0), 1.0));
        }
        assert_eq!(twin.read_report().skipped, gpu.report(&follower.optimizer).skipped);
    }
    // Only read.
    assert_eq!(gpu.floats(&verdict)[8..], [0.0; 56]);
    // By itself again.
    tell(1);
    follower.optimizer.follow(None).unwrap();
    let factor = GradOptions { factor: 0.25, ..GradOptions::default() };
    follower.optimizer.set_grad_options(factor).unwrap();
    gpu.step(&mut plain.optimizer);
    gpu.step(&mut follower.optimizer);
    assert_eq!(gpu.floats(&follower.param), gpu.floats(&plain.param));
    let report = gpu.report(&follower.optimizer);
    assert_eq!((report.step, report.skipped, report.grad_norm), (3, 1, None));
    assert_eq!(gpu.floats(&follower.grad), [0.5; 3], "no gradient is reset");
}

#[test]
fn what_the_leader_leaves_out_does_not_count_but_others_do() {
    let Some(gpu) = gpu() else { return };
    let [w, v, grad, frozen_grad, other] =
        [[1.0; 3], [1.0; 3], [2.0; 3], [f32::NAN; 3], [1.0; 3]].map(|values| gpu.buffer_of(&values));
    let bindings = [Binding::new("w", &w, &grad), Binding::new("v", &v, &frozen_grad)];
    let mut leader = MiAdam::new(&gpu.device, &gpu.queue, groups(&["w", "v"]), bindings).unwrap();
    let mut twin = cpu::MiAdam::new(groups(&["w", "v"])).unwrap();
    let skips = GradOptions { skip_non_finite: true, ..GradOptions::default() };
    leader.set_grad_options(skips).unwrap();
    twin.set_grad_options(skips).unwrap();
    leader.set_other_grads([OtherGrad::new(&other, 3)]).unwrap();
    let mut values = [1.0; 3];
    for (frozen, norm) in [(&["v"][..], 15.0_f32.sqrt()), (&["v", "w"], 3.0_f32.sqrt())] {
        leader.thaw(["v", "w"]).unwrap();
        leader.freeze(frozen).unwrap();
        twin.thaw(["v", "w"]).unwrap();
        twin.freeze(frozen).unwrap();
        gpu.step(&mut leader);
        twin.step_with_others([cpu::Binding::new("w", &mut values, &mut [2.0; 3])], [&[1.0; 3]]).unwrap();
        for report in [gpu.report(&leader), twin.read_report()] {
            let found = report.grad_norm.unwrap();
            // The device's root.
            assert!((found / norm - 1.0).abs() <= 2.0 * f32::EPSILON && report.skipped == 0, "{found} is not {norm}");
        }
    }
}
