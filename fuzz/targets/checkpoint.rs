//! Reads any bytes as a checkpoint. One that is read can be written and read again, and whatever it says, an optimizer
//! that loads it goes on.
#![no_main]

use half::bf16;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use miadam::cpu::{Binding, MiAdam};
use miadam::{Checkpoint, Dtype, Hyperparams, LoadOptions, Param, ParamGroup};
use miadam_fuzz::mutator;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator::mutate(data, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(checkpoint) = Checkpoint::from_bytes(bytes) else { return };
    // Bytes, since a NaN in the state is not equal to itself.
    let written = checkpoint.to_bytes().expect("what was read can be written");
    let again = Checkpoint::from_bytes(&written).expect("what was written can be read");
    assert_eq!(again.to_bytes().unwrap(), written);

    for (lenient, own, partial) in
        [(false, false, false), (true, false, false), (true, true, false), (true, false, true)]
    {
        let mut optimizer = optimizer();
        let before = optimizer.read_checkpoint();
        let options =
            LoadOptions { lenient, partial, own_hyperparams: own, own_grad_options: own, own_recorded: own };
        match optimizer.load_with(&again, &options) {
            Ok(_) => go_on(&mut optimizer),
            Err(_) => assert_eq!(optimizer.read_checkpoint(), before, "an error changes nothing"),
        }
    }
});

/// Parameters of the names, lengths and types that the seeds have.
fn optimizer() -> MiAdam {
    let amsgrad = Hyperparams { order: 2, amsgrad: true, ..Hyperparams::default() };
    let half = Param::new("h", 3).with_dtype(Dtype::Bf16);
    MiAdam::new([
        ParamGroup::new(Hyperparams::default(), [Param::new("w", 2), half]),
        ParamGroup::new(amsgrad, [Param::new("v", 1)]),
    ])
    .unwrap()
}

/// A good step and one that a scaler skips, and all that can be asked afterwards.
fn go_on(optimizer: &mut MiAdam) {
    for grad in [0.5, f32::INFINITY] {
        let (mut w, mut h, mut v) = ([1.0_f32; 2], [bf16::ONE; 3], [-1.0_f32]);
        let [mut w_grad, mut h_grad, mut v_grad] = [2, 3, 1].map(|len| vec![grad; len]);
        let bindings = [
            Binding::new("w", &mut w, &mut w_grad),
            Binding::new("h", &mut h, &mut h_grad),
            Binding::new("v", &mut v, &mut v_grad),
        ];
        optimizer.step(bindings).expect("a step of what was loaded");
    }
    let _ = (optimizer.read_report(), optimizer.release_integrals());
    let saved = optimizer.read_checkpoint().to_bytes().expect("a checkpoint of what was loaded");
    Checkpoint::from_bytes(&saved).expect("a checkpoint of what was loaded can be read");
}
