//! The planner without a GPU: whatever the tensors and limits, the dispatches cover every element exactly once,
//! exceed no limit, and reach no caller's byte that is not theirs.

use std::collections::HashMap;

use miadam::layout::{CHUNK, Chunk, QUAD, WORKGROUP, WORKGROUP_SIZE};
use miadam::plan::{
    Access, Binding, Dispatch, Extras, Form, Format, Integrals, Limits, Place, Plan, Rounding, Shape, StateLayout,
    Tensor,
};
use miadam::{Dtype, GradOptions, HalfParams, Hyperparams, WeightDecay};
use proptest::prelude::*;

/// Limits small enough that a few thousand elements exceed them. Workgroups squared suffice for the largest
/// binding, as `Limits::new` demands.
fn limits() -> impl Strategy<Value = Limits> {
    (10..16u32, 10..16u32, 2..6usize, 5..9u32, 32..40u32).prop_map(
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
fn tensors() -> impl Strategy<Value = (Vec<Tensor>, Vec<Binding>, Vec<u64>)> {
    let planes = prop::collection::vec((2..4u64, 0..4u64), 1..4);
    let len = prop_oneof![0..9u64, 0..700u64, 0..9000u64];
    let place = (0..4usize, prop_oneof![Just(None), (0..9u64).prop_map(Some)]);
    let tensor = (0..4usize, len, format(), place.clone(), place);
    (planes, prop::collection::vec(tensor, 0..24), any::<bool>()).prop_map(|(planes, tensors, grads_last)| {
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
            let (moment_planes, integral_planes) = planes[group];
            let stream = if format.rounding == Rounding::Stochastic { number } else { 0 };
            let group = group as u32;
            Tensor { group, len, moment_planes, integral_planes, format, stream, extras: Extras::default() }
        });
        let bindings = params.into_iter().zip(grads).map(|(param, grad)| Binding { param, grad });
        (shapes.collect(), bindings.collect(), ends.into_iter().map(|end| 4 * end).collect())
    })
}

/// Mostly f32.
fn format() -> impl Strategy<Value = Format> {
    use Dtype::{Bf16, F16, F32};
    let half = |half_params| move |(param, grad)| Format::new(param, grad, half_params);
    let dtypes = || (prop_oneof![Just(F16), Just(Bf16), Just(F32)], prop_oneof![Just(F16), Just(Bf16), Just(F32)]);
    prop_oneof![
        2 => Just(Format::default()),
        1 => dtypes().prop_map(half(HalfParams::Master)),
        1 => dtypes().prop_map(half(HalfParams::Stochastic { seed: 0 })),
    ]
}

/// An element of a tensor as a dispatch reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    grad: (usize, u64),
    page: usize,
    group: u32,
    /// Elements of the page.
    moments: u64,
    integrals: u64,
    /// Elements from a plane to the next.
    stride: u64,
    format: Format,
    /// What its stochastic rounding draws by: the tensor's stream, and the quad's number.
    draw: (u32, u64),
}

/// By buffer and byte of θ.
type Coverage = HashMap<(usize, u64), Reached>;

/// All that the kernels would reach, as `update.wgsl` computes it.
fn coverage(plan: &Plan, limits: &Limits) -> Coverage {
    let mut coverage = Coverage::new();
    for dispatch in &plan.dispatches {
        check_dispatch(dispatch, limits);
        for chunk in &dispatch.chunks {
            for element in 0..u64::from(chunk.len) {
                let (at, reached) = reach(dispatch, chunk, element);
                assert!(coverage.insert(at, reached).is_none(), "{at:?} is reached twice");
            }
        }
    }
    coverage
}

fn check_dispatch(dispatch: &Dispatch, limits: &Limits) {
    let Dispatch { kernel, windows, chunks, workgroups: [x, y], .. } = dispatch;
    assert!(*x <= limits.workgroups && *y <= limits.workgroups, "{x} x {y} workgroups");
    let needed = match kernel.shape {
        Shape::Run => u64::from(chunks[0].len).div_ceil(WORKGROUP),
        Shape::Table => chunks.len() as u64,
    };
    assert!(u64::from(x * y) >= needed && u64::from(x * y) < needed + u64::from(*y), "{x} x {y} for {needed}");
    match kernel.shape {
        Shape::Run => assert_eq!(chunks.len(), 1),
        Shape::Table => assert!(chunks.iter().all(|chunk| u64::from(chunk.len) <= CHUNK)),
    }
    match kernel.form {
        Form::One => assert_eq!(windows.len(), 1),
        Form::Two => assert_eq!(windows.len(), 2),
        Form::Pairs | Form::Many => assert!(windows.len() <= limits.windows),
    }
    for (number, window) in windows.iter().enumerate() {
        assert!(window.size <= limits.binding, "{window:?}");
        assert_eq!(window.offset % limits.alignment, 0, "{window:?}");
        assert_eq!(window.size % 4, 0, "{window:?}");
        for other in &windows[..number] {
            let apart = window.offset >= other.offset + other.size || other.offset >= window.offset + window.size;
            assert!(window.buffer != other.buffer || apart, "{window:?} overlaps {other:?}");
        }
    }
}

