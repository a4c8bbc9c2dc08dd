//! The update of a slab whose state is kept in fewer bits than `f32`.

use super::values::split_off;
use crate::abi::Coefs;
use crate::math::draw::{draw, draw_factor};
use crate::math::packed::{BATCH, Bf16, Codec, Q8, Random};
use crate::math::update::{adjust, apply, average_first, average_second, flush, integrate, is_plain, raise};
use crate::options::StatePrecision;
use crate::planes::Plane;

/// The words of a slab's planes in fewer bits, from the batch on with which an update begins: batch after batch, and plane after plane in a
/// batch.
pub(super) struct PackedState<'a> {
    pub precision: StatePrecision,
    /// m, v and, under amsgrad, the largest second moment.
    pub moments: &'a mut [f32],
    pub integrals: &'a mut [f32],
    /// The number of planes in `moments`, and in `integrals`.
    pub planes: [usize; 2],
    /// Their random words are drawn by the key of the step, and by the number in the tensor of their first quad.
    pub key: u32,
    pub first_quad: u32,
}

/// A codec, and what suits it on a processor.
trait HostCodec: Codec {
    /// The value that is kept in place of a tiny one, which would decay slowly, as a subnormal number.
    fn settled(value: f32) -> f32;
}

impl HostCodec for Bf16 {
    #[inline(always)]
    fn settled(value: f32) -> f32 {
        flush(value)
    }
}

impl HostCodec for Q8 {
    /// Itself: its steps are far above, so that it becomes 0 soon.
    #[inline(always)]
    fn settled(value: f32) -> f32 {
        value
    }
}

impl PackedState<'_> {
    #[inline(always)]
    pub fn update(mut self, c: &Coefs, param: &mut [f32], grad: &[f32]) {
        match self.precision {
            StatePrecision::F32 => {}
            StatePrecision::Bf16 if is_plain(c) => self.update_by::<Bf16, true>(c, param, grad),
            StatePrecision::Bf16 => self.update_by::<Bf16, false>(c, param, grad),
            StatePrecision::Q8 if is_plain(c) => self.update_by::<Q8, true>(c, param, grad),
            StatePrecision::Q8 => self.update_by::<Q8, false>(c, param, grad),
        }
    }

    /// Takes [`BATCH`] elements at a time from memory to memory, so that loads overlap with arithmetic.
    #[inline(always)]
    fn update_by<C: HostCodec, const PLAIN: bool>(&mut self, c: &Coefs, param: &mut [f32], grad: &[f32]) {
        let (params, rest_param) = param.as_chunks_mut::<BATCH>();
        let (grads, rest_grad) = grad.as_chunks::<BATCH>();
        let whole = params.len();
        for (number, (param, grad)) in params.iter_mut().zip(grads).enumerate() {
            self.update_batch::<C, PLAIN>(number, C::WORDS, c, param, grad);
        }
        if !rest_param.is_empty() {
            let (mut param, mut grad) = ([0.0; BATCH], [0.0; BATCH]);
            param[..rest_param.len()].copy_from_slice(rest_param);
            grad[..rest_grad.len()].copy_from_slice(rest_grad);
            let words = self.precision.words(rest_param.len());
            self.update_batch::<C, PLAIN>(whole, words, c, &mut param, &grad);
            rest_param.copy_from_slice(&param[..rest_param.len()]);
        }
    }

    /// `visit` of `update.wgsl`, plane after plane, of so many words each.
    #[inline(always)]
    fn update_batch<C: HostCodec, const PLAIN: bool>(
        &mut self,
        number: usize,
        words: usize,
        c: &Coefs,
        param: &mut [f32; BATCH],
        grad: &[f32; BATCH],
    ) {
        let c = *c;
        let drawn = draw(self.key, self.first_quad + (number * BATCH / 4) as u32);
        let random = |plane: Plane| Random { words: &drawn, factor: draw_factor(plane.draw_number()) };
        let [mut moments, mut integrals] = [&mut *self.moments, &mut *self.integrals];
        split_off(&mut moments, number * self.planes[0] * C::WORDS);
        let (mut g, mut num, mut root) = ([0.0; BATCH], [0.0; BATCH], [0.0; BATCH]);
        for i in 0..BATCH {
            g[i] = adjust::<PLAIN>(&c, param[i], grad[i]);
        }
        C::rewrite::<true>(split_off(&mut moments, words), &random(Plane::FirstMoment), |i, m| {
            num[i] = C::settled(average_first(&c, g[i], m));
            num[i]
        });
        C::rewrite::<false>(split_off(&mut moments, words), &random(Plane::SecondMoment), |i, v| {
            root[i] = average_second(&c, g[i], v);
            root[i]
        });
        // The third plane is amsgrad's.
        if self.planes[0] > 2 {
            C::rewrite::<false>(split_off(&mut moments, words), &random(Plane::MaxSecondMoment), |i, mut largest| {
                root[i] = raise(root[i], &mut largest);
                largest
            });
        }
        // Integrals that were released have no words to skip.
        if c.order > 0 {
            split_off(&mut integrals, number * self.planes[1] * C::WORDS);
        }
        for j in 0..c.order {
            C::rewrite::<true>(split_off(&mut integrals, words), &random(Plane::Integral(j + 1)), |i, s| {
                num[i] = C::settled(integrate(&c, num[i], s));
                num[i]
            });
        }
        for i in 0..BATCH {
            param[i] = apply::<PLAIN>(&c, param[i], num[i], root[i]);
        }
    }
}
