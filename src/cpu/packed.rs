//! The update of a slab whose state is kept in fewer bits than `f32`.

use crate::abi::Coefs;
use crate::math::draw::{draw, draw_factor};
use crate::math::packed::{BATCH, Bf16, Codec, Q8, Random};
use crate::math::update::{adjust, apply, average_first, average_second, flush, integrate, is_plain, raise};
use crate::options::StatePrecision;
use crate::planes::Plane;

/// The words of a slab's planes, from the element on with which an update begins. Those that there are not are empty.
pub(super) struct PackedState<'a> {
    pub first_moment: &'a mut [f32],
    pub second_moment: &'a mut [f32],
    pub largest: &'a mut [f32],
    /// Plane after plane, each of `plane_words`.
    pub integrals: &'a mut [f32],
    pub plane_words: usize,
    /// The first word of these elements in each plane of integrals.
    pub first_word: usize,
    /// Their random words are drawn by the key of the step, and by the number in the tensor of their first quad.
    pub key: u32,
    pub first_quad: u32,
}

/// Words of a cache line.
const LINE: usize = 16;

/// A codec, and what suits it on a processor.
trait HostCodec: Codec {
    /// The update asks for a plane's next batch before it goes through this one where this is true. A plane's part of a batch ends before
    /// the processor has seen where the plane goes on. `Q8`'s is two cache lines, and reading ahead gained nothing there.
    const READS_AHEAD: bool;

    /// The value that is kept in place of a tiny one, which would decay slowly, as a subnormal number.
    fn settled(value: f32) -> f32;
}

impl HostCodec for Bf16 {
    const READS_AHEAD: bool = true;

    #[inline(always)]
    fn settled(value: f32) -> f32 {
        flush(value)
    }
}

impl HostCodec for Q8 {
    const READS_AHEAD: bool = false;

    /// Itself: its steps are far above, so that it becomes 0 soon.
    #[inline(always)]
    fn settled(value: f32) -> f32 {
        value
    }
}

impl PackedState<'_> {
    #[inline(always)]
    pub fn update(mut self, precision: StatePrecision, c: &Coefs, param: &mut [f32], grad: &[f32]) {
        match precision {
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
            self.update_batch::<C, PLAIN>(number, c, param, grad);
        }
        if !rest_param.is_empty() {
            let (mut param, mut grad) = ([0.0; BATCH], [0.0; BATCH]);
            param[..rest_param.len()].copy_from_slice(rest_param);
            grad[..rest_grad.len()].copy_from_slice(rest_grad);
            self.update_batch::<C, PLAIN>(whole, c, &mut param, &grad);
            rest_param.copy_from_slice(&param[..rest_param.len()]);
        }
    }

    /// `visit` of `update.wgsl`, plane after plane.
    #[inline(always)]
    fn update_batch<C: HostCodec, const PLAIN: bool>(
        &mut self,
        number: usize,
        c: &Coefs,
        param: &mut [f32; BATCH],
        grad: &[f32; BATCH],
    ) {
        let (c, at) = (*c, number * C::WORDS);
        let words = draw(self.key, self.first_quad + (number * BATCH / 4) as u32);
        let random = |plane: Plane| Random { words: &words, factor: draw_factor(plane.draw_number()) };
        let (mut g, mut num, mut root) = ([0.0; BATCH], [0.0; BATCH], [0.0; BATCH]);
        for i in 0..BATCH {
            g[i] = adjust::<PLAIN>(&c, param[i], grad[i]);
        }
        rewrite::<C, true>(&mut self.first_moment[at..], &random(Plane::FirstMoment), |i, m| {
            num[i] = C::settled(average_first(&c, g[i], m));
            num[i]
        });
        rewrite::<C, false>(&mut self.second_moment[at..], &random(Plane::SecondMoment), |i, v| {
            root[i] = average_second(&c, g[i], v);
            root[i]
        });
        if !self.largest.is_empty() {
            rewrite::<C, false>(&mut self.largest[at..], &random(Plane::MaxSecondMoment), |i, mut largest| {
                root[i] = raise(root[i], &mut largest);
                largest
            });
        }
        for j in 0..c.order {
            let plane = &mut self.integrals[j as usize * self.plane_words..][..self.plane_words];
            rewrite::<C, true>(&mut plane[self.first_word + at..], &random(Plane::Integral(j + 1)), |i, s| {
                num[i] = C::settled(integrate(&c, num[i], s));
                num[i]
            });
        }
        for i in 0..BATCH {
            param[i] = apply::<PLAIN>(&c, param[i], num[i], root[i]);
        }
    }
}

/// Goes through a plane's part of a batch.
#[inline(always)]
fn rewrite<C: HostCodec, const SIGNED: bool>(
    words: &mut [f32],
    random: &Random,
    change: impl FnMut(usize, f32) -> f32,
) {
    if C::READS_AHEAD
        && let Some(next) = words.get(C::WORDS..2 * C::WORDS)
    {
        // A value of each cache line.
        let mut bits = 0;
        for line in 0..C::WORDS / LINE {
            bits ^= next[line * LINE].to_bits();
        }
        std::hint::black_box(bits);
    }
    C::rewrite::<SIGNED>(words, random, change);
}