fn reach(dispatch: &Dispatch, chunk: &Chunk, element: u64) -> ((usize, u64), Reached) {
    let numbers = match dispatch.kernel.form {
        Form::One => [0, 0],
        Form::Two => [0, 1],
        Form::Pairs | Form::Many => [chunk.windows as usize & 0xffff, chunk.windows as usize >> 16],
    };
    if dispatch.kernel.form == Form::Pairs {
        assert_eq!(numbers.map(|number| number % 2), [0, 1], "the windows that the kernel looks among");
    }
    let unit = match dispatch.kernel.access {
        Access::Quads => {
            assert_eq!(u64::from(chunk.len) % QUAD, 0, "whole quads");
            dispatch.kernel.format.quad_word()
        }
        Access::Elements => 4,
    };
    let format = dispatch.kernel.format;
    let roles = [(numbers[0], chunk.param, format.param), (numbers[1], chunk.grad, format.grad)];
    let [param, grad] = roles.map(|(number, first, dtype)| {
        let window = dispatch.windows[number];
        let byte = unit * u64::from(first) + dtype.width() * element;
        assert!(byte + dtype.width() <= window.size, "byte {byte} of {window:?}");
        (window.buffer, window.offset + byte)
    });
    let quad = element / QUAD;
    let lane = element % QUAD;
    let reached = Reached {
        grad,
        page: dispatch.page,
        group: chunk.group,
        moments: QUAD * (u64::from(chunk.moments) + quad) + lane,
        integrals: QUAD * (u64::from(chunk.integrals) + quad) + lane,
        stride: QUAD * u64::from(chunk.stride),
        format,
        draw: match format.rounding {
            Rounding::Stochastic => (chunk.stream, u64::from(chunk.first) + quad),
            _ => (0, 0),
        },
    };
    (param, reached)
}

/// The buffer and byte of an element of θ.
fn element_at(binding: &Binding, tensor: &Tensor, element: u64) -> (usize, u64) {
    (binding.param.buffer, binding.param.offset + tensor.format.param.width() * element)
}

/// Every element at its place, with its own gradient and group, and nothing else.
fn check_coverage(coverage: &Coverage, tensors: &[Tensor], bindings: &[Binding], ends: &[u64]) {
    assert_eq!(coverage.len() as u64, tensors.iter().map(|tensor| tensor.len).sum::<u64>());
    for (tensor, binding) in tensors.iter().zip(bindings) {
        for element in 0..tensor.len {
            let at = |place: Place, dtype: Dtype| (place.buffer, place.offset + dtype.width() * element);
            let param = at(binding.param, tensor.format.param);
            let reached = coverage.get(&param).expect("every element is reached");
            assert_eq!(reached.grad, at(binding.grad, tensor.format.grad));
            assert_eq!(reached.group, tensor.group);
            assert_eq!(reached.format, tensor.format);
            let draws = tensor.format.rounding == Rounding::Stochastic;
            assert_eq!(reached.draw, if draws { (tensor.stream, element / QUAD) } else { (0, 0) });
            assert!(param.1 < ends[binding.param.buffer]);
        }
    }
}

