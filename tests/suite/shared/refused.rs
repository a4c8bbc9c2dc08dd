//! Calls that are refused change nothing, and their messages say what to do.

use miadam::{
    Binding, Dtype, Error, GradOptions, GradScaler, Hyperparams, LoadOptions, MiAdam, OtherGrad, Param, ParamGroup,
    Slice, cpu,
};
use wgpu::BufferUsages;

use crate::common::{Gpu, gpu};

fn groups() -> [ParamGroup; 1] {
    [ParamGroup::new(Hyperparams::default(), [Param::new("w", 4)])]
}

/// A parameter at the first byte of a pool, its gradient at byte 16.
fn optimizer(gpu: &Gpu, pool: &wgpu::Buffer) -> MiAdam {
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups(), [Binding::new("w", pool, (pool, 16))]).unwrap();
    optimizer.set_grad_options(GradOptions { zero: true, ..GradOptions::default() }).unwrap();
    gpu.step(&mut optimizer);
    optimizer
}

fn assert_words(error: &Error, words: &[&str]) {
    let message = error.to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

/// Each with the leader's option that it sets.
fn leaders_options() -> [(&'static str, GradOptions); 5] {
    let plain = GradOptions { clip_value: Some(1.0), ..GradOptions::default() };
    [
        ("factor", GradOptions { factor: 0.5, ..plain }),
        ("clip_norm", GradOptions { clip_norm: Some(f64::INFINITY), ..plain }),
        ("measure_norm", GradOptions { measure_norm: true, ..plain }),
        ("skip_non_finite", GradOptions { skip_non_finite: true, ..plain }),
        ("scaler", GradOptions { scaler: Some(GradScaler::default()), ..plain }),
    ]
}

#[test]
fn gradients_of_others() {
    let Some(gpu) = gpu() else { return };
    let pool = gpu.buffer_of(&[1.0; 64]);
    let mut optimizer = optimizer(&gpu, &pool);
    optimizer.set_grad_options(GradOptions { clip_norm: Some(1.0), ..GradOptions::default() }).unwrap();
    optimizer.set_other_grads([OtherGrad::new((&pool, 128), 4)]).unwrap();
    let (before, dispatches) = (gpu.checkpoint(&optimizer, true), optimizer.dispatches().unwrap());
    let no_storage = gpu.buffer("no storage", 64, BufferUsages::COPY_DST).unwrap();
    let good = || OtherGrad::new((&pool, 160), 4);
    let at = |byte: u64, len: usize| OtherGrad::new((&pool, byte), len);
    let wrong: [(&[&str], Vec<OtherGrad>); 7] = [
        (&["gradient 1", "STORAGE"], vec![good(), OtherGrad::new(&no_storage, 4)]),
        (&["gradient 0", "byte 2", "multiple of 4"], vec![at(2, 4)]),
        (&["gradient 1", "65 elements", "256 bytes"], vec![good(), at(0, 65)]),
        (&["gradient 0", "byte 252"], vec![at(252, 3).with_dtype(Dtype::F16)]),
        (&["gradient 0", "passes the end"], vec![at(0, usize::MAX)]),
        (&["overlaps other gradient"], vec![good(), good()]),
        (&["overlaps other gradient"], vec![at(128, 9), good()]),
    ];
    for (words, others) in wrong {
        assert_words(&optimizer.set_other_grads(others).unwrap_err(), words);
        assert!(gpu.checkpoint(&optimizer, true) == before);
        assert_eq!(optimizer.dispatches().unwrap(), dispatches);
    }
    // What lies in the optimizer's own tensors is found by the step, which records nothing.
    for (role, byte) in [("parameter", 12), ("gradient", 16)] {
        optimizer.set_other_grads([good(), at(byte, 1)]).unwrap();
        let mut encoder = gpu.encoder();
        assert_words(&optimizer.step(&mut encoder).unwrap_err(), &["gradient 1", role, "`w`"]);
        gpu.submit(encoder);
        assert!(gpu.checkpoint(&optimizer, true) == before);
    }
    // As is a buffer that wgpu refuses.
    let gone = gpu.buffer_of(&[0.0; 4]);
    gone.destroy();
    optimizer.set_other_grads([OtherGrad::new(&gone, 4)]).unwrap();
    let mut encoder = gpu.encoder();
    assert_words(&optimizer.step(&mut encoder).unwrap_err(), &["gradient 0", "destroyed"]);
    gpu.submit(encoder);
    assert!(gpu.checkpoint(&optimizer, true) == before);
    // All is well without it. A tensor that moves makes way for another.
    optimizer.set_other_grads([at(0, 4)]).unwrap();
    optimizer.rebind([Binding::new("w", (&pool, 192), Slice::new(&pool, 208))]).unwrap();
    gpu.step(&mut optimizer);
    assert_eq!(gpu.report(&optimizer).step, 2);
}

#[test]
fn leaders() {
    let Some(gpu) = gpu() else { return };
    let pool = gpu.buffer_of(&[1.0; 64]);
    let mut follower = optimizer(&gpu, &pool);
    let before = gpu.checkpoint(&follower, true);
    let usage = BufferUsages::STORAGE;
    let [leader, small, gone] = [32, 28, 32].map(|size| gpu.buffer("leader", size, usage).unwrap());
    gone.destroy();
    let no_storage = gpu.buffer("leader", 32, BufferUsages::UNIFORM).unwrap();
    let own = follower.loss_scale().clone();
    let wrong: [(&[&str], &wgpu::Buffer); 4] = [
        (&["leader", "STORAGE"], &no_storage),
        (&["leader", "28 bytes", "32"], &small),
        (&["leader", "own"], &own),
        (&["leader", "destroyed"], &gone),
    ];
    for (words, leader) in wrong {
        assert_words(&follower.follow(Some(leader)).unwrap_err(), words);
        assert_eq!(*follower.loss_scale(), own);
    }
    for (option, options) in leaders_options() {
        follower.set_grad_options(options).unwrap();
        assert_words(&follower.follow(Some(&leader)).unwrap_err(), &[option, "leader"]);
        assert_eq!(*follower.loss_scale(), own);
    }
    follower.set_grad_options(GradOptions { zero: true, ..GradOptions::default() }).unwrap();
    follower.set_other_grads([OtherGrad::new((&pool, 128), 4)]).unwrap();
    assert_words(&follower.follow(Some(&leader)).unwrap_err(), &["set_other_grads"]);
    follower.set_other_grads([]).unwrap();
    assert!(gpu.checkpoint(&follower, true) == before);

    follower.follow(Some(&leader)).unwrap();
    // A checkpoint has that it follows, and nothing else has changed.
    let following = gpu.checkpoint(&follower, true);
    assert!(following != before && following.states() == before.states());
    follower.follow(None).unwrap();
    assert!(gpu.checkpoint(&follower, true) == before);
    follower.follow(Some(&leader)).unwrap();
    for (option, options) in leaders_options() {
        assert_words(&follower.set_grad_options(options).unwrap_err(), &[option]);
        let mut saved = cpu::MiAdam::new(groups()).unwrap();
        saved.set_grad_options(options).unwrap();
        assert_words(&follower.load(&saved.read_checkpoint()).unwrap_err(), &[option]);
    }
    assert_words(&follower.set_other_grads([OtherGrad::new((&pool, 128), 4)]).unwrap_err(), &["set_other_grads"]);
    assert!(gpu.checkpoint(&follower, true) == following);
    assert_eq!(*follower.loss_scale(), leader);
    // The checkpoint's options do no harm if they are left out.
    let mut saved = cpu::MiAdam::new(groups()).unwrap();
    saved.set_grad_options(leaders_options()[4].1).unwrap();
    let own = LoadOptions { own_grad_options: true, ..LoadOptions::default() };
    follower.load_with(&saved.read_checkpoint(), &own).unwrap();
    assert_eq!(*follower.loss_scale(), leader);
    assert_eq!((gpu.report(&follower).step, gpu.report(&follower).loss_scale), (0, 1.0));
}

#[test]
fn on_the_cpu() {
    let mut follower = cpu::MiAdam::new(groups()).unwrap();
    for (option, options) in leaders_options() {
        follower.set_grad_options(options).unwrap();
        let before = follower.read_checkpoint();
        let (mut w, mut grad) = ([1.0; 4], [0.5; 4]);
        let binding = cpu::Binding::new("w", &mut w, &mut grad);
        assert_words(&follower.step_following(&cpu::Verdict::default(), [binding]).unwrap_err(), &[option]);
        assert!(follower.read_checkpoint() == before && w == [1.0; 4]);
    }
    follower.set_grad_options(GradOptions::default()).unwrap();
    let unbound = follower.step_following(&cpu::Verdict::default(), []);
    assert!(matches!(unbound, Err(Error::UnboundParam { .. })));
}
