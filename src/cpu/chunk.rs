//! The update of a chunk of elements: the loops around the functions of `math/update.rs`.

use std::ops::Range;

use half::bf16;

use super::packed::PackedState;
use crate::abi::{Coefs, UNROLLED_ORDER};
use crate::math::half::bf16_stochastic;
use crate::math::packed::draw_key;
use crate::math::philox::philox_of;
use crate::math::update::{adjust, apply, average, follow, integral, raise};
use crate::options::StatePrecision;
use crate::param::Member;
use crate::planes::{Plane, Planes, Rounding};
use crate::values::{Values, ValuesMut};

/// Elements updated by one task, so few that what it loads stays in the cache nearest to a core.
pub(super) const CHUNK: usize = 4096;

/// Elements below which a task is not worth a thread's attention.
const MIN_TASK: usize = 16_384;

/// Elements that stay in the nearest cache between the loops that they go through. There are several loops where values are
/// in half precision, for many integrals, and for an average.
const CACHED: usize = 512;

/// The number of tasks that are worth a thread's attention together.
pub(super) fn min_tasks(elements: usize, tasks: usize) -> usize {
    MIN_TASK.div_ceil((elements / tasks.max(1)).max(1))
}

/// Takes the first `len` elements off a slice.
pub(super) fn split_off<'a>(slice: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(slice).split_at_mut(len);
    *slice = tail;
    head
}

/// The update of one chunk.
pub(super) struct Task<'a> {
    pub coefs: &'a Coefs,
    pub param: ValuesMut<'a>,
    pub grad: ValuesMut<'a>,
    /// Whether the gradient is reset after its use.
    pub zero: bool,
    /// The parameter that the chunk belongs to.
    pub member: &'a Member,
    pub moments: &'a mut [f32],
    pub integrals: &'a mut [f32],
    /// The chunk's first quad in its tensor.
    pub first: u32,
}

/// Room for values in fewer bits while they are in `f32`.
#[derive(Default)]
pub(super) struct Scratch {
    param: Vec<f32>,
    grad: Vec<f32>,
}

impl Task<'_> {
    #[inline(always)]
    pub fn run(self, scratch: &mut Scratch) {
        let Self { coefs, mut param, mut grad, zero, member, moments, integrals, first } = self;
        let &Member { planes, rounding, stream, .. } = member;
        let len = grad.len();
        let is_single = matches!((&param, &grad), (ValuesMut::F32(_), ValuesMut::F32(_)));
        let averages = planes.average && coefs.average_rate > 0.0;
        let is_plain = is_single && planes.precision == StatePrecision::F32;
        let block_len = if is_plain && coefs.order <= UNROLLED_ORDER && !averages { len } else { CACHED };
        let mut state = ChunkState::new(planes, len, moments, integrals);
        state.draw = (draw_key(stream, coefs.step), first);
        for start in (0..len).step_by(block_len) {
            let within = start..len.min(start + block_len);
            let (mut own_param, mut own_grad);
            (own_param, param) = param.split_at(within.len());
            (own_grad, grad) = grad.split_at(within.len());
            let grad_f32 = Values::from(&own_grad).in_f32(&mut scratch.grad);
            match (&mut own_param, rounding) {
                (ValuesMut::F32(param), _) => {
                    state.update(within.clone(), coefs, param, grad_f32);
                    if averages {
                        follow_all(coefs, param, &mut state.average[within]);
                    }
                }
                (_, Rounding::Exact | Rounding::Master) => {
                    let master = &mut std::mem::take(&mut state.master)[..];
                    state.update(within.clone(), coefs, &mut master[within.clone()], grad_f32);
                    own_param.round(&master[within.clone()]);
                    if averages {
                        follow_all(coefs, &master[within.clone()], &mut state.average[within]);
                    }
                    state.master = master;
                }
                (_, Rounding::Stochastic) => {
                    scratch.param.resize(grad_f32.len(), 0.0);
                    Values::from(&own_param).copy_to(&mut scratch.param);
                    state.update(within.clone(), coefs, &mut scratch.param, grad_f32);
                    if let ValuesMut::Bf16(param) = &mut own_param {
                        round_stochastic(param, &scratch.param, [first + (start / 4) as u32, coefs.step], stream);
                    }
                    if averages {
                        Values::from(&own_param).copy_to(&mut scratch.param);
                        follow_all(coefs, &scratch.param, &mut state.average[within]);
                    }
                }
            }
            if zero {
                own_grad.zero();
            }
        }
    }
}

