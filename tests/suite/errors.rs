//! Every error, provoked: it names what and how to mend it, changes nothing, and leaves the device usable.

use miadam::{
    Average, Binding, Error, Hyperparams, MiAdam, Param, ParamGroup, Role, Slice, StatePrecision, StepScale,
    WeightDecay, cpu,
};
use wgpu::BufferUsages;

use crate::common::{Gpu, empty_groups, empty_on_gpu, gpu};

/// How to mend a step scale out of range, under every rule but `UnitGain`.
const REMEDY: &str = "bring `lr` nearer to 1, lower `order`, or use `StepScale::UnitGain`";

/// The device still steps, and the step is right.
fn assert_usable(gpu: &Gpu) {
    let buffer = gpu.buffer_of(&[1.0, 1.0]);
    let group = ParamGroup::new(Hyperparams { order: 0, ..Hyperparams::default() }, [Param::new("w", 1)]);
    let binding = Binding::new("w", (&buffer, 0), (&buffer, 4));
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], [binding]).unwrap();
    gpu.step(&mut optimizer);
    // The first step of Adam is lr, to a few ulp of 1.
    let found = gpu.floats(&buffer);
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

/// Names, lengths, and where parameter and gradient lie.
type Tensors<'a, const N: usize> = [(&'a str, usize, [Slice; 2]); N];

fn new<const N: usize>(gpu: &Gpu, hyperparams: Hyperparams, tensors: Tensors<N>) -> Result<MiAdam, Error> {
    // A group without parameters is refused, so that each has one without elements.
    let nothing = gpu.buffer_of(&[0.0]);
    let empty = ["empty 0", "empty 1"];
    let [first, last] = empty.map(|name| Param::new(name, 0));
    let params = tensors.each_ref().map(|(name, len, _)| Param::new(*name, *len)).into_iter().chain([last]);
    let bindings = tensors.map(|(name, _, [param, grad])| Binding::new(name, param, grad)).into_iter();
    let bindings = bindings.chain(empty.map(|name| Binding::new(name, &nothing, &nothing)));
    let groups = [ParamGroup::new(Hyperparams::default(), [first]), ParamGroup::new(hyperparams, params)];
    MiAdam::new(&gpu.device, &gpu.queue, groups, bindings)
}

#[test]
fn an_order_beyond_all() {
    let Some(gpu) = gpu() else { return };
    let error = new(&gpu, Hyperparams { order: 1001, ..Hyperparams::default() }, []).unwrap_err();
    assert!(matches!(error, Error::InvalidHyperparam { field: "order", .. }), "{error}");
}

