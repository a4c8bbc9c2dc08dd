//! Every error, provoked: it names what and how to mend it, changes nothing, and leaves the device usable.

use miadam::{Error, Hyperparams, MiAdam, Param, ParamGroup, Role, Slice, StepScale, WeightDecay, cpu};
use wgpu::BufferUsages;

use crate::common::{Gpu, gpu};

/// The device still steps, and the step is right.
fn assert_usable(gpu: &Gpu) {
    let buffer = gpu.buffer(&[1.0, 1.0]);
    let param = Param::new("w", Slice::new(&buffer, 0, 1), Slice::new(&buffer, 4, 1));
    let group = ParamGroup::new(Hyperparams { order: 0, ..Hyperparams::default() }, [param]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group]).unwrap();
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).unwrap();
    gpu.queue.submit([encoder.finish()]);
    // The first step of Adam is lr, to a few ulp of 1.
    let found = gpu.read(&buffer);
    assert!((found[0] - 0.999).abs() <= 4.0 * f32::EPSILON && found[1] == 1.0, "{found:?}");
}

/// The error is `expected`, on one line with the given words, and the device lives on.
#[track_caller]
fn assert_refused<T>(gpu: &Gpu, result: Result<T, Error>, expected: &Error, words: &[&str]) {
    let error = result.err().expect("an error");
    assert_eq!(error, *expected);
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
    assert!(!message.contains('\n'), "{message}");
    assert_usable(gpu);
}

fn new(gpu: &Gpu, hyperparams: Hyperparams, params: impl IntoIterator<Item = Param>) -> Result<MiAdam, Error> {
    MiAdam::new(
        &gpu.device,
        &gpu.queue,
        [ParamGroup::new(Hyperparams::default(), []), ParamGroup::new(hyperparams, params)],
    )
}

#[test]
fn hyperparameters_out_of_range() {
    let Some(gpu) = gpu() else { return };
    type Change = fn(&mut Hyperparams, f64);
    let fields: [(&str, Change, &[f64]); 7] = [
        ("lr", |h, x| h.lr = x, &[-1e-3, 1e39]),
        ("beta1", |h, x| h.beta1 = x, &[-0.1, 1.0, 1.5]),
        ("beta2", |h, x| h.beta2 = x, &[-0.1, 1.0, 1.5]),
        ("eps", |h, x| h.eps = x, &[-1e-8, 1e39, 1e-40]),
        ("kappa", |h, x| h.kappa = x, &[-0.1, 1.1]),
        ("weight_decay", |h, x| h.weight_decay = WeightDecay::Coupled(x), &[-0.1, 1e39]),
        ("weight_decay", |h, x| h.weight_decay = WeightDecay::Decoupled(x), &[-0.1, 1e39]),
    ];
    for (field, change, bad) in fields {
        for &value in bad.iter().chain(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]) {
            let mut hyperparams = Hyperparams::default();
            change(&mut hyperparams, value);
            let error = new(&gpu, hyperparams.clone(), []).expect_err(field);
            assert!(
                matches!(error, Error::InvalidHyperparam { group: 1, field: found, .. } if found == field),
                "{error}"
            );
            assert!(error.to_string().contains("must be"), "{error}");
            let twin = cpu::MiAdam::new([ParamGroup::new(hyperparams, [])]).expect_err(field);
            assert!(
                matches!(twin, Error::InvalidHyperparam { group: 0, field: found, .. } if found == field),
                "{twin}"
            );
        }
    }
    let zero = Hyperparams { switch_step: 0, ..Hyperparams::default() };
    let expected =
        Error::InvalidHyperparam { group: 1, field: "switch_step", value: 0.0, expected: "at least 1, the first step" };
    assert_refused(&gpu, new(&gpu, zero, []), &expected, &["group 1", "switch_step"]);
    // Values that are in range by themselves, but not together.
    let decay =
        Hyperparams { lr: 1e20, weight_decay: WeightDecay::Decoupled(1e20), order: 0, ..Hyperparams::default() };
    assert!(matches!(new(&gpu, decay, []), Err(Error::InvalidHyperparam { field: "weight_decay", .. })));
    let first_step = Hyperparams { lr: 3e38, order: 0, ..Hyperparams::default() };
    assert!(matches!(new(&gpu, first_step, []), Err(Error::StepScaleRange { .. })));
    // The ends of the ranges are allowed.
    let ends =
        Hyperparams { lr: 0.0, beta1: 0.0, beta2: 0.0, eps: 0.0, kappa: 1.0, switch_step: 1, ..Default::default() };
    new(&gpu, ends, []).unwrap();
}

