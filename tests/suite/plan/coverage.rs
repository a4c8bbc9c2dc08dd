//! What the dispatches of a plan reach, element by element, and that this is everything once.

use std::collections::HashMap;

use miadam::abi::{CELL_BYTES, Chunk, QUAD};
use miadam::plan::{Dispatch, Extras, Format, Limits, Place, Placement, Plan, StateLayout, Tensor};
use miadam::{Dtype, HalfParams, StatePrecision};
use miadam_support::plan_check;
use proptest::prelude::*;

/// Tensors, and elements of one: enough to exceed every limit. Miri takes a thousand times as long.
const MOST: usize = if cfg!(miri) { 4 } else { 24 };
const LONGEST: u64 = if cfg!(miri) { 701 } else { 9000 };

/// Limits small enough that a few thousand elements exceed them. Workgroups squared suffice for the largest
/// binding, as `plan_limits` demands.
pub fn limits() -> impl Strategy<Value = Limits> {
    (12..16u32, 12..16u32, 2..6usize, 5..9u32, 32..40u32).prop_map(
        |(binding, buffer, windows, alignment, workgroups)| Limits {
            binding: 1 << binding,
            buffer: 1 << buffer,
            windows,
            workgroups,
            alignment: 1 << alignment,
        },
    )
}

/// Tensors of a few groups, and buffers laid out with gaps: sometimes params and grads apart, sometimes mixed.
pub fn tensors() -> impl Strategy<Value = (Vec<Tensor>, Vec<Placement>, Vec<u64>)> {
    let planes = prop::collection::vec((2..4u64, 0..4u64, any::<[bool; 2]>()), 1..4);
    let len = prop_oneof![0..9u64, 0..700u64, 0..LONGEST];
    let place = (0..4usize, prop_oneof![Just(None), (0..9u64).prop_map(Some)]);
    let tensor = (0..4usize, len, format(), place.clone(), place);
    (planes, prop::collection::vec(tensor, 0..MOST), any::<bool>()).prop_map(|(planes, tensors, grads_last)| {
        let mut ends = vec![0; 8];
        // In 32-bit words: a gap, or the next whole quad of f32.
        let mut put = |len: u64, dtype: Dtype, (buffer, gap): (usize, Option<u64>)| {
            let end: &mut u64 = &mut ends[buffer];
            let start = gap.map_or(end.next_multiple_of(QUAD), |gap| *end + gap);
            *end = start + (dtype.width() * len).div_ceil(4);
            Place { buffer, offset: 4 * start }
        };
        let params: Vec<_> = tensors.iter().map(|&(_, len, format, param, _)| put(len, format.param, param)).collect();
        let grads: Vec<_> = tensors
            .iter()
            .map(|&(_, len, format, _, (buffer, gap))| {
                put(len, format.grad, (buffer + if grads_last { 4 } else { 0 }, gap))
            })
            .collect();
        let shapes = tensors.iter().zip(1..).map(|(&(group, len, format, ..), number)| {
            let group = group % planes.len();
            let (moment_planes, integral_planes, [master, average]) = planes[group];
            let stream = if format.draws() { number } else { 0 };
            let (clock, rests, extras) = (group as u32, number % 7 == 3, Extras::default());
            Tensor { clock, rests, len, moment_planes, master, average, integral_planes, format, stream, extras }
        });
        let placements = params.into_iter().zip(grads).map(|(param, grad)| Placement { param, grad });
        (shapes.collect(), placements.collect(), ends.into_iter().map(|end| 4 * end).collect())
    })
}

/// Mostly f32.
fn format() -> impl Strategy<Value = Format> {
    use Dtype::{Bf16, F16, F32};
    let half = |half_params| move |(param, grad)| Format::new(param, grad, half_params, StatePrecision::F32);
    let dtypes = || (prop_oneof![Just(F16), Just(Bf16), Just(F32)], prop_oneof![Just(F16), Just(Bf16), Just(F32)]);
    let types = prop_oneof![
        2 => Just(Format::default()),
        1 => dtypes().prop_map(half(HalfParams::Master)),
        1 => dtypes().prop_map(half(HalfParams::Stochastic { seed: 0 })),
    ];
    let state =
        prop_oneof![2 => Just(StatePrecision::F32), 1 => Just(StatePrecision::Bf16), 1 => Just(StatePrecision::Q8)];
    (types, state).prop_map(|(types, state)| Format { state, ..types })
}

