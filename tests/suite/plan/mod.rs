//! The planner without a GPU: whatever the tensors and limits, the dispatches cover every element exactly once,
//! exceed no limit, and reach no caller's byte that is not theirs.

pub mod coverage;
mod large;
mod picture;

use coverage::{check_coverage, coverage};
use miadam::abi::WORKGROUP_SIZE;
use miadam::plan::{Extras, Form, Integrals, Limits, Place, Placement, Plan, Shape, StateLayout, Tensor};
use miadam::{GradOptions, Hyperparams, WeightDecay, plan_limits};

const DEFAULT: Limits =
    Limits { binding: 128 << 20, buffer: 256 << 20, windows: 4, workgroups: 65_535, alignment: 256 };

/// As many tensors as a large model has. Miri takes a thousand times as long.
const MANY: u64 = if cfg!(miri) { 100 } else { 10_000 };

/// A pool of equal tensors: parameters first or each followed by its gradient.
fn pool(count: u64, len: u64, groups: u32, interleaved: bool) -> (Vec<Tensor>, Vec<Placement>) {
    let tensor = |number: u64| Tensor {
        clock: number as u32 % groups,
        len,
        moment_planes: 2 + number % 2,
        integral_planes: u64::from(number as u32 % groups),
        extras: Extras { adjust: number == 3, ..Extras::default() },
        ..Tensor::default()
    };
    let placement = |number: u64| {
        let (param, grad) = if interleaved { (2 * number, 2 * number + 1) } else { (number, count + number) };
        let place = |slot: u64| Place { buffer: 0, offset: 4 * len * slot };
        Placement { param: place(param), grad: place(grad) }
    };
    ((0..count).map(tensor).collect(), (0..count).map(placement).collect())
}

#[test]
fn one_buffer_takes_three_dispatches_beside_the_counter_whatever_its_tensors() {
    for interleaved in [false, true] {
        for (count, len, groups) in
            [(1, 4_000_000, 1), (MANY / 10, 4096, 1), (MANY / 10, 4095, 5), (MANY, 257, 7), (3, 1, 3)]
        {
            let (tensors, placements) = pool(count, len, groups, interleaved);
            let layout = StateLayout::new(&tensors, &placements, &DEFAULT).unwrap();
            let plan = Plan::new(&tensors, &placements, &layout, &DEFAULT);
            assert!(plan.dispatches.len() <= 3, "{} for {count} x {len}", plan.dispatches.len());
        }
    }
}

/// `count` tensors of `len` elements, whose parameters and gradients take slots of `len` at random in buffers of
/// 256 MiB, the largest that `Limits::default()` allows: two placements each.
fn scattered(count: usize, len: u64, grads_apart: bool) -> (Vec<Tensor>, Vec<Placement>) {
    let slots = (256 << 20) / 4 / len;
    let mut random = crate::common::Random(count as u64);
    let mut taken = std::collections::HashSet::new();
    let mut place = |buffer| loop {
        let slot = random.below(slots as usize) as u64;
        if taken.insert((buffer, slot)) {
            return Place { buffer, offset: 4 * len * slot };
        }
    };
    let tensor = Tensor { clock: 0, len, moment_planes: 2, integral_planes: 1, ..Tensor::default() };
    let placements = (0..count).map(|_| Placement { param: place(0), grad: place(usize::from(grads_apart)) }).collect();
    (vec![tensor; count], placements)
}

#[test]
fn tensors_scattered_over_more_than_a_binding_take_as_few() {
    for count in [MANY as usize / 100, MANY as usize / 10, MANY as usize] {
        for (len, most) in [(1024, 1), (1023, 3)] {
            let (tensors, placements) = scattered(count, len, false);
            let layout = StateLayout::new(&tensors, &placements, &DEFAULT).unwrap();
            assert_eq!(layout.pages.len(), 1);
            let dispatches = Plan::new(&tensors, &placements, &layout, &DEFAULT).dispatches.len();
            // On the grid: quads. Off it: quads, elements, and the one quad on the seam of the two placements.
            assert!(dispatches <= most, "{dispatches} for {count} x {len} in one buffer");

            // Two tiles of parameters with two of gradients, by each access; no promise, but no explosion.
            let (tensors, placements) = scattered(count, len, true);
            let layout = StateLayout::new(&tensors, &placements, &DEFAULT).unwrap();
            let dispatches = Plan::new(&tensors, &placements, &layout, &DEFAULT).dispatches.len();
            assert!(dispatches <= 4 * most, "{dispatches} for {count} x {len} in two buffers");
        }
    }
}