#[test]
fn step_scales_out_of_range() {
    let Some(gpu) = gpu() else { return };
    let deep = |order, step_scale| Hyperparams { order, step_scale, ..Hyperparams::default() };
    new(&gpu, deep(12, StepScale::Paper), []).unwrap();
    new(&gpu, deep(11, StepScale::Reference), []).unwrap();
    let scale = 1e-3f64.powf(13.0);
    let expected = Error::StepScaleRange { group: 1, lr: 1e-3, order: 13, scale };
    assert_refused(&gpu, new(&gpu, deep(13, StepScale::Paper), []), &expected, &["group 1", "order", "UnitGain"]);
    let result = new(&gpu, deep(12, StepScale::Reference), []);
    assert_refused(&gpu, result, &Error::StepScaleRange { group: 1, lr: 1e-3, order: 12, scale }, &["lower `order`"]);
    let huge = Hyperparams { lr: 1e10, ..deep(5, StepScale::Paper) };
    assert!(matches!(new(&gpu, huge, []), Err(Error::StepScaleRange { .. })));

    let endless = Hyperparams { kappa: 1.0, ..deep(1, StepScale::UnitGain) };
    assert_refused(&gpu, new(&gpu, endless, []), &Error::UnitGainKappa { group: 1 }, &["group 1", "kappa"]);

    let mut optimizer = new(&gpu, deep(12, StepScale::Paper), []).unwrap();
    // A schedule may go down to 0, where the scale underflows, but not up without end.
    for lr in [1e-4, 1e-30, 0.0] {
        optimizer.set_lr(1, lr).unwrap();
    }
    assert!(matches!(optimizer.set_lr(1, 1e6), Err(Error::StepScaleRange { group: 1, .. })));
    assert!(matches!(optimizer.set_lr(1, -1.0), Err(Error::InvalidHyperparam { field: "lr", .. })));
    assert_eq!(optimizer.hyperparams().nth(1).unwrap().lr, 0.0, "unchanged");
    let expected = Error::UnknownGroup { group: 2, groups: 2 };
    assert_refused(&gpu, optimizer.set_lr(2, 1e-3), &expected, &["no group 2", "has 2"]);
}

#[test]
fn names() {
    let Some(gpu) = gpu() else { return };
    let buffer = gpu.buffer(&[0.0; 8]);
    let param =
        |name: &str, at: u64| Param::new(name, Slice::new(&buffer, 8 * at, 1), Slice::new(&buffer, 8 * at + 4, 1));
    let refuse = |params: [Param; 2], expected: Error, words: &[&str]| {
        assert_refused(&gpu, new(&gpu, Hyperparams::default(), params), &expected, words);
    };
    refuse(
        [param("a", 0), param("", 1)],
        Error::EmptyName { group: 1, index: 1 },
        &["group 1", "parameter 1", "unique name"],
    );
    refuse([param("a", 0), param("a", 1)], Error::DuplicateName { name: "a".into() }, &["`a`", "unique name"]);
    let mut optimizer = new(&gpu, Hyperparams::default(), [param("a", 0)]).unwrap();
    let Param { param, grad, .. } = param("b", 1);
    let expected = Error::UnknownParam { name: "b".into() };
    assert_refused(&gpu, optimizer.rebind("b", param, grad), &expected, &["`b`", "name given"]);
}

