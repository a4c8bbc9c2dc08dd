//! Calls that could do nothing without a word: no parameters, somebody else's queue or buffers, an effective step of nearly
//! nothing. And messages that were hard to use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use miadam::{
    Binding, Checkpoint, Dtype, Error, GradOptions, Hyperparams, MiAdam, Param, ParamGroup, Role, StepScale, cpu,
};

use crate::common::{Gpu, Values, gpu, logged};

fn group(name: &str) -> ParamGroup {
    ParamGroup::new(Hyperparams::default(), [Param::new(name, 4)])
}

#[test]
fn an_optimizer_of_nothing_is_refused() {
    let Some(gpu) = gpu() else { return };
    let empty = || ParamGroup::new(Hyperparams::default(), []);
    let buffers = [0; 2].map(|_| gpu.buffer_of(&[0.0; 4]));
    let binding = || [Binding::new("w", &buffers[0], &buffers[1])];
    let cases: [(Vec<ParamGroup>, Error); 3] = [
        (vec![], Error::NoGroups),
        (vec![empty()], Error::EmptyGroup { group: 0 }),
        (vec![group("w"), empty()], Error::EmptyGroup { group: 1 }),
    ];
    for (groups, expected) in cases {
        assert_eq!(cpu::MiAdam::new(groups.clone()).err(), Some(expected.clone()));
        assert_eq!(MiAdam::new(&gpu.device, &gpu.queue, groups, binding()).err(), Some(expected));
    }
    // Parameters without elements are no mistake: a model may have them.
    let none = ParamGroup::new(Hyperparams::default(), [Param::new("w", 0)]);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [none], binding()).unwrap();
    gpu.step(&mut optimizer);
    assert_eq!(gpu.report(&optimizer).step, 1);
}