#[test]
fn hyperparameters_out_of_range() {
    let Some(gpu) = gpu() else { return };
    type Change = fn(&mut Hyperparams, f64);
    let fields: [(&str, Change, &[f64]); 9] = [
        ("lr", |h, x| h.lr = x, &[-1e-3, 1e39]),
        ("beta1", |h, x| h.beta1 = x, &[-0.1, 1.0, 1.5]),
        ("beta2", |h, x| h.beta2 = x, &[-0.1, 1.0, 1.5]),
        ("eps", |h, x| h.eps = x, &[-1e-8, 1e39, 1e-40]),
        ("kappa", |h, x| h.kappa = x, &[-0.1, 1.1]),
        ("weight_decay", |h, x| h.weight_decay = WeightDecay::Coupled(x), &[-0.1, 1e39]),
        ("weight_decay", |h, x| h.weight_decay = WeightDecay::Decoupled(x), &[-0.1, 1e39]),
        ("weight_decay", |h, x| h.weight_decay = WeightDecay::Cautious(x), &[-0.1, 1e39]),
        ("average.decay", |h, x| h.average = Average::Ema { decay: x, warmup: true }, &[-0.1, 1.1]),
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
            let twin = cpu::MiAdam::new(empty_groups([hyperparams])).expect_err(field);
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
    for (from, every, field) in [(0, 1, "average.from"), (1, 0, "average.every")] {
        let never = Hyperparams { average: Average::Equal { from, every }, ..Hyperparams::default() };
        assert!(matches!(new(&gpu, never, []), Err(Error::InvalidHyperparam { field: found, .. }) if found == field));
    }
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
    let expected = Error::StepScaleRange { group: 1, lr: 1e-3, order: 13, scale, remedy: REMEDY };
    assert_refused(&gpu, new(&gpu, deep(13, StepScale::Paper), []), &expected, &["group 1", "order", "UnitGain"]);
    let result = new(&gpu, deep(12, StepScale::Reference), []);
    assert_refused(
        &gpu,
        result,
        &Error::StepScaleRange { group: 1, lr: 1e-3, order: 12, scale, remedy: REMEDY },
        &["lower `order`"],
    );
    // What is in use already is no remedy.
    let unit_gain = Hyperparams { kappa: 1.0 - 1e-5, ..deep(8, StepScale::UnitGain) };
    let message = new(&gpu, unit_gain, []).unwrap_err().to_string();
    assert!(message.contains("lower `kappa`") && !message.contains("UnitGain"), "{message}");
    let tiny = Hyperparams { lr: 1e-39, ..deep(0, StepScale::Paper) };
    assert!(new(&gpu, tiny, []).unwrap_err().to_string().ends_with("bring `lr` nearer to 1"));
    let huge = Hyperparams { lr: 1e10, ..deep(5, StepScale::Paper) };
    assert!(matches!(new(&gpu, huge, []), Err(Error::StepScaleRange { .. })));

    let endless = Hyperparams { kappa: 1.0, ..deep(1, StepScale::UnitGain) };
    assert_refused(&gpu, new(&gpu, endless.clone(), []), &Error::UnitGainKappa { group: 1 }, &["group 1", "ExactGain"]);
    new(&gpu, Hyperparams { step_scale: StepScale::ExactGain, ..endless }, []).unwrap();
    let tiny = Hyperparams { lr: 1e-39, ..deep(1, StepScale::ExactGain) };
    assert!(new(&gpu, tiny, []).unwrap_err().to_string().ends_with("bring `lr` nearer to 1"));

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
    let buffer = gpu.buffer_of(&[0.0; 8]);
    let tensor = |name, at: u64| (name, 1, [8 * at, 8 * at + 4].map(|offset| Slice::new(&buffer, offset)));
    let refuse = |tensors: Tensors<2>, expected: Error, words: &[&str]| {
        assert_refused(&gpu, new(&gpu, Hyperparams::default(), tensors), &expected, words);
    };
    refuse(
        [tensor("a", 0), tensor("", 1)],
        Error::EmptyName { group: 1, index: 1 },
        &["group 1", "parameter 1", "unique name"],
    );
    refuse([tensor("a", 0), tensor("a", 1)], Error::DuplicateName { name: "a".into() }, &["`a`", "unique name"]);
}

#[test]
fn slices() {
    let Some(gpu) = gpu() else { return };
    let buffer = gpu.buffer_of(&[0.0; 64]);
    let unusable = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 64,
        usage: BufferUsages::COPY_DST | BufferUsages::VERTEX,
        mapped_at_creation: false,
    });
    let good = |at: u64| Slice::new(&buffer, at);
    let name = || "w".to_owned();
    let past = |offset, len| Error::OutOfBounds { name: name(), role: Role::Param, offset, len, size: 256 };
    let cases = [
        (
            4,
            [Slice::from(&unusable), good(0)],
            Error::MissingStorageUsage { name: name(), role: Role::Param },
            ["parameter buffer", "BufferUsages::STORAGE"],
        ),
        (
            4,
            [good(0), Slice::from(&unusable)],
            Error::MissingStorageUsage { name: name(), role: Role::Grad },
            ["gradient buffer", "BufferUsages::STORAGE"],
        ),
        (
            4,
            [good(0), good(18)],
            Error::Misaligned { name: name(), role: Role::Grad, offset: 18 },
            ["byte 18", "multiple of 4"],
        ),
        (4, [good(244), good(0)], past(244, 4), ["256 bytes", "shorten"]),
        (4, [good(u64::MAX - 3), good(0)], past(u64::MAX - 3, 4), ["256 bytes", "shorten"]),
        (65, [good(0), good(0)], past(0, 65), ["256 bytes", "shorten"]),
        (usize::MAX / 4, [good(4), good(0)], past(4, u64::MAX / 4), ["256 bytes", "shorten"]),
        (usize::MAX, [good(0), good(0)], past(0, u64::MAX), ["256 bytes", "shorten"]),
        (
            4,
            [good(0), good(12)],
            Error::Overlap { name: name(), role: Role::Grad, other: name(), other_role: Role::Param },
            ["gradient slice of `w`", "own bytes"],
        ),
    ];
    for (len, [param, grad], expected, words) in cases {
        let result = new(&gpu, Hyperparams::default(), [("w", len, [param.clone(), grad.clone()])]);
        assert_refused(&gpu, result, &expected, &words);
        if len != 4 {
            continue;
        }
        // The same through `rebind`, where an overlap shows at the next step.
        let mut optimizer = new(&gpu, Hyperparams::default(), [("w", 4, [good(128), good(160)])]).unwrap();
        let result = optimizer.rebind([Binding::new("w", param, grad)]);
        let result = result.and_then(|()| optimizer.step(&mut gpu.encoder()));
        assert_refused(&gpu, result, &expected, &words);
        // And after it the optimizer goes on where it was, or where it is sent.
        optimizer.rebind([Binding::new("w", good(128), good(160))]).unwrap();
        gpu.step(&mut optimizer);
        assert_eq!(gpu.state(&optimizer).step, 1);
    }

    let tensors = [("a", 4, [good(0), good(16)]), ("b", 4, [good(32), good(12)])];
    let expected = Error::Overlap { name: "b".into(), role: Role::Grad, other: "a".into(), other_role: Role::Param };
    assert_refused(&gpu, new(&gpu, Hyperparams::default(), tensors), &expected, &["`b`", "`a`"]);
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
        let tensors = [("a", Slice::from(&good)), ("b", Slice::from(&without(usage)))]
            .map(|(name, param)| (name, 4, [param, Slice::from(&without(BufferUsages::empty()))]));
        let mut optimizer = new(&gpu, Hyperparams::default(), tensors).unwrap();
        let mut encoder = gpu.encoder();
        let words = &["`b`", "parameter buffer", "BufferUsages::", name];
        if usage == BufferUsages::COPY_SRC {
            assert_refused(&gpu, optimizer.read_checkpoint(&mut encoder, true).map(drop), &expected, words);
        }
        // The state can be read whatever the parameters' buffers.
        let checkpoint = optimizer.read_checkpoint(&mut encoder, false).unwrap();
        optimizer.step(&mut encoder).unwrap();
        gpu.submit(encoder);
        let mut checkpoint = checkpoint.wait().unwrap();
        assert_eq!((checkpoint.step(), gpu.state(&optimizer).step), (0, 1));
        for name in ["a", "b"] {
            checkpoint.insert_param(name, &[1.5; 4]).unwrap();
        }
        for name in ["empty 0", "empty 1"] {
            checkpoint.insert_param(name, &[0.0; 0]).unwrap();
        }
        let before = gpu.floats(&good);
        if usage == BufferUsages::COPY_DST {
            assert_refused(&gpu, optimizer.write_params(&checkpoint), &expected, words);
            assert_eq!(gpu.floats(&good), before, "nothing is written");
        } else {
            optimizer.write_params(&checkpoint).unwrap();
            assert_eq!(gpu.floats(&good), [1.5; 4]);
        }
    }
}

