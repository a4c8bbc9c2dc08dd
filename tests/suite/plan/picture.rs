//! The worked picture at the head of src/plan/mod.rs, shown to be true.

use miadam::Dtype;
use miadam::plan::{Access, Form, Page, Place, Placement, Plan, Shape, StateLayout, Tensor, Window};

use super::DEFAULT;

#[test]
fn the_worked_picture_is_true() {
    let tensor = |len| Tensor { len, moment_planes: 2, integral_planes: 1, ..Tensor::default() };
    let tensors = [tensor(8), tensor(4)];
    let place = |offset| Place { buffer: 0, offset };
    let placements = [(0, 48), (32, 80)].map(|(param, grad)| Placement { param: place(param), grad: place(grad) });

    let layout = StateLayout::new(&tensors, &placements, &DEFAULT).unwrap();
    // Two planes of moments and one of integrals, of 3 quads each.
    assert_eq!(layout.pages, [Page { moments: 2 * 3 * 16, integrals: 3 * 16 }]);
    let segments = layout.segments.iter();
    let segments: Vec<_> = segments.map(|s| (s.tensor, s.start, s.len, s.moments, s.integrals, s.stride)).collect();
    assert_eq!(segments, [(0, 0, 8, 0, 0, 3), (1, 0, 4, 2, 2, 3)]);

    let plan = Plan::new(&tensors, &placements, &layout, &DEFAULT);
    let [dispatch] = &plan.dispatches[..] else { panic!("one dispatch, not {plan:?}") };
    assert_eq!(dispatch.windows, [Window { buffer: 0, offset: 0, size: 96 }]);
    assert_eq!(
        (dispatch.kernel.access, dispatch.kernel.form, dispatch.kernel.shape),
        (Access::Quads, Form::One, Shape::Run)
    );
    assert_eq!([dispatch.kernel.format.param, dispatch.kernel.format.grad], [Dtype::F32; 2]);
    let [run] = &dispatch.chunks[..] else { panic!("one run, not {dispatch:?}") };
    assert_eq!((run.len, run.param, run.grad, run.moments, run.integrals), (12, 0, 3, 0, 0));

    // An odd length adds a piece by elements, and with it a dispatch.
    let odd = [tensor(8), tensor(3)];
    let layout = StateLayout::new(&odd, &placements, &DEFAULT).unwrap();
    let plan = Plan::new(&odd, &placements, &layout, &DEFAULT);
    let accesses: Vec<_> = plan.dispatches.iter().map(|dispatch| dispatch.kernel.access).collect();
    assert_eq!(accesses, [Access::Quads, Access::Elements]);
}