#[test]
fn slices() {
    let Some(gpu) = gpu() else { return };
    let buffer = gpu.buffer(&[0.0; 64]);
    let unusable = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 64,
        usage: BufferUsages::COPY_DST | BufferUsages::VERTEX,
        mapped_at_creation: false,
    });
    let good = |at: u64| Slice::new(&buffer, at, 4);
    let name = || "w".to_owned();
    let cases = [
        (
            [Slice::new(&unusable, 0, 4), good(0)],
            Error::MissingStorageUsage { name: name(), role: Role::Param },
            ["parameter buffer", "BufferUsages::STORAGE"],
        ),
        (
            [good(0), Slice::new(&unusable, 0, 4)],
            Error::MissingStorageUsage { name: name(), role: Role::Grad },
            ["gradient buffer", "BufferUsages::STORAGE"],
        ),
        (
            [good(0), good(18)],
            Error::Misaligned { name: name(), role: Role::Grad, offset: 18 },
            ["byte 18", "multiple of 4"],
        ),
        (
            [Slice::new(&buffer, 244, 4), good(0)],
            Error::OutOfBounds { name: name(), role: Role::Param, offset: 244, len: 4, size: 256 },
            ["256 bytes", "shorten"],
        ),
        (
            [Slice::new(&buffer, 4, u64::MAX / 4), good(0)],
            Error::OutOfBounds { name: name(), role: Role::Param, offset: 4, len: u64::MAX / 4, size: 256 },
            ["256 bytes", "shorten"],
        ),
        (
            [Slice::new(&buffer, 0, u64::MAX), good(0)],
            Error::OutOfBounds { name: name(), role: Role::Param, offset: 0, len: u64::MAX, size: 256 },
            ["256 bytes", "shorten"],
        ),
        (
            [good(0), Slice::new(&buffer, 16, 5)],
            Error::LengthMismatch { name: name(), role: Role::Grad, expected: 4, found: 5 },
            ["4 elements", "has 5"],
        ),
        (
            [good(0), good(12)],
            Error::Overlap { name: name(), role: Role::Grad, other: name(), other_role: Role::Param },
            ["gradient slice of `w`", "own bytes"],
        ),
    ];
    for ([param, grad], expected, words) in cases {
        let result = new(&gpu, Hyperparams::default(), [Param::new("w", param.clone(), grad.clone())]);
        assert_refused(&gpu, result, &expected, &words);
        // The same through `rebind`, where an overlap shows at the next step.
        let mut optimizer = new(&gpu, Hyperparams::default(), [Param::new("w", good(128), good(160))]).unwrap();
        let result = optimizer.rebind("w", param, grad).and_then(|()| optimizer.step(&mut gpu.encoder()));
        assert_refused(&gpu, result, &expected, &words);
        // And after it the optimizer goes on where it was, or where it is sent.
        optimizer.rebind("w", good(128), good(160)).unwrap();
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        gpu.queue.submit([encoder.finish()]);
        assert_eq!(gpu.state(&optimizer).step, 1);
    }

    let mut optimizer = new(&gpu, Hyperparams::default(), [Param::new("w", good(0), good(16))]).unwrap();
    let result = optimizer.rebind("w", Slice::new(&buffer, 0, 3), Slice::new(&buffer, 16, 3));
    let expected = Error::LengthMismatch { name: name(), role: Role::Param, expected: 4, found: 3 };
    assert_refused(&gpu, result, &expected, &["4 elements", "has 3"]);

    let params = [Param::new("a", good(0), good(16)), Param::new("b", good(32), good(12))];
    let expected = Error::Overlap { name: "b".into(), role: Role::Grad, other: "a".into(), other_role: Role::Param };
    assert_refused(&gpu, new(&gpu, Hyperparams::default(), params), &expected, &["`b`", "`a`"]);
}

