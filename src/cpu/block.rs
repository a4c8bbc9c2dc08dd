//! The update of elements whose state is in `f32`: one loop over all planes, or a loop for each plane.

use std::ops::Range;

use crate::abi::{Coefs, UNROLLED_ORDER};
use crate::math::update::{adjust, apply, average, integral, is_plain, raise};

/// Elements that stay in the nearest cache between the loops that they go through. There are several loops where values are
/// in half precision, for many integrals, and for an average.
pub(super) const CACHED: usize = 512;

/// The elements `within` of each plane of a slab of `len` elements.
pub(super) struct Block<'a> {
    pub first_moment: &'a mut [f32],
    pub second_moment: &'a mut [f32],
    pub largest: &'a mut [f32],
    /// The whole planes of all integrals.
    pub integrals: &'a mut [f32],
    pub len: usize,
    pub within: Range<usize>,
}

impl Block<'_> {
    #[inline(always)]
    pub fn update(self, c: &Coefs, param: &mut [f32], grad: &[f32]) {
        match c.order {
            0 => self.few::<0>(c, param, grad),
            1 => self.few::<1>(c, param, grad),
            2 => self.few::<2>(c, param, grad),
            UNROLLED_ORDER => self.few::<{ UNROLLED_ORDER as usize }>(c, param, grad),
            _ => self.any(c, param, grad),
        }
    }

    /// `N` integrals, in one loop over all planes that the compiler vectorises.
    #[inline(always)]
    fn few<const N: usize>(self, c: &Coefs, param: &mut [f32], grad: &[f32]) {
        let Self { first_moment, second_moment, largest, integrals, len, within } = self;
        let (integrals, _) = integrals.split_at_mut(N * len);
        let mut planes = integrals.chunks_exact_mut(len);
        let planes = std::array::from_fn(|_| &mut planes.next().unwrap_or_default()[within.clone()]);
        let moments = [first_moment, second_moment];
        match (largest.is_empty(), is_plain(c)) {
            (true, false) => visit::<N, false, false>(c, param, grad, moments, largest, planes),
            (true, true) => visit::<N, false, true>(c, param, grad, moments, largest, planes),
            (false, false) => visit::<N, true, false>(c, param, grad, moments, largest, planes),
            (false, true) => visit::<N, true, true>(c, param, grad, moments, largest, planes),
        }
    }

    /// Any number of integrals of at most [`CACHED`] elements: a loop for each plane.
    #[inline(always)]
    fn any(self, c: &Coefs, param: &mut [f32], grad: &[f32]) {
        let Self { first_moment, second_moment, largest, integrals, len, within } = self;
        let (mut nums, mut roots) = ([0.0; CACHED], [0.0; CACHED]);
        let (nums, roots) = (&mut nums[..within.len()], &mut roots[..within.len()]);
        for i in 0..within.len() {
            let g = adjust::<false>(c, param[i], grad[i]);
            (nums[i], roots[i]) = average(c, g, &mut first_moment[i], &mut second_moment[i]);
        }
        for (root, largest) in roots.iter_mut().zip(largest) {
            *root = raise(*root, largest);
        }
        for plane in integrals.chunks_exact_mut(len).take(c.order as usize) {
            for (num, s) in nums.iter_mut().zip(&mut plane[within.clone()]) {
                *num = integral(c, *num, s);
            }
        }
        for i in 0..within.len() {
            param[i] = apply::<false>(c, param[i], nums[i], roots[i]);
        }
    }
}

/// `visit` of `update.wgsl`, for every element.
#[inline(always)]
fn visit<const N: usize, const AMSGRAD: bool, const PLAIN: bool>(
    c: &Coefs,
    param: &mut [f32],
    grad: &[f32],
    [first_moment, second_moment]: [&mut [f32]; 2],
    largest: &mut [f32],
    planes: [&mut [f32]; N],
) {
    // A copy, which the compiler knows that no plane overlaps, and lengths that it knows are equal.
    let (c, len) = (*c, param.len());
    let (grad, first_moment, second_moment) = (&grad[..len], &mut first_moment[..len], &mut second_moment[..len]);
    let largest = &mut largest[..if AMSGRAD { len } else { 0 }];
    let mut planes = planes.map(
        #[inline(always)]
        |plane| &mut plane[..len],
    );
    for i in 0..len {
        let g = adjust::<PLAIN>(&c, param[i], grad[i]);
        let (mut num, mut root) = average(&c, g, &mut first_moment[i], &mut second_moment[i]);
        if AMSGRAD {
            root = raise(root, &mut largest[i]);
        }
        for plane in &mut planes {
            num = integral(&c, num, &mut plane[i]);
        }
        param[i] = apply::<PLAIN>(&c, param[i], num, root);
    }
}
