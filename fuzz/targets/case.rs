//! Reads any bytes as a case of the example `replay`. One that is read is consistent, and if the optimizer accepts its
//! numbers, it can be replayed.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use miadam::ParamGroup;
use miadam_fuzz::mutator;
use miadam_support::replay::{Case, Device, OnCpu};

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
    case.grad_options.validate().expect("the reader has checked them");
    for step in &case.steps {
        assert!(step.lrs.is_empty() || step.lrs.len() == case.groups.len());
        assert_eq!(step.grads.len(), case.tensors().count());
        for (grad, tensor) in step.grads.iter().zip(case.tensors()) {
            let Some(grad) = grad else { continue };
            assert_eq!(grad.len(), tensor.values.len());
            assert_eq!(grad.len(), tensor.shape.iter().product::<usize>());
        }
    }
}

fn replay(case: &Case) {
    if case.param_groups().iter().map(ParamGroup::state_bytes).fold(0, u64::saturating_add) > MAX_STATE {
        return;
    }
    let Ok(mut device) = OnCpu::new(case) else { return };
    for step in &case.steps {
        for (group, &lr) in step.lrs.iter().enumerate() {
            if device.set_lr(group, lr).is_err() {
                return;
            }
        }
        device.step(&step.grads).expect("a step of what was read");
    }
}