/// No two elements share state, and all of it lies in its page.
fn check_state(coverage: &Coverage, tensors: &[Tensor], bindings: &[Binding], layout: &StateLayout, limits: &Limits) {
    for page in &layout.pages {
        assert!(page.moments.max(page.integrals) <= limits.binding.min(limits.buffer), "{page:?}");
    }
    let mut taken = std::collections::HashSet::new();
    for (tensor, binding) in tensors.iter().zip(bindings) {
        for element in 0..tensor.len {
            let reached = coverage[&element_at(binding, tensor, element)];
            let page = layout.pages[reached.page];
            for (integral, planes, first, size) in [
                (false, tensor.moment_planes, reached.moments, page.moments),
                (true, tensor.integral_planes, reached.integrals, page.integrals),
            ] {
                for plane in 0..planes {
                    let at = first + plane * reached.stride;
                    assert!(4 * at < size, "element {at} is past the page");
                    assert!(taken.insert((reached.page, integral, at)), "{at} is used twice");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 400 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn covers_everything_once_within_limits(
        limits in limits(),
        (tensors, bindings, ends) in tensors(),
        (_, moved, moved_ends) in tensors(),
    ) {
        let layout = StateLayout::new(&tensors, &bindings, &limits).unwrap();
        let first = coverage(&Plan::new(&tensors, &bindings, &layout, &limits), &limits);
        check_coverage(&first, &tensors, &bindings, &ends);
        check_state(&first, &tensors, &bindings, &layout, &limits);

        // Every other tensor moves behind what another layout holds; its state stays where it was.
        let mut ends: Vec<_> = ends.iter().zip(&moved_ends).map(|(a, b)| (*a).max(*b).next_multiple_of(4)).collect();
        let mut rebound = bindings.clone();
        for (binding, (tensor, target)) in rebound.iter_mut().zip(tensors.iter().zip(&moved)).step_by(2) {
            let Format { param, grad, .. } = tensor.format;
            let roles = [(&mut binding.param, target.param, param), (&mut binding.grad, target.grad, grad)];
            for (place, target, dtype) in roles {
                let offset = ends[target.buffer] + target.offset % 64;
                *place = Place { buffer: target.buffer, offset };
                ends[target.buffer] = (offset + dtype.width() * tensor.len).next_multiple_of(4);
            }
        }
        let second = coverage(&Plan::new(&tensors, &rebound, &layout, &limits), &limits);
        check_coverage(&second, &tensors, &rebound, &ends);
        for ((tensor, old), new) in tensors.iter().zip(&bindings).zip(&rebound) {
            for element in 0..tensor.len {
                let old = first[&element_at(old, tensor, element)];
                let new = second[&element_at(new, tensor, element)];
                prop_assert_eq!(Reached { grad: old.grad, ..new }, old);
            }
        }
    }
}

const DEFAULT: Limits =
    Limits { binding: 128 << 20, buffer: 256 << 20, windows: 4, workgroups: 65_535, alignment: 256 };

/// A pool of equal tensors: parameters first or each followed by its gradient.
fn pool(count: u64, len: u64, groups: u32, interleaved: bool) -> (Vec<Tensor>, Vec<Binding>) {
    let tensor = |number: u64| Tensor {
        group: number as u32 % groups,
        len,
        moment_planes: 2 + number % 2,
        integral_planes: u64::from(number as u32 % groups),
        extras: Extras { adjust: number == 3, ..Extras::default() },
        ..Tensor::default()
    };
    let binding = |number: u64| {
        let (param, grad) = if interleaved { (2 * number, 2 * number + 1) } else { (number, count + number) };
        let place = |slot: u64| Place { buffer: 0, offset: 4 * len * slot };
        Binding { param: place(param), grad: place(grad) }
    };
    ((0..count).map(tensor).collect(), (0..count).map(binding).collect())
}

#[test]
fn one_buffer_takes_three_dispatches_beside_the_counter_whatever_its_tensors() {
    for interleaved in [false, true] {
        for (count, len, groups) in [(1, 4_000_000, 1), (1000, 4096, 1), (1000, 4095, 5), (10_000, 257, 7), (3, 1, 3)] {
            let (tensors, bindings) = pool(count, len, groups, interleaved);
            let layout = StateLayout::new(&tensors, &bindings, &DEFAULT).unwrap();
            let plan = Plan::new(&tensors, &bindings, &layout, &DEFAULT);
            assert!(plan.dispatches.len() <= 3, "{} for {count} x {len}", plan.dispatches.len());
        }
    }
}

/// `count` tensors of `len` elements, whose parameters and gradients take slots of `len` at random in buffers of
/// 256 MiB, the largest that `Limits::default()` allows: two bindings each.
fn scattered(count: usize, len: u64, grads_apart: bool) -> (Vec<Tensor>, Vec<Binding>) {
    let slots = (256 << 20) / 4 / len;
    let mut random = crate::common::Random(count as u64);
    let mut taken = std::collections::HashSet::new();
    let mut place = |buffer| loop {
        let slot = random.below(slots as usize) as u64;
        if taken.insert((buffer, slot)) {
            return Place { buffer, offset: 4 * len * slot };
        }
    };
    let tensor = Tensor { group: 0, len, moment_planes: 2, integral_planes: 1, ..Tensor::default() };
    let bindings = (0..count).map(|_| Binding { param: place(0), grad: place(usize::from(grads_apart)) }).collect();
    (vec![tensor; count], bindings)
}

#[test]
fn tensors_scattered_over_more_than_a_binding_take_as_few() {
    for count in [100, 1000, 10_000] {
        for (len, most) in [(1024, 1), (1023, 3)] {
            let (tensors, bindings) = scattered(count, len, false);
            let layout = StateLayout::new(&tensors, &bindings, &DEFAULT).unwrap();
            assert_eq!(layout.pages.len(), 1);
            let dispatches = Plan::new(&tensors, &bindings, &layout, &DEFAULT).dispatches.len();
            // On the grid: quads. Off it: quads, elements, and the one quad on the seam of the two bindings.
            assert!(dispatches <= most, "{dispatches} for {count} x {len} in one buffer");

            // Two tiles of parameters with two of gradients, by each access; no promise, but no explosion.
            let (tensors, bindings) = scattered(count, len, true);
            let layout = StateLayout::new(&tensors, &bindings, &DEFAULT).unwrap();
            let dispatches = Plan::new(&tensors, &bindings, &layout, &DEFAULT).dispatches.len();
            assert!(dispatches <= 4 * most, "{dispatches} for {count} x {len} in two buffers");
        }
    }
}

/// Tensors of `f32` by themselves, and where each lies: its length, its parameter's and its gradient's byte in buffer 0.
fn in_one_buffer(places: &[(u64, u64, u64)]) -> (Vec<Tensor>, Vec<Binding>) {
    let place = |offset| Place { buffer: 0, offset };
    let tensor = |&(len, ..): &(u64, u64, u64)| Tensor { len, moment_planes: 2, ..Tensor::default() };
    let binding = |&(_, param, grad): &(u64, u64, u64)| Binding { param: place(param), grad: place(grad) };
    (places.iter().map(tensor).collect(), places.iter().map(binding).collect())
}

/// A window that only grows must not reach into the one around a quad on a seam, either.
#[test]
fn a_window_that_grows_overlaps_no_other() {
    let limits = Limits { binding: 1024, buffer: 4096, windows: 4, workgroups: 65_535, alignment: 256 };
    let (tensors, bindings) = in_one_buffer(&[(1, 4, 1540), (2, 1020, 1796), (1, 1284, 900)]);
    let layout = StateLayout::new(&tensors, &bindings, &limits).unwrap();
    let plan = Plan::new(&tensors, &bindings, &layout, &limits);
    check_coverage(&coverage(&plan, &limits), &tensors, &bindings, &[2048]);
}

#[test]
fn a_large_tensor_goes_alone_whatever_lies_elsewhere() {
    let tensor = |len| Tensor { len, moment_planes: 2, ..Tensor::default() };
    let place = |buffer, offset| Place { buffer, offset };
    const LARGE: u64 = 1 << 20;
    // Three layers, each in a buffer of its own with its gradient, and two small tensors.
    let mut tensors = vec![tensor(LARGE); 3];
    let mut bindings: Vec<_> =
        (0..3).map(|buffer| Binding { param: place(buffer, 0), grad: place(buffer, 4 * LARGE) }).collect();
    tensors.extend(vec![tensor(64); 2]);
    bindings.extend([3, 5].map(|buffer| Binding { param: place(buffer, 0), grad: place(buffer + 1, 0) }));
    let layout = StateLayout::new(&tensors, &bindings, &DEFAULT).unwrap();
    let plan = Plan::new(&tensors, &bindings, &layout, &DEFAULT).dispatches;
    let shapes: Vec<_> = plan.iter().map(|dispatch| (dispatch.kernel.shape, dispatch.kernel.form)).collect();
    assert_eq!(shapes, [[(Shape::Run, Form::One); 3].as_slice(), &[(Shape::Table, Form::Pairs)]].concat());
}

#[test]
fn neighbours_of_one_group_are_one_run() {
    let tensor = Tensor { group: 0, len: 4096, moment_planes: 2, integral_planes: 3, ..Tensor::default() };
    let tensors = vec![tensor; 1000];
    let place = |buffer, number: u64| Place { buffer, offset: 4 * 4096 * number };
    let bindings: Vec<_> =
        (0..1000).map(|number| Binding { param: place(0, number), grad: place(1, number) }).collect();
    let layout = StateLayout::new(&tensors, &bindings, &DEFAULT).unwrap();
    let plan = Plan::new(&tensors, &bindings, &layout, &DEFAULT);
    let [dispatch] = &plan.dispatches[..] else { panic!("{} dispatches", plan.dispatches.len()) };
    assert_eq!(dispatch.kernel.shape, Shape::Run);
}

#[test]
fn small_tensors_in_separate_buffers_share_dispatches() {
    let tensors = vec![Tensor { group: 0, len: 4096, moment_planes: 2, integral_planes: 1, ..Tensor::default() }; 1000];
    let place = |buffer| Place { buffer, offset: 0 };
    let bindings: Vec<_> =
        (0..1000).map(|number| Binding { param: place(2 * number), grad: place(2 * number + 1) }).collect();
    let layout = StateLayout::new(&tensors, &bindings, &DEFAULT).unwrap();
    for (windows, dispatches) in [(2, 1000), (4, 500), (16, 125)] {
        let limits = Limits { windows, ..DEFAULT };
        let plan = Plan::new(&tensors, &bindings, &layout, &limits).dispatches;
        assert_eq!(plan.len(), dispatches);
        let form = if windows == 2 { Form::Two } else { Form::Pairs };
        assert!(plan.iter().all(|dispatch| dispatch.kernel.form == form));
    }
}

#[test]
fn a_kernel_has_what_any_group_asks() {
    let of = |hyperparams: Hyperparams| Extras::new(&hyperparams, &GradOptions::default());
    let plain = of(Hyperparams { order: 0, ..Hyperparams::default() });
    assert_eq!(plain, Extras::default());
    let two = of(Hyperparams { order: 2, amsgrad: true, ..Hyperparams::default() });
    assert_eq!(two, Extras { amsgrad: true, integrals: Integrals::Few(2), ..Extras::default() });
    assert_eq!(two.union(plain), two);
    let decayed = of(Hyperparams { order: 3, weight_decay: WeightDecay::Decoupled(0.1), ..Hyperparams::default() });
    assert_eq!(
        two.union(decayed),
        Extras { adjust: true, amsgrad: true, integrals: Integrals::Any, ..Extras::default() }
    );
    assert_eq!(of(Hyperparams { order: 4, maximize: true, ..Hyperparams::default() }).integrals, Integrals::Any);
}

#[test]
fn a_plane_count_above_the_binding_is_refused() {
    let tensors =
        [Tensor { group: 0, len: 1, moment_planes: 2, integral_planes: DEFAULT.binding / 16 + 1, ..Tensor::default() }];
    let bindings = [Binding { param: Place { buffer: 0, offset: 0 }, grad: Place { buffer: 1, offset: 0 } }];
    let error = StateLayout::new(&tensors, &bindings, &DEFAULT).unwrap_err();
    assert!(error.to_string().contains("max_storage_buffer_binding_size"), "{error}");
}

#[test]
fn limits_below_the_shaders_needs_are_refused_by_name() {
    let accept = |change: fn(&mut wgpu::Limits)| {
        let mut limits = wgpu::Limits::default();
        change(&mut limits);
        Limits::new(&limits)
    };
    assert_eq!(accept(|_| {}), Ok(Limits { buffer: 256 << 20, ..DEFAULT }));
    type Change = fn(&mut wgpu::Limits);
    let refused: [(&str, Change); 9] = [
        ("max_storage_buffers_per_shader_stage", |limits| limits.max_storage_buffers_per_shader_stage = 4),
        ("max_bindings_per_bind_group", |limits| limits.max_bindings_per_bind_group = 5),
        ("max_compute_invocations_per_workgroup", |limits| limits.max_compute_invocations_per_workgroup = 32),
        ("max_compute_workgroup_size_x", |limits| limits.max_compute_workgroup_size_x = WORKGROUP_SIZE - 1),
        ("max_compute_workgroup_storage_size", |limits| limits.max_compute_workgroup_storage_size = 1024),
        ("max_dynamic_storage_buffers_per_pipeline_layout", |limits| {
            limits.max_dynamic_storage_buffers_per_pipeline_layout = 0;
        }),
        ("max_storage_buffer_binding_size", |limits| limits.max_storage_buffer_binding_size = 1000),
        ("max_buffer_size", |limits| limits.max_buffer_size = 1000),
        ("max_compute_workgroups_per_dimension", |limits| limits.max_compute_workgroups_per_dimension = 1),
    ];
    for (name, change) in refused {
        let error = accept(change).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
