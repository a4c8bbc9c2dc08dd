//! Plans any tensors anywhere under any limits, and checks by ranges what `tests/suite/plan` checks by elements.
#![no_main]

mod dispatches;
mod input;
mod state;

use input::{Case, Input};
use libfuzzer_sys::fuzz_target;
use miadam::plan::{Plan, StateLayout};

fuzz_target!(|input: Input| {
    let Some(Case { limits, tensors, bindings, moved }) = input.case() else { return };
    let capacity = limits.binding.min(limits.buffer) / 16;
    let fits = tensors.iter().all(|tensor| tensor.moment_planes.max(tensor.integral_planes) <= capacity);
    match StateLayout::new(&tensors, &bindings, &limits) {
        Ok(layout) => {
            assert!(fits, "a quad of every plane in {capacity} quads");
            state::check(&layout, &tensors, &limits);
            for bindings in [bindings, moved] {
                let plan = Plan::new(&tensors, &bindings, &layout, &limits);
                dispatches::check(&plan, &layout, &tensors, &bindings, &limits);
            }
        }
        Err(error) => assert!(!fits, "{error}"),
    }
});