#[test]
fn a_device_with_too_few_storage_buffers() {
    let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..wgpu::Limits::default() };
    let (Some(small), Some(gpu)) = (Gpu::new(limits), gpu()) else { return };
    let expected = Error::LimitTooSmall { limit: "max_storage_buffers_per_shader_stage", needed: 7, available: 4 };
    let result = new(&small, Hyperparams::default(), []);
    assert_refused(
        &gpu,
        result,
        &expected,
        &["max_storage_buffers_per_shader_stage", "is 4", "7 is needed", "higher limit"],
    );
    // The refused device still works for its host.
    assert_eq!(small.floats(&small.buffer_of(&[1.5])), [1.5]);
}

#[test]
fn more_groups_than_a_binding_holds() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() };
    let Some(gpu) = Gpu::new(limits) else { return };
    let groups = |count| empty_groups(vec![Hyperparams::default(); count]);
    empty_on_gpu(&gpu, groups(100)).unwrap();
    let error = empty_on_gpu(&gpu, groups(1000)).unwrap_err();
    assert!(matches!(error, Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", .. }), "{error}");
    assert_usable(&gpu);
}

#[test]
fn slices_of_the_cpu_optimizer() {
    let params = [Param::new("a", 2), Param::new("b", 0)];
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), params)]).unwrap();
    let before = optimizer.clone();
    let mut step = |param: &mut [f32], grad: &mut [f32]| {
        let bindings = [cpu::Binding::new("a", param, grad), cpu::Binding::new("b", &mut [0.0; 0], &mut [0.0; 0])];
        optimizer.step(bindings).unwrap_err()
    };
    let error = step(&mut [0.0; 3], &mut [1.0; 2]);
    assert_eq!(error, Error::LengthMismatch { name: "a".into(), role: Role::Param, expected: 2, found: 3 });
    let error = step(&mut [0.0; 2], &mut [1.0]);
    assert_eq!(error, Error::LengthMismatch { name: "a".into(), role: Role::Grad, expected: 2, found: 1 });
    assert_eq!(optimizer.read_state(), before.read_state(), "nothing changed");

    let error = optimizer.set_lr(0, f64::NAN).unwrap_err();
    assert!(matches!(error, Error::InvalidHyperparam { field: "lr", .. }));
    assert_eq!(optimizer.set_lr(1, 0.1), Err(Error::UnknownGroup { group: 1, groups: 1 }));

    for state_precision in [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Q8] {
        for len in [usize::MAX / 8, usize::MAX] {
            let hyperparams = Hyperparams { state_precision, ..Hyperparams::default() };
            let error = cpu::MiAdam::new([ParamGroup::new(hyperparams, [Param::new("a", len)])]).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
        }
    }
}
