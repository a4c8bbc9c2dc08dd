//! Reads any bytes as a case of the example `replay`. One that is read is consistent, and if the optimizer accepts its
//! numbers, it can be replayed.
#![no_main]

#[path = "../../examples/replay/case/mod.rs"]
mod case;
#[path = "mutator.rs"]
mod mutator;
// Made for GPU buffers, too.
#[allow(dead_code)]
#[path = "../../examples/shared/values.rs"]
mod values;

use case::Case;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use miadam::ParamGroup;
use miadam::cpu::{MiAdam, Param};
use values::Values;

/// Bytes of state beyond which a case is only read.
const MAX_STATE: u64 = 1 << 20;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutator::mutate(data, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    match Case::from_bytes(bytes) {
        Ok(case) => {
            check(&case);
            replay(&case);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn check(case: &Case) {
    assert!(!case.steps.is_empty());
    for step in &case.steps {
        assert!(step.lrs.is_empty() || step.lrs.len() == case.groups.len());
        assert_eq!(step.grads.len(), case.tensors().count());
        for (grad, tensor) in step.grads.iter().zip(case.tensors()) {
            assert_eq!(grad.len(), tensor.values.len());
            assert_eq!(grad.len(), tensor.shape.iter().product::<usize>());
        }
    }
}

fn replay(case: &Case) {
    let groups = case.groups.iter().map(|group| {
        let params = group.params.iter();
        let params = params.map(|tensor| Param::new(&tensor.name, tensor.values.len()).with_dtype(tensor.dtype));
        ParamGroup::new(group.hyperparams.clone(), params)
    });
    let groups: Vec<_> = groups.collect();
    if groups.iter().map(ParamGroup::<Param>::state_bytes).fold(0, u64::saturating_add) > MAX_STATE {
        return;
    }
    let Ok(mut optimizer) = MiAdam::new(groups) else { return };
    optimizer.set_grad_options(case.grad_options).expect("the reader has checked them");
    let mut params: Vec<_> = case.tensors().map(|tensor| Values::new(tensor.dtype, &tensor.values)).collect();
    for step in &case.steps {
        for (group, &lr) in step.lrs.iter().enumerate() {
            if optimizer.set_lr(group, lr).is_err() {
                return;
            }
        }
        let grads = step.grads.iter().zip(case.tensors());
        let mut grads: Vec<_> = grads.map(|(grad, tensor)| Values::new(tensor.dtype, grad)).collect();
        let mut params: Vec<_> = params.iter_mut().map(Values::as_mut).collect();
        let mut grads: Vec<_> = grads.iter_mut().map(Values::as_mut).collect();
        optimizer.step_values(&mut params, &mut grads).expect("a step of what was read");
    }
}