/// `store_param` of `mixed.wgsl`, for every element. It takes many quads at a time, so that the compiler vectorises it.
#[inline(always)]
fn round_stochastic(param: &mut [bf16], values: &[f32], [first, step]: [u32; 2], stream: u32) {
    const QUADS: usize = 64;
    let blocks = param.chunks_mut(4 * QUADS).zip(values.chunks(4 * QUADS));
    for (quad, (param, values)) in (first..).step_by(QUADS).zip(blocks) {
        let quads = philox_of::<QUADS>(quad, step, stream).map(
            #[inline(always)]
            |quad| quad.to_le(),
        );
        let random: &[u16] = bytemuck::cast_slice(&quads);
        for ((param, &value), &random) in param.iter_mut().zip(values).zip(random) {
            *param = bf16_stochastic(value, u16::from_le(random).into());
        }
    }
}

/// A chunk's planes. Those that the parameter does not have are empty.
struct ChunkState<'a> {
    precision: StatePrecision,
    /// The key of its random words, and the number in its tensor of its first quad.
    draw: (u32, u32),
    len: usize,
    first_moment: &'a mut [f32],
    second_moment: &'a mut [f32],
    largest: &'a mut [f32],
    master: &'a mut [f32],
    average: &'a mut [f32],
    /// All integrals, one after the other.
    integrals: &'a mut [f32],
}

impl<'a> ChunkState<'a> {
    #[inline(always)]
    fn new(planes: Planes, len: usize, mut moments: &'a mut [f32], integrals: &'a mut [f32]) -> Self {
        let [first_moment, second_moment, largest, master, average] = Default::default();
        let (precision, draw) = (planes.precision, (0, 0));
        let mut state = Self { precision, draw, len, first_moment, second_moment, largest, master, average, integrals };
        for plane in planes.moments() {
            let values = split_off(&mut moments, planes.words(plane, len));
            match plane {
                Plane::FirstMoment => state.first_moment = values,
                Plane::SecondMoment => state.second_moment = values,
                Plane::MaxSecondMoment => state.largest = values,
                Plane::Master => state.master = values,
                Plane::Average => state.average = values,
                // They lie in the other bank.
                Plane::Integral(_) => {}
            }
        }
        state
    }

    /// Updates the elements `within` of the chunk.
    #[inline(always)]
    fn update(&mut self, within: Range<usize>, c: &Coefs, param: &mut [f32], grad: &[f32]) {
        if self.precision == StatePrecision::F32 {
            self.block(within).update(c, param, grad);
        } else {
            let precision = self.precision;
            self.packed(within.start).update(precision, c, param, grad);
        }
    }

    /// The words of all planes from an element on, which is the first of a block.
    #[inline(always)]
    fn packed(&mut self, start: usize) -> PackedState<'_> {
        let first_word = self.precision.words(start);
        let (key, first_quad) = self.draw;
        PackedState {
            first_moment: &mut self.first_moment[first_word..],
            second_moment: &mut self.second_moment[first_word..],
            largest: self.largest.get_mut(first_word..).unwrap_or_default(),
            integrals: self.integrals,
            plane_words: self.precision.words(self.len),
            first_word,
            key,
            first_quad: first_quad + (start / 4) as u32,
        }
    }

    /// The elements of all planes that are updated together.
    #[inline(always)]
    fn block(&mut self, within: Range<usize>) -> Block<'_> {
        let Self { len, first_moment, second_moment, largest, integrals, .. } = self;
        Block {
            first_moment: &mut first_moment[within.clone()],
            second_moment: &mut second_moment[within.clone()],
            largest: if largest.is_empty() { &mut [] } else { &mut largest[within.clone()] },
            integrals,
            len: *len,
            within,
        }
    }
}

