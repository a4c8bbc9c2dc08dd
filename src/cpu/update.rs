//! The update of a slab: the loops around the functions of `math/update.rs`.

use std::ops::Range;

use half::bf16;

use super::binding::Binding;
use super::block::{Block, CACHED};
use super::packed::PackedState;
use super::slabs::Slab;
use super::values::split_off;
use crate::abi::{Coefs, UNROLLED_ORDER};
use crate::math::draw::{draw, draw_key};
use crate::math::half::bf16_stochastic;
use crate::math::update::follow;
use crate::options::StatePrecision;
use crate::param::Member;
use crate::planes::{Bank, Plane, Planes, Rounding};
use crate::values::{Values, ValuesMut};

/// Elements below which a task is not worth a thread's attention.
const MIN_TASK: usize = 16_384;

/// The number of tasks that are worth a thread's attention together.
pub(super) fn min_tasks(elements: usize, tasks: usize) -> usize {
    MIN_TASK.div_ceil((elements / tasks.max(1)).max(1))
}

/// The parameters and gradients that a slab's state belongs to. Those that rest have none.
pub(super) enum Tensors<'t, 'a> {
    /// The slab's elements of its only parameter.
    Part(Option<Binding<'a>>),
    /// Several whole ones.
    Whole(&'t mut [Option<Binding<'a>>]),
}

impl<'a> Tensors<'_, 'a> {
    pub fn are_any(&self) -> bool {
        match self {
            Self::Part(tensors) => tensors.is_some(),
            Self::Whole(tensors) => tensors.iter().any(Option::is_some),
        }
    }

    #[inline(always)]
    fn as_mut(&mut self) -> &mut [Option<Binding<'a>>] {
        match self {
            Self::Part(tensors) => std::slice::from_mut(tensors),
            Self::Whole(tensors) => tensors,
        }
    }
}

/// The update of one slab.
pub(super) struct Task<'t, 'a> {
    pub slab: &'t Slab,
    /// The parameters of the slab.
    pub members: &'t [Member],
    /// Those of each clock. There are none for parameters that rest.
    pub coefs: &'t [Option<Coefs>],
    pub tensors: Tensors<'t, 'a>,
    /// Whether gradients are reset after their use.
    pub zero: bool,
    pub moments: &'t mut [f32],
    pub integrals: &'t mut [f32],
}

/// Room for values in fewer bits while they are in `f32`.
#[derive(Default)]
pub(super) struct Scratch {
    param: Vec<f32>,
    grad: Vec<f32>,
}

impl Task<'_, '_> {
    #[inline(always)]
    pub fn run(self, scratch: &mut Scratch) {
        let Self { slab, members, coefs, mut tensors, zero, moments, integrals } = self;
        let mut state = SlabState::new(members[0].planes, slab.len, moments, integrals);
        let mut first = 0;
        for (member, tensors) in members.iter().zip(tensors.as_mut()) {
            let within = first..first + slab.len_of(member);
            first = within.end;
            if let (Some(tensors), Some(coefs)) = (tensors.take(), &coefs[member.clock]) {
                let update = Update { coefs, member, first_quad: (slab.first / 4) as u32, within, zero };
                update.run(&mut state, tensors, scratch);
            }
        }
    }
}

/// The update of a parameter's elements in a slab.
struct Update<'a> {
    coefs: &'a Coefs,
    member: &'a Member,
    /// Its first quad in its tensor.
    first_quad: u32,
    /// Its elements in the slab.
    within: Range<usize>,
    zero: bool,
}

impl Update<'_> {
    #[inline(always)]
    fn run(self, state: &mut SlabState<'_>, tensors: Binding<'_>, scratch: &mut Scratch) {
        let Self { coefs, member, first_quad, within, zero } = self;
        let Binding { mut param, mut grad, .. } = tensors;
        let &Member { planes, rounding, stream, .. } = member;
        let averages = planes.average && coefs.average_rate > 0.0;
        let is_plain = planes.precision == StatePrecision::F32 && coefs.order <= UNROLLED_ORDER && !averages;
        // Apart from the rest, whose preparations would take a small tensor as long as its update.
        if let (ValuesMut::F32(param), ValuesMut::F32(grad), true) = (&mut param, &mut grad, is_plain) {
            state.block(within).update(coefs, param, grad);
            if zero {
                grad.fill(0.0);
            }
            return;
        }
        state.draw = (draw_key(stream, coefs.step), first_quad);
        for start in within.clone().step_by(CACHED) {
            let block = start..within.end.min(start + CACHED);
            let (mut own_param, mut own_grad) = (param.split_off(block.len()), grad.split_off(block.len()));
            let grad_f32 = Values::from(&own_grad).in_f32(&mut scratch.grad);
            match (&mut own_param, rounding) {
                (ValuesMut::F32(param), _) => {
                    state.update(block.clone(), coefs, param, grad_f32);
                    if averages {
                        follow_all(coefs, param, &mut state.average[block]);
                    }
                }
                (_, Rounding::Exact | Rounding::Master) => {
                    let master = &mut std::mem::take(&mut state.master)[..];
                    state.update(block.clone(), coefs, &mut master[block.clone()], grad_f32);
                    own_param.round(&master[block.clone()]);
                    if averages {
                        follow_all(coefs, &master[block.clone()], &mut state.average[block]);
                    }
                    state.master = master;
                }
                (_, Rounding::Stochastic) => {
                    scratch.param.resize(grad_f32.len(), 0.0);
                    Values::from(&own_param).copy_to(&mut scratch.param);
                    state.update(block.clone(), coefs, &mut scratch.param, grad_f32);
                    if let ValuesMut::Bf16(param) = &mut own_param {
                        let quad = first_quad + ((start - within.start) / 4) as u32;
                        round_stochastic(param, &scratch.param, state.draw.0, quad);
                    }
                    if averages {
                        Values::from(&own_param).copy_to(&mut scratch.param);
                        follow_all(coefs, &scratch.param, &mut state.average[block]);
                    }
                }
            }
            if zero {
                own_grad.zero();
            }
        }
    }
}

