//! One assembled kernel, kept for readers and reviewers: a change of any shader shows in it.

use miadam::plan::{Access, Extras, Form, Format, Integrals, Kernel, Shape};
use miadam::shader;

#[test]
fn the_plain_update_of_order_1_is_the_one_that_is_kept() {
    let kernel = Kernel {
        access: Access::Quads,
        form: Form::One,
        shape: Shape::Run,
        format: Format::default(),
        extras: Extras { integrals: Integrals::of(1), ..Extras::default() },
    };
    let (found, kept) = (shader::update(kernel, 1).to_string(), include_str!("../golden/update.wgsl"));
    let differs = found.lines().zip(kept.lines()).find(|(found, kept)| found != kept);
    assert!(
        found.trim_end() == kept.trim_end(),
        "the kernel has changed at {differs:?}; if it should have, run\n\
         cargo run --example wgsl -- update --order 1 > tests/golden/update.wgsl"
    );
}