/// An element of a tensor as a dispatch reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    grad: (usize, u64),
    page: usize,
    clock: u32,
    /// Bytes of the page.
    moments: u64,
    integrals: u64,
    /// Bytes from a plane to the next.
    stride: u64,
    /// Bytes of the page's moments, where the tensor has such a plane.
    master: Option<u64>,
    average: Option<u64>,
    format: Format,
    /// What its stochastic rounding draws by: the tensor's stream, and the quad's number.
    draw: (u32, u64),
}

/// By buffer and byte of θ.
pub type Coverage = HashMap<(usize, u64), Reached>;

/// All that the kernels would reach, as `update.wgsl` computes it.
pub fn coverage(plan: &Plan, limits: &Limits) -> Coverage {
    let mut coverage = Coverage::new();
    for dispatch in &plan.dispatches {
        plan_check::check(dispatch, limits);
        for chunk in &dispatch.chunks {
            let places = plan_check::places(dispatch, chunk);
            for element in 0..u64::from(chunk.len) {
                let (at, reached) = reach(dispatch, chunk, places, element);
                assert!(coverage.insert(at, reached).is_none(), "{at:?} is reached twice");
            }
        }
    }
    coverage
}

fn reach(dispatch: &Dispatch, chunk: &Chunk, [param, grad]: [Place; 2], element: u64) -> ((usize, u64), Reached) {
    let format = dispatch.kernel.format;
    let at = |place: Place, dtype: Dtype| (place.buffer, place.offset + dtype.width() * element);
    let quad = element / QUAD;
    let (in_plane, _) = in_plane(format.state, element);
    let state = |first: u32| CELL_BYTES * u64::from(first) + in_plane;
    let exact = |first: u32| (first > 0).then(|| CELL_BYTES * (u64::from(first) + quad) + 4 * (element % QUAD));
    let reached = Reached {
        grad: at(grad, format.grad),
        page: dispatch.page,
        clock: chunk.clock,
        moments: state(chunk.moments),
        integrals: state(chunk.integrals),
        stride: CELL_BYTES * u64::from(chunk.stride),
        master: exact(chunk.master),
        average: exact(chunk.average),
        format,
        draw: if format.draws() { (chunk.stream, u64::from(chunk.first) + quad) } else { (0, 0) },
    };
    (at(param, format.param), reached)
}

/// The first byte of an element in a plane, and its bytes.
fn in_plane(state: StatePrecision, element: u64) -> (u64, u64) {
    match state {
        StatePrecision::F32 => (4 * element, 4),
        StatePrecision::Bf16 => (2 * element, 2),
        StatePrecision::Q8 => {
            let (block, row, column) = (element / 128, element % 128 / 16, element % 16);
            (128 * block + 64 * (row / 4) + 4 * column + row % 4, 1)
        }
    }
}

/// The buffer and byte of an element of θ.
fn element_at(placement: &Placement, tensor: &Tensor, element: u64) -> (usize, u64) {
    (placement.param.buffer, placement.param.offset + tensor.format.param.width() * element)
}

