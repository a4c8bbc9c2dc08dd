//! Whether every tensor has all its state, and no two share any.

use std::ops::Range;

use miadam::plan::{Limits, StateLayout, Tensor};

pub fn check(layout: &StateLayout, tensors: &[Tensor], limits: &Limits) {
    for page in &layout.pages {
        assert!(page.moments.max(page.integrals) <= limits.binding.min(limits.buffer), "{page:?}");
    }
    let mut covered = vec![0; tensors.len()];
    let mut taken = Vec::new();
    for segment in &layout.segments {
        assert_eq!(covered[segment.tensor], segment.start, "{segment:?}");
        assert!(segment.start.is_multiple_of(4) && segment.len > 0, "{segment:?}");
        covered[segment.tensor] += segment.len;
        let (tensor, page) = (&tensors[segment.tensor], layout.pages[segment.page]);
        let quads = segment.len.div_ceil(4);
        for (integral, planes, first, size) in [
            (false, tensor.moment_planes, segment.moments, page.moments),
            (true, tensor.integral_planes, segment.integrals, page.integrals),
        ] {
            for plane in 0..planes {
                let start = first + plane * segment.stride;
                assert!(16 * (start + quads) <= size, "plane {plane} of {segment:?} is past the page");
                taken.push((segment.page, integral, start..start + quads));
            }
        }
    }
    assert!(covered.iter().zip(tensors).all(|(&covered, tensor)| covered == tensor.len));
    taken.sort_unstable_by_key(|(page, integral, Range { start, .. })| (*page, *integral, *start));
    for pair in taken.windows(2) {
        let [(page, integral, range), (next_page, next_integral, next)] = pair else { unreachable!() };
        let together = (page, integral) == (next_page, next_integral);
        assert!(!together || range.end <= next.start, "{pair:?} share state");
    }
}