/// The elements `within` of each plane of a chunk of `len` elements.
struct Block<'a> {
    first_moment: &'a mut [f32],
    second_moment: &'a mut [f32],
    largest: &'a mut [f32],
    /// The whole planes of all integrals.
    integrals: &'a mut [f32],
    len: usize,
    within: Range<usize>,
}

impl Block<'_> {
    #[inline(always)]
    fn update(self, c: &Coefs, param: &mut [f32], grad: &[f32]) {
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
        match (largest.is_empty(), c.max_value < f32::INFINITY) {
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
            // Clipping to ±∞ changes nothing.
            let g = adjust::<true>(c, param[i], grad[i]);
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
            param[i] = apply(c, param[i], nums[i], roots[i]);
        }
    }
}

/// `visit` of `update.wgsl`, for every element.
#[inline(always)]
fn visit<const N: usize, const AMSGRAD: bool, const CLIP: bool>(
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
        let g = adjust::<CLIP>(&c, param[i], grad[i]);
        let (mut num, mut root) = average(&c, g, &mut first_moment[i], &mut second_moment[i]);
        if AMSGRAD {
            root = raise(root, &mut largest[i]);
        }
        for plane in &mut planes {
            num = integral(&c, num, &mut plane[i]);
        }
        param[i] = apply(&c, param[i], num, root);
    }
}

/// `follow` of `update.wgsl`, for every element.
#[inline(always)]
fn follow_all(c: &Coefs, theta: &[f32], average: &mut [f32]) {
    let c = *c;
    for (average, &theta) in average.iter_mut().zip(theta) {
        follow(&c, theta, average);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::planes::Bank;

    use crate::abi::{GradSettings, Group, Scaler, Tick};
    use crate::clock::Clock;
    use crate::math::advance::advance_clock;
    use crate::math::verdict::judge;
    use crate::options::{GradOptions, Hyperparams};
    use crate::param::Param;

    /// Updates `len` elements for three steps, through `dispatch` or plainly; gives all bits.
    fn run(len: usize, hyperparams: &Hyperparams, dispatch: bool) -> Vec<u32> {
        let (group, tick) = (Group::new(hyperparams), Tick::new(0, hyperparams, hyperparams.lr));
        let mut clock = Clock::new(hyperparams.order as usize);
        let settings = GradSettings::new(&GradOptions::default());
        let verdict = judge(&settings, &Scaler::starting_at(1.0), None);
        let values = |seed: f32| (0..len).map(|i| (seed + i as f32).sin()).collect::<Vec<_>>();
        let mut param = values(0.5);
        let member = Member::new(0, hyperparams, Param::new("w", len));
        let planes = member.planes;
        let [mut moments, mut integrals] = Bank::ALL.map(|bank| vec![0.0; planes.bank_words(bank, len)]);
        for t in 1..=3 {
            let coefs = advance_clock(&mut clock, &group, tick, &settings, &verdict);
            let mut grad = values(t as f32);
            let (moments, integrals) = (&mut moments[..], &mut integrals[..]);
            let (param, grad) = (ValuesMut::F32(&mut param), ValuesMut::F32(&mut grad));
            let (coefs, member) = (&coefs, &member);
            let task = Task { coefs, param, grad, zero: false, member, moments, integrals, first: 0 };
            let mut scratch = Scratch::default();
            if dispatch {
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || task.run(&mut scratch),
                );
            } else {
                task.run(&mut scratch);
            }
        }
        [param, moments, integrals].concat().iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn wider_instructions_change_no_bit() {
        // Miri takes a thousand times as long, and the same paths are in fewer elements.
        let lens: &[usize] = if cfg!(miri) { &[1, 513] } else { &[1, 63, 64, 511, 513, 4000] };
        for order in [0, 1, 2, 3, 5] {
            for amsgrad in [false, true] {
                let hyperparams = Hyperparams { order, amsgrad, switch_step: 3, ..Hyperparams::default() };
                for &len in lens {
                    assert_eq!(run(len, &hyperparams, true), run(len, &hyperparams, false), "{len} at order {order}");
                }
            }
        }
    }
}