#[test]
fn parameters_that_cannot_be_copied() {
    let Some(gpu) = gpu() else { return };
    let without = |usage: BufferUsages| {
        let usage = (BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST) - usage;
        gpu.device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 16, usage, mapped_at_creation: false })
    };
    let good = without(BufferUsages::empty());
    for (usage, name) in [(BufferUsages::COPY_SRC, "COPY_SRC"), (BufferUsages::COPY_DST, "COPY_DST")] {
        let expected = Error::MissingCopyUsage { name: "b".into(), role: Role::Param, usage: name };
        let params = [("a", Slice::whole(&good)), ("b", Slice::whole(&without(usage)))]
            .map(|(name, param)| Param::new(name, param, Slice::whole(&without(BufferUsages::empty()))));
        let mut optimizer = new(&gpu, Hyperparams::default(), params).unwrap();
        let mut encoder = gpu.encoder();
        let words = &["`b`", "parameter buffer", "BufferUsages::", name];
        if usage == BufferUsages::COPY_SRC {
            assert_refused(&gpu, optimizer.read_checkpoint(&mut encoder, true).map(drop), &expected, words);
        }
        // The state can be read whatever the parameters' buffers.
        let checkpoint = optimizer.read_checkpoint(&mut encoder, false).unwrap();
        optimizer.step(&mut encoder).unwrap();
        gpu.queue.submit([encoder.finish()]);
        gpu.wait();
        let mut checkpoint = pollster::block_on(checkpoint).unwrap();
        assert_eq!((checkpoint.step(), gpu.state(&optimizer).step), (0, 1));
        for name in ["a", "b"] {
            checkpoint.insert_param(name, &cpu::ValuesMut::F32(&mut [1.5; 4])).unwrap();
        }
        let before = gpu.read(&good);
        if usage == BufferUsages::COPY_DST {
            assert_refused(&gpu, optimizer.write_params(&checkpoint), &expected, words);
            assert_eq!(gpu.read(&good), before, "nothing is written");
        } else {
            optimizer.write_params(&checkpoint).unwrap();
            assert_eq!(gpu.read(&good), [1.5; 4]);
        }
    }
}

#[test]
fn a_device_with_too_few_storage_buffers() {
    let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..wgpu::Limits::default() };
    let (Some(small), Some(gpu)) = (Gpu::new(limits), gpu()) else { return };
    let expected = Error::LimitTooSmall { limit: "max_storage_buffers_per_shader_stage", needed: 6, available: 4 };
    let result = new(&small, Hyperparams::default(), []);
    assert_refused(
        &gpu,
        result,
        &expected,
        &["max_storage_buffers_per_shader_stage", "is 4", "6 is needed", "higher limit"],
    );
    // The refused device still works for its host.
    assert_eq!(small.read(&small.buffer(&[1.5])), [1.5]);
}

#[test]
fn more_groups_than_a_binding_holds() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() };
    let Some(gpu) = Gpu::new(limits) else { return };
    let groups = |count| (0..count).map(|_| ParamGroup::new(Hyperparams::default(), []));
    MiAdam::new(&gpu.device, &gpu.queue, groups(100)).unwrap();
    let error = MiAdam::new(&gpu.device, &gpu.queue, groups(1000)).unwrap_err();
    assert!(matches!(error, Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", .. }), "{error}");
    assert_usable(&gpu);
}

#[test]
fn slices_of_the_cpu_optimizer() {
    let params = [cpu::Param::new("a", 2), cpu::Param::new("b", 0)];
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), params)]).unwrap();
    let before = optimizer.clone();
    let grads: [&[f32]; 2] = [&[1.0, 1.0], &[]];
    let mut step = |params: &mut [&mut [f32]], grads: &[&[f32]]| optimizer.step(params, grads).unwrap_err();

    let error = step(&mut [&mut [0.0; 2]], &grads);
    assert_eq!(error, Error::SliceCount { expected: 2, found: 1, role: Role::Param });
    let error = step(&mut [&mut [0.0; 2], &mut []], &grads[..1]);
    assert_eq!(error, Error::SliceCount { expected: 2, found: 1, role: Role::Grad });
    assert!(error.to_string().contains("one per parameter"), "{error}");
    let error = step(&mut [&mut [0.0; 3], &mut []], &grads);
    assert_eq!(error, Error::LengthMismatch { name: "a".into(), role: Role::Param, expected: 2, found: 3 });
    let error = step(&mut [&mut [0.0; 2], &mut []], &[&[1.0], &[]]);
    assert_eq!(error, Error::LengthMismatch { name: "a".into(), role: Role::Grad, expected: 2, found: 1 });
    assert_eq!(optimizer.state(), before.state(), "nothing changed");

    let error = optimizer.set_lr(0, f64::NAN).unwrap_err();
    assert!(matches!(error, Error::InvalidHyperparam { field: "lr", .. }));
    assert_eq!(optimizer.set_lr(1, 0.1), Err(Error::UnknownGroup { group: 1, groups: 1 }));

    for len in [usize::MAX / 8, usize::MAX] {
        let huge = [ParamGroup::new(Hyperparams::default(), [cpu::Param::new("a", len)])];
        let error = cpu::MiAdam::new(huge).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    }
}