/// Every element of a tensor that takes part at its place, with its own gradient and clock, and nothing else.
pub fn check_coverage(coverage: &Coverage, tensors: &[Tensor], placements: &[Placement], ends: &[u64]) {
    assert_eq!(
        coverage.len() as u64,
        tensors.iter().filter(|tensor| !tensor.rests).map(|tensor| tensor.len).sum::<u64>()
    );
    for (tensor, placement) in tensors.iter().zip(placements).filter(|(tensor, _)| !tensor.rests) {
        for element in 0..tensor.len {
            let at = |place: Place, dtype: Dtype| (place.buffer, place.offset + dtype.width() * element);
            let param = at(placement.param, tensor.format.param);
            let reached = coverage.get(&param).expect("every element is reached");
            assert_eq!(reached.grad, at(placement.grad, tensor.format.grad));
            assert_eq!(reached.clock, tensor.clock);
            assert_eq!(reached.format, tensor.format);
            assert_eq!(reached.draw, if tensor.format.draws() { (tensor.stream, element / QUAD) } else { (0, 0) });
            assert!(param.1 < ends[placement.param.buffer]);
        }
    }
}

/// No two elements share state, and all of it lies in its page.
fn check_state(
    coverage: &Coverage,
    tensors: &[Tensor],
    placements: &[Placement],
    layout: &StateLayout,
    limits: &Limits,
) {
    for page in &layout.pages {
        assert!(page.moments.max(page.integrals) <= limits.binding.min(limits.buffer), "{page:?}");
    }
    let mut taken = std::collections::HashSet::new();
    for (tensor, placement) in tensors.iter().zip(placements).filter(|(tensor, _)| !tensor.rests) {
        for element in 0..tensor.len {
            let reached = coverage[&element_at(placement, tensor, element)];
            let page = layout.pages[reached.page];
            let mut take = |integral: bool, first: u64, bytes: u64| {
                let size = if integral { page.integrals } else { page.moments };
                assert!(first + bytes <= size, "byte {first} is past the page");
                for at in first..first + bytes {
                    assert!(taken.insert((reached.page, integral, at)), "byte {at} is used twice");
                }
            };
            let (_, bytes) = in_plane(tensor.format.state, element);
            (0..tensor.moment_planes).for_each(|plane| take(false, reached.moments + plane * reached.stride, bytes));
            (0..tensor.integral_planes).for_each(|plane| take(true, reached.integrals + plane * reached.stride, bytes));
            assert_eq!((reached.master.is_some(), reached.average.is_some()), (tensor.master, tensor.average));
            [reached.master, reached.average].into_iter().flatten().for_each(|at| take(false, at, 4));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 5 } else { 400 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn covers_everything_once_within_limits(
        limits in limits(),
        (tensors, placements, ends) in tensors(),
        (_, moved, moved_ends) in tensors(),
    ) {
        let layout = StateLayout::new(&tensors, &placements, &limits).unwrap();
        let first = coverage(&Plan::new(&tensors, &placements, &layout, &limits), &limits);
        check_coverage(&first, &tensors, &placements, &ends);
        check_state(&first, &tensors, &placements, &layout, &limits);

        // Every other tensor moves behind what another layout holds; its state stays where it was.
        let mut ends: Vec<_> = ends.iter().zip(&moved_ends).map(|(a, b)| (*a).max(*b).next_multiple_of(4)).collect();
        let mut rebound = placements.clone();
        for (placement, (tensor, target)) in rebound.iter_mut().zip(tensors.iter().zip(&moved)).step_by(2) {
            let Format { param, grad, .. } = tensor.format;
            let roles = [(&mut placement.param, target.param, param), (&mut placement.grad, target.grad, grad)];
            for (place, target, dtype) in roles {
                let offset = ends[target.buffer] + target.offset % 64;
                *place = Place { buffer: target.buffer, offset };
                ends[target.buffer] = (offset + dtype.width() * tensor.len).next_multiple_of(4);
            }
        }
        let second = coverage(&Plan::new(&tensors, &rebound, &layout, &limits), &limits);
        check_coverage(&second, &tensors, &rebound, &ends);
        let taking_part = |((tensor, _), _): &((&Tensor, _), _)| !tensor.rests;
        for ((tensor, old), new) in tensors.iter().zip(&placements).zip(&rebound).filter(taking_part) {
            for element in 0..tensor.len {
                let old = first[&element_at(old, tensor, element)];
                let new = second[&element_at(new, tensor, element)];
                prop_assert_eq!(Reached { grad: old.grad, ..new }, old);
            }
        }
    }
}