/// Two devices of one instance, whose errors are counted.
fn two_devices() -> Option<([Gpu; 2], [Arc<AtomicUsize>; 2])> {
    let adapter = miadam_support::adapter::for_test()?;
    let gpus = [0; 2].map(|_| Gpu::on(&adapter));
    let counts = [0; 2].map(|_| Arc::new(AtomicUsize::new(0)));
    for (gpu, count) in gpus.iter().zip(&counts) {
        let count = count.clone();
        gpu.device.on_uncaptured_error(Arc::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
    }
    Some((gpus, counts))
}

/// wgpu has no way to ask whether a queue is a device's own.
#[test]
fn with_the_queue_of_another_device_nothing_is_taken_for_a_value() {
    let Some(([gpu, other], [_, other_errors])) = two_devices() else { return };
    let buffers = [0; 2].map(|_| gpu.buffer_of(&[0.0; 4]));
    let binding = Binding::new("w", &buffers[0], &buffers[1]);
    let mut optimizer = MiAdam::new(&gpu.device, &other.queue, [group("w")], [binding]).unwrap();
    assert!(other_errors.load(Ordering::Relaxed) > 0, "wgpu tells the other device's host");
    gpu.step(&mut optimizer);
    let mut encoder = gpu.encoder();
    let (report, checkpoint) =
        (optimizer.read_report(&mut encoder).unwrap(), optimizer.read_checkpoint(&mut encoder, false).unwrap());
    gpu.submit(encoder);
    assert_eq!(report.wait().err(), Some(Error::ReadbackLost));
    assert_eq!(checkpoint.wait().err(), Some(Error::ReadbackLost));
}

#[test]
fn a_buffer_of_another_device_is_named() {
    let Some(([gpu, other], [own_errors, other_errors])) = two_devices() else { return };
    let [own, foreign] = [gpu.buffer_of(&[0.0; 8]), other.buffer_of(&[0.0; 8])];
    for (role, buffers) in [(Role::Param, [&foreign, &own]), (Role::Grad, [&own, &foreign])] {
        let fine = Binding::new("a", (&own, 16), &gpu.buffer_of(&[0.0; 4]));
        let bindings = [fine, Binding::new("w", buffers[0], buffers[1])];
        let error = MiAdam::new(&gpu.device, &gpu.queue, [group("a"), group("w")], bindings).unwrap_err();
        let is_named =
            matches!(&error, Error::RefusedBuffer { name, role: found, .. } if name == "w" && *found == role);
        assert!(is_named && error.to_string().contains("bind a buffer that was made on the optimizer's"), "{error}");
    }
    assert_eq!([own_errors, other_errors].map(|count| count.load(Ordering::Relaxed)), [0, 0]);
}

#[test]
fn steps_of_nearly_nothing_are_reported() {
    let messages = logged();
    for (step_scale, kappa, order, warns) in [
        (StepScale::Paper, 0.123, 3, true),
        (StepScale::Reference, 0.123, 1, true),
        (StepScale::UnitGain, 0.123, 3, false),
        (StepScale::ExactGain, 1.0, 3, false),
        (StepScale::Paper, 0.123, 1, false),
    ] {
        let hyperparams = Hyperparams { order, kappa, step_scale, ..Hyperparams::default() };
        cpu::MiAdam::new([ParamGroup::new(hyperparams.clone(), [Param::new("w", 1)])]).unwrap();
        let part = format!("order {order}, kappa {kappa:?} and step_scale {step_scale:?} make");
        let found = messages.lock().unwrap().iter().filter(|message| message.contains(&part)).count();
        assert_eq!(found > 0, warns, "{part}: effective {:e}", hyperparams.effective_lr());
    }
    let messages = messages.lock().unwrap();
    assert!(messages.iter().any(|message| message.contains("training may stand still")), "{messages:?}");
}

#[test]
fn integrals_that_are_always_used_say_so() {
    let mut optimizer = cpu::MiAdam::new([group("w")]).unwrap();
    let error = optimizer.release_integrals().unwrap_err();
    assert_eq!(error, Error::IntegralsAlwaysUsed { group: 0 });
    assert!(error.to_string().contains("set `switch_step`") && !error.to_string().contains("4294967295"));
}

#[test]
fn messages_are_short_and_name_the_entry() {
    // A number as people write it.
    let tiny = Hyperparams { eps: 1e-50, ..Hyperparams::default() }.validate(0).unwrap_err();
    assert!(tiny.to_string().contains("`eps` is 1e-50;"), "{tiny}");
    let tiny = GradOptions { factor: 1e-50, ..GradOptions::default() }.validate().unwrap_err();
    assert!(tiny.to_string().contains("`factor` is 1e-50;"), "{tiny}");
    // `main` prints an error by `Debug`.
    assert_eq!(format!("{tiny:?}"), tiny.to_string());

    let mut optimizer = cpu::MiAdam::new([group("w")]).unwrap();
    optimizer.step([cpu::Binding::new("w", &mut [0.0; 4], &mut [1.0; 4])]).unwrap();
    let text = format!("{optimizer:#?}");
    assert!(text.lines().count() < 10 && text.contains("recorded: 1"), "{text}");

    let mut checkpoint: Checkpoint = optimizer.read_checkpoint();
    checkpoint.insert_param("w", &Values::new(Dtype::F32, &[1.0; 4]).as_mut()).unwrap();
    let mut half = Values::new(Dtype::Bf16, &[1.0; 4]);
    let error = checkpoint.copy_param("w", &mut half).unwrap_err();
    assert!(matches!(&error, Error::CheckpointEntry { entry, .. } if entry == "param/w"), "{error}");
    let error = error.to_string();
    assert!(error.contains("4 elements of f32") && error.contains("4 of bf16"), "{error}");
}

#[test]
fn two_layers_that_share_a_parameter_learn_how() {
    let Some(gpu) = gpu() else { return };
    let buffers = [0; 3].map(|_| gpu.buffer_of(&[0.0; 4]));
    let bindings = [Binding::new("a", &buffers[0], &buffers[1]), Binding::new("b", &buffers[0], &buffers[2])];
    let error = MiAdam::new(&gpu.device, &gpu.queue, [group("a"), group("b")], bindings).unwrap_err();
    assert!(matches!(error, Error::Overlap { .. }));
    assert!(error.to_string().contains("give a parameter that two layers share once"), "{error}");
}

#[test]
fn the_host_knows_the_counts_without_a_checkpoint() {
    let Some(gpu) = gpu() else { return };
    let skips = GradOptions { skip_non_finite: true, ..GradOptions::default() };
    let mut twin = cpu::MiAdam::new([group("w")]).unwrap();
    let [param, grad] = [gpu.buffer_of(&[0.0; 4]), gpu.buffer_of(&[1.0; 4])];
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group("w")], [Binding::new("w", &param, &grad)]).unwrap();
    optimizer.set_grad_options(skips).unwrap();
    twin.set_grad_options(skips).unwrap();
    for value in [1.0, f32::NAN, 1.0] {
        gpu.write(&grad, 0, bytemuck::cast_slice(&[value; 4])).unwrap();
        gpu.step(&mut optimizer);
        twin.step([cpu::Binding::new("w", &mut [0.0; 4], &mut [value; 4])]).unwrap();
    }
    assert_eq!((twin.recorded(), twin.known_step(), twin.known_skipped()), (3, 2, 1));
    assert_eq!((optimizer.recorded(), optimizer.known_step()), (3, 0), "nothing has been read");
    let saved = gpu.checkpoint(&optimizer, false);
    assert_eq!((optimizer.known_step(), optimizer.known_skipped()), (2, 1));
    // And after a checkpoint is loaded.
    let mut twin = cpu::MiAdam::new([group("w")]).unwrap();
    twin.load(&saved).unwrap();
    assert_eq!((twin.recorded(), twin.known_step(), twin.known_skipped()), (3, 2, 1));
    let mut fresh = MiAdam::new(&gpu.device, &gpu.queue, [group("w")], [Binding::new("w", &param, &grad)]).unwrap();
    fresh.load(&saved).unwrap();
    assert_eq!((fresh.recorded(), fresh.known_step(), fresh.known_skipped()), (3, 2, 1));
}
