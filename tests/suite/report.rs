//! The numbers of a step, and the integrals' memory once they say that nobody needs it.

use miadam::{Error, GradOptions, Hyperparams, Param, ParamGroup, Phase, Plane, Schedule, cpu};

use crate::common::{Home, Random, Rig, Spot, empty_groups, empty_on_gpu, gpu, logged, scatter, step_empty};

/// Two groups that switch at different steps, and one that never integrates.
fn groups() -> [Hyperparams; 3] {
    let base = Hyperparams { lr: 0.01, schedule: Schedule::Exponential { gamma: 0.5 }, ..Hyperparams::default() };
    [
        Hyperparams { order: 2, switch_step: 3, ..base.clone() },
        Hyperparams { order: 1, switch_step: 5, ..base.clone() },
        Hyperparams { order: 0, ..base },
    ]
}

fn rig(home: Home) -> Option<Rig> {
    let lens = [(0, 5000), (0, 37), (1, 512), (2, 4100)];
    let (buffers, spots) = scatter(&mut Random(3), &lens, home);
    Some(Rig::new(gpu()?, &groups(), &buffers, &spots, 4))
}

#[test]
fn a_report_has_the_numbers_of_its_step() {
    let Some(mut rig) = rig(Home::Mixed) else { return };
    let gpu = rig.gpu.clone();
    // Reports of steps recorded before one submit: each has its own.
    let mut encoder = gpu.encoder();
    let mut reports = vec![rig.optimizer.read_report(&mut encoder).unwrap()];
    for _ in 1..=6 {
        rig.optimizer.step(&mut encoder).unwrap();
        reports.push(rig.optimizer.read_report(&mut encoder).unwrap());
    }
    gpu.submit(encoder);
    for (step, report) in reports.into_iter().enumerate() {
        let report = report.wait().unwrap();
        if step > 0 {
            rig.step_twin();
        }
        assert_eq!(report, rig.twin.read_report(), "step {step}");
        assert_eq!((report.step, report.skipped, report.loss_scale), (step as u32, 0, 1.0));
        assert_eq!(report.grad_norm, None);
        let lr = 0.01 * 0.5f64.powi(step.saturating_sub(1) as i32);
        for (group, last) in report.groups.iter().zip([2, 4, 0]) {
            assert!((group.lr / lr - 1.0).abs() < 1e-12, "step {step}: {}", group.lr);
            let integrates = step.max(1) <= last;
            assert_eq!(group.phase, if integrates { Phase::Integrating } else { Phase::Adam }, "step {step}");
        }
    }
}

/// Options count from the next step on, so that they do not tell what the last one measured.
#[test]
fn a_load_keeps_the_last_steps_norm() {
    let measuring = GradOptions { clip_norm: Some(1.0), ..GradOptions::default() };
    let Some(mut rig) = rig(Home::OnePool) else { return };
    let gpu = rig.gpu.clone();
    for (during, after) in [(GradOptions::default(), measuring), (measuring, GradOptions::default())] {
        rig.set_grad_options(during);
        rig.step_twin();
        rig.step_gpu();
        rig.set_grad_options(after);
        let checkpoint = gpu.checkpoint(&rig.optimizer, false);
        let (report, twins) = (gpu.report(&rig.optimizer), rig.twin.read_report());
        assert_eq!([report.grad_norm.is_some(), twins.grad_norm.is_some()], [during == measuring; 2]);
        rig.optimizer.load(&checkpoint).unwrap();
        rig.twin.load(&rig.twin.read_checkpoint()).unwrap();
        assert_eq!(gpu.report(&rig.optimizer), report);
        assert_eq!(rig.twin.read_report(), twins);
    }
}