/// `store_param` of `mixed.wgsl`, for every element.
#[inline(always)]
fn round_stochastic(param: &mut [bf16], values: &[f32], key: u32, first_quad: u32) {
    const QUADS: usize = 32;
    let blocks = param.chunks_mut(4 * QUADS).zip(values.chunks(4 * QUADS));
    for (quad, (param, values)) in (first_quad..).step_by(QUADS).zip(blocks) {
        let words = draw::<{ 2 * QUADS }>(key, quad).map(u32::to_le);
        let random: &[u16] = bytemuck::cast_slice(&words);
        for ((param, &value), &random) in param.iter_mut().zip(values).zip(random) {
            *param = bf16_stochastic(value, u16::from_le(random).into());
        }
    }
}

/// A slab's planes. Those that its parameters do not have are empty.
struct SlabState<'a> {
    planes: Planes,
    /// The key of its random words, and the number in its tensor of its first quad.
    draw: (u32, u32),
    len: usize,
    /// The moments in fewer bits, where they are. The next three are empty then.
    packed: &'a mut [f32],
    first_moment: &'a mut [f32],
    second_moment: &'a mut [f32],
    largest: &'a mut [f32],
    master: &'a mut [f32],
    average: &'a mut [f32],
    /// All integrals.
    integrals: &'a mut [f32],
}

impl<'a> SlabState<'a> {
    #[inline(always)]
    fn new(planes: Planes, len: usize, mut moments: &'a mut [f32], integrals: &'a mut [f32]) -> Self {
        let [packed, first_moment, second_moment, largest, master, average] = Default::default();
        let mut state = Self {
            planes,
            draw: (0, 0),
            len,
            packed,
            first_moment,
            second_moment,
            largest,
            master,
            average,
            integrals,
        };
        if planes.precision != StatePrecision::F32 {
            state.packed = split_off(&mut moments, planes.packed(Bank::Moments) * planes.precision.words(len));
        }
        for plane in planes.moments().filter(|plane| planes.precision_of(*plane) == StatePrecision::F32) {
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

    /// Updates the elements `within` of the slab.
    #[inline(always)]
    fn update(&mut self, within: Range<usize>, c: &Coefs, param: &mut [f32], grad: &[f32]) {
        if self.planes.precision == StatePrecision::F32 {
            self.block(within).update(c, param, grad);
        } else {
            self.packed(within.start).update(c, param, grad);
        }
    }

    /// The state in fewer bits from an element on, which is the first of a batch.
    #[inline(always)]
    fn packed(&mut self, start: usize) -> PackedState<'_> {
        let precision = self.planes.precision;
        let planes = Bank::ALL.map(|bank| self.planes.packed(bank));
        let [moments, integrals] = planes.map(|planes| planes * precision.words(start));
        let (key, first_quad) = self.draw;
        PackedState {
            precision,
            moments: &mut self.packed[moments..],
            integrals: self.integrals.get_mut(integrals..).unwrap_or_default(),
            planes,
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
    use super::super::slabs::slabs;
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
        let members = [Member::new(0, hyperparams, Param::new("w", len))];
        let slab = &slabs(&members)[0];
        let planes = members[0].planes;
        let [mut moments, mut integrals] = Bank::ALL.map(|bank| vec![0.0; planes.bank_words(bank, len)]);
        for t in 1..=3 {
            let coefs = [Some(advance_clock(&mut clock, &group, tick, &settings, &verdict))];
            let mut grad = values(t as f32);
            let (moments, integrals) = (&mut moments[..], &mut integrals[..]);
            let tensors = Tensors::Part(Some(Binding::new("w", &mut param, &mut grad)));
            let task = Task { slab, members: &members, coefs: &coefs, tensors, zero: false, moments, integrals };
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