/// Tensors of `f32` by themselves, and where each lies: its length, its parameter's and its gradient's byte in buffer 0.
fn in_one_buffer(places: &[(u64, u64, u64)]) -> (Vec<Tensor>, Vec<Placement>) {
    let place = |offset| Place { buffer: 0, offset };
    let tensor = |&(len, ..): &(u64, u64, u64)| Tensor { len, moment_planes: 2, ..Tensor::default() };
    let placement = |&(_, param, grad): &(u64, u64, u64)| Placement { param: place(param), grad: place(grad) };
    (places.iter().map(tensor).collect(), places.iter().map(placement).collect())
}

/// A window that only grows must not reach into the one around a quad on a seam, either.
#[test]
fn a_window_that_grows_overlaps_no_other() {
    let limits = Limits { binding: 1024, buffer: 4096, windows: 4, workgroups: 65_535, alignment: 256 };
    let (tensors, placements) = in_one_buffer(&[(1, 4, 1540), (2, 1020, 1796), (1, 1284, 900)]);
    let layout = StateLayout::new(&tensors, &placements, &limits).unwrap();
    let plan = Plan::new(&tensors, &placements, &layout, &limits);
    check_coverage(&coverage(&plan, &limits), &tensors, &placements, &[2048]);
}

#[test]
fn a_large_tensor_goes_alone_whatever_lies_elsewhere() {
    let tensor = |len| Tensor { len, moment_planes: 2, ..Tensor::default() };
    let place = |buffer, offset| Place { buffer, offset };
    const LARGE: u64 = 1 << 20;
    // Three layers, each in a buffer of its own with its gradient, and two small tensors.
    let mut tensors = vec![tensor(LARGE); 3];
    let mut placements: Vec<_> =
        (0..3).map(|buffer| Placement { param: place(buffer, 0), grad: place(buffer, 4 * LARGE) }).collect();
    tensors.extend(vec![tensor(64); 2]);
    placements.extend([3, 5].map(|buffer| Placement { param: place(buffer, 0), grad: place(buffer + 1, 0) }));
    let layout = StateLayout::new(&tensors, &placements, &DEFAULT).unwrap();
    let plan = Plan::new(&tensors, &placements, &layout, &DEFAULT).dispatches;
    let shapes: Vec<_> = plan.iter().map(|dispatch| (dispatch.kernel.shape, dispatch.kernel.form)).collect();
    assert_eq!(shapes, [[(Shape::Run, Form::One); 3].as_slice(), &[(Shape::Table, Form::Pairs)]].concat());
}

#[test]
fn neighbours_of_one_group_are_one_run() {
    let tensor = Tensor { clock: 0, len: 4096, moment_planes: 2, integral_planes: 3, ..Tensor::default() };
    let tensors = vec![tensor; 1000];
    let place = |buffer, number: u64| Place { buffer, offset: 4 * 4096 * number };
    let placements: Vec<_> =
        (0..1000).map(|number| Placement { param: place(0, number), grad: place(1, number) }).collect();
    let layout = StateLayout::new(&tensors, &placements, &DEFAULT).unwrap();
    let plan = Plan::new(&tensors, &placements, &layout, &DEFAULT);
    let [dispatch] = &plan.dispatches[..] else { panic!("{} dispatches", plan.dispatches.len()) };
    assert_eq!(dispatch.kernel.shape, Shape::Run);
}

#[test]
fn small_tensors_in_separate_buffers_share_dispatches() {
    let tensors = vec![Tensor { clock: 0, len: 4096, moment_planes: 2, integral_planes: 1, ..Tensor::default() }; 1000];
    let place = |buffer| Place { buffer, offset: 0 };
    let placements: Vec<_> =
        (0..1000).map(|number| Placement { param: place(2 * number), grad: place(2 * number + 1) }).collect();
    let layout = StateLayout::new(&tensors, &placements, &DEFAULT).unwrap();
    for (windows, dispatches) in [(2, 1000), (4, 500), (16, 125)] {
        let limits = Limits { windows, ..DEFAULT };
        let plan = Plan::new(&tensors, &placements, &layout, &limits).dispatches;
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
        Extras { decay: true, amsgrad: true, integrals: Integrals::Any, ..Extras::default() }
    );
    assert_eq!(of(Hyperparams { order: 4, maximize: true, ..Hyperparams::default() }).integrals, Integrals::Any);
}

#[test]
fn a_plane_count_above_the_binding_is_refused() {
    let tensors =
        [Tensor { clock: 0, len: 1, moment_planes: 2, integral_planes: DEFAULT.binding / 16 + 1, ..Tensor::default() }];
    let placements = [Placement { param: Place { buffer: 0, offset: 0 }, grad: Place { buffer: 1, offset: 0 } }];
    let error = StateLayout::new(&tensors, &placements, &DEFAULT).unwrap_err();
    assert!(error.to_string().contains("max_storage_buffer_binding_size"), "{error}");
}

#[test]
fn limits_below_the_shaders_needs_are_refused_by_name() {
    let accept = |change: fn(&mut wgpu::Limits)| {
        let mut limits = wgpu::Limits::default();
        change(&mut limits);
        plan_limits(&limits)
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