#[test]
fn integrals_are_freed_once_no_group_needs_them() {
    for home in [Home::OnePool, Home::Separate] {
        let [Some(mut kept), Some(mut freed)] = [rig(home), rig(home)] else { return };
        let gpu = kept.gpu.clone();
        let mut random = Random(7);
        let needed = |known_step| Error::IntegralsInUse {
            name: "tensor.2".into(),
            group: 1,
            switch_step: 5,
            known_step,
            needed: 4,
        };
        let all = freed.optimizer.state_bytes();
        assert_eq!(freed.twin.state_bytes(), all - padding(&freed));
        for step in 0..4 {
            assert_eq!(freed.twin.release_integrals(), Err(needed(step)));
            // Nothing has been read back since the beginning.
            assert_eq!(freed.optimizer.release_integrals(), Err(needed(0)));
            let grads: Vec<_> = (0..10_000).map(|_| random.normal()).collect();
            for rig in [&mut kept, &mut freed] {
                let mut values = grads.iter().copied();
                rig.set_grads(|| values.next().unwrap());
                rig.step_gpu();
                rig.step_twin();
            }
        }
        assert_eq!(gpu.report(&freed.optimizer).step, 4);
        let integrals = freed.optimizer.release_integrals().unwrap();
        // Two planes of the first group and one of the second, in whole quads.
        assert_eq!(integrals, 4 * (2 * (5000 + 40) + 512));
        assert_eq!(freed.optimizer.state_bytes(), all - integrals);
        assert_eq!(freed.twin.release_integrals(), Ok(4 * (2 * (5000 + 37) + 512)));
        assert_eq!(freed.optimizer.release_integrals(), Ok(0), "once is enough");
        for _ in 0..3 {
            for rig in [&mut kept, &mut freed] {
                rig.step_gpu();
                rig.step_twin();
            }
        }
        assert!(kept.found() == freed.found());
        assert!(kept.expected == freed.expected);
        let (kept, freed) = (gpu.state(&kept.optimizer), gpu.state(&freed.optimizer));
        for (kept, freed) in kept.params.iter().zip(&freed.params) {
            let rest = kept.planes().filter(|(plane, _)| !matches!(plane, Plane::Integral(_)));
            assert!(freed.planes().eq(rest), "all but the integrals");
        }
    }
}

/// Bytes that the GPU's state has beyond the CPU's: tensors end with whole quads there.
fn padding(rig: &Rig) -> u64 {
    let planes = [4, 3, 2];
    let of = |spot: &Spot| 4 * planes[spot.group] * (spot.len.next_multiple_of(4) - spot.len) as u64;
    rig.spots.iter().map(of).sum()
}

#[test]
fn skipped_and_dropped_steps_keep_the_integrals() {
    let Some(mut rig) = rig(Home::OnePool) else { return };
    let gpu = rig.gpu.clone();
    rig.set_grad_options(GradOptions { skip_non_finite: true, ..GradOptions::default() });
    rig.set_grads(|| f32::NAN);
    for _ in 0..4 {
        rig.step_gpu();
    }
    let mut encoder = gpu.encoder();
    for _ in 0..4 {
        rig.optimizer.step(&mut encoder).unwrap();
    }
    drop(encoder);
    assert_eq!(gpu.report(&rig.optimizer).skipped, 4);
    let error = rig.optimizer.release_integrals().unwrap_err();
    assert!(matches!(error, Error::IntegralsInUse { known_step: 0, .. }), "{error}");
    assert!(error.to_string().contains("step 5") && error.to_string().contains("step 4 or a later one"), "{error}");
}

#[test]
fn an_outsize_group_is_warned_about_when_it_is_loaded() {
    let messages = logged();
    let group = |kappa| ParamGroup::new(Hyperparams { kappa, ..Hyperparams::default() }, [Param::new("w", 1)]);
    // A κ that no other test has.
    let saved = cpu::MiAdam::new([group(0.987)]).unwrap().read_checkpoint();
    let count = || messages.lock().unwrap().iter().filter(|message| message.contains("kappa 0.987")).count();
    let mut loaded = cpu::MiAdam::new([group(0.5)]).unwrap();
    let before = count();
    loaded.load(&saved).unwrap();
    assert_eq!(count(), before + 1);
}

#[test]
fn the_switch_is_logged() {
    let messages = logged();
    // A switch step that no other test has.
    let hyperparams = Hyperparams { switch_step: 2, kappa: 0.123, ..Hyperparams::default() };
    let mut twin = cpu::MiAdam::new(empty_groups([Hyperparams { order: 0, ..hyperparams.clone() }])).unwrap();
    (0..3).for_each(|_| step_empty(&mut twin));
    let count = |text: &str| messages.lock().unwrap().iter().filter(|message| message.contains(text)).count();
    let mut twin = cpu::MiAdam::new(empty_groups(vec![hyperparams.clone(); 77])).unwrap();
    step_empty(&mut twin);
    assert_eq!(count("INFO group 76: plain Adam from step 2 on"), 0);
    step_empty(&mut twin);
    step_empty(&mut twin);
    assert_eq!(count("INFO group 76: plain Adam from step 2 on"), 1);
    let Some(gpu) = gpu() else { return };
    let mut optimizer = empty_on_gpu(&gpu, empty_groups(vec![hyperparams.clone(); 78])).unwrap();
    optimizer.set_grad_options(GradOptions { skip_non_finite: true, ..GradOptions::default() }).unwrap();
    let mut encoder = gpu.encoder();
    (0..3).for_each(|_| optimizer.step(&mut encoder).unwrap());
    assert_eq!(count("INFO group 77: plain Adam from step 2 on, later by as many steps as are skipped"), 1);
}
