//! Tensors past 2³¹ elements and 4 GiB, and models of billions of parameters, whose elements are too many to be looked at one by one.

use std::time::Instant;

use miadam::plan::{Format, Limits, Place, Placement, Plan, StateLayout, Tensor};
use miadam::{Dtype, HalfParams, StatePrecision};
use miadam_support::plan_check;
use proptest::prelude::*;

const PRECISIONS: [StatePrecision; 3] = [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Q8];

/// The largest binding: the multiple of the alignment whose bytes 32 bits can count.
const LARGEST: u64 = (4 << 30) - 256;

fn limits(binding: u64) -> Limits {
    Limits { binding, buffer: binding.max(256 << 20), windows: 4, workgroups: 65_535, alignment: 256 }
}

/// Bytes, or cells, from one to another of a buffer or a page.
type Extent = (usize, u64, u64);

/// The extents, put together where one ends as the next begins. Two that overlap stay apart.
fn joined(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_unstable();
    let mut joined: Vec<Extent> = Vec::new();
    for (place, start, end) in extents {
        match joined.last_mut() {
            Some((last, _, last_end)) if *last == place && *last_end == start => *last_end = end,
            _ => joined.push((place, start, end)),
        }
    }
    joined
}

/// Every element is reached once, where its parameter and its gradient lie, and with cells of first moments that are no other's.
fn check(tensors: &[Tensor], placements: &[Placement], limits: &Limits) -> (StateLayout, Plan) {
    let layout = StateLayout::new(tensors, placements, limits).unwrap();
    assert!(layout.pages.iter().all(|page| page.moments.max(page.integrals) <= limits.binding));
    let plan = Plan::new(tensors, placements, &layout, limits);
    let (mut params, mut grads, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for dispatch in &plan.dispatches {
        plan_check::check(dispatch, limits);
        for chunk in &dispatch.chunks {
            let len = u64::from(chunk.len);
            let [param, grad] = plan_check::places(dispatch, chunk);
            params.push((param.buffer, param.offset, param.offset + 4 * len));
            grads.push((grad.buffer, grad.offset, grad.offset + 4 * len));
            let first = u64::from(chunk.moments);
            cells.push((dispatch.page, first, first + dispatch.kernel.format.state.cells(len)));
        }
    }
    let extent = |place: Place, len: u64| (place.buffer, place.offset, place.offset + 4 * len);
    let whole = |role: fn(&Placement) -> Place| {
        joined(placements.iter().zip(tensors).map(|(at, tensor)| extent(role(at), tensor.len)).collect())
    };
    assert_eq!(joined(params), whole(|placement| placement.param));
    assert_eq!(joined(grads), whole(|placement| placement.grad));
    // Each page's slabs have their first moments in one piece; pieces that overlapped would not have been joined.
    let joined = joined(cells);
    assert!(joined.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1), "cells of two elements");
    (layout, plan)
}

/// A pool of parameters and one of their gradients, each tensor from a multiple of so many bytes on.
fn pools(
    lens: &[u64],
    start: u64,
    alignment: u64,
    integral_planes: u64,
    state: StatePrecision,
) -> (Vec<Tensor>, Vec<Placement>) {
    let format = Format::new(Dtype::F32, Dtype::F32, HalfParams::Master, state);
    let mut end = start;
    lens.iter()
        .map(|&len| {
            let offset = end.next_multiple_of(alignment);
            end = offset + 4 * len;
            let place = |buffer| Place { buffer, offset };
            let tensor = Tensor { len, moment_planes: 2, integral_planes, format, ..Tensor::default() };
            (tensor, Placement { param: place(0), grad: place(1) })
        })
        .unzip()
}

/// Lengths of all sizes, and around 2³¹.
fn len() -> impl Strategy<Value = u64> {
    prop_oneof![1..9000_u64, 1..1_u64 << 28, (1_u64 << 31) - 9..(1_u64 << 31) + 9, 1..1_u64 << 33]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 200 }))]

    #[test]
    fn tensors_past_the_range_of_32_bits_are_covered(
        lens in prop::collection::vec(len(), 1..5),
        start in prop_oneof![Just(0), 0..1_u64 << 34],
        alignment in prop_oneof![Just(4_u64), Just(16), Just(256)],
        integral_planes in 0..4_u64,
        state in prop::sample::select(&PRECISIONS[..]),
        binding in prop::sample::select(vec![128_u64 << 20, 1 << 30, LARGEST]),
    ) {
        let (tensors, placements) = pools(&lens, start, alignment, integral_planes, state);
        check(&tensors, &placements, &limits(binding));
    }
}

/// The tensors of a decoder: embedding, in each layer four projections of attention, three of the feed-forward and two norms, a last
/// norm, and the head.
fn decoder(vocabulary: u64, width: u64, keys: u64, inner: u64, layers: usize) -> Vec<u64> {
    let layer = [
        width * width,
        width * keys,
        width * keys,
        width * width,
        width * inner,
        width * inner,
        width * inner,
        width,
        width,
    ];
    let mut lens = vec![vocabulary * width];
    lens.extend(layer.repeat(layers));
    lens.extend([width, vocabulary * width]);
    lens
}

/// The shapes of TinyLlama 1.1B and of Llama 3 8B.
fn models() -> [(&'static str, Vec<u64>); 2] {
    [("1.1B", decoder(32_000, 2048, 256, 5632, 22)), ("8B", decoder(128_256, 4096, 1024, 14_336, 32))]
}

#[test]
fn models_of_billions_of_parameters_are_covered() {
    for (_, lens) in models() {
        for (binding, order, state) in [(128 << 20, 3, StatePrecision::F32), (LARGEST, 1, StatePrecision::Q8)] {
            let (tensors, placements) = pools(&lens, 0, 256, order, state);
            check(&tensors, &placements, &limits(binding));
        }
    }
}

/// `cargo test --release --test suite -- --ignored --nocapture a_table_of_models`: prints what a step of a model is.
#[test]
#[ignore = "prints a table of times"]
fn a_table_of_models() {
    for (name, lens) in models() {
        let elements: u64 = lens.iter().sum();
        println!("{name}: {} tensors, {:.2} billion parameters", lens.len(), elements as f64 / 1e9);
        for binding in [128 << 20, 1 << 30, LARGEST] {
            for order in [0, 1, 3] {
                for state in PRECISIONS {
                    let (tensors, placements) = pools(&lens, 0, 256, order, state);
                    let start = Instant::now();
                    let layout = StateLayout::new(&tensors, &placements, &limits(binding)).unwrap();
                    let plan = Plan::new(&tensors, &placements, &layout, &limits(binding));
                    let planning = start.elapsed().as_secs_f64();
                    println!(
                        "{:4} MiB bindings, n = {order}, {:4}: {:3} dispatches, {:3} buffers of state with {:5.1} GB, planned in {:.1} ms",
                        binding.div_ceil(1 << 20),
                        format!("{state:?}"),
                        plan.dispatches.len(),
                        layout.pages.iter().map(|page| 1 + usize::from(page.integrals > 0)).sum::<usize>(),
                        layout.bytes() as f64 / 1e9,
                        1e3 * planning,
                    );
                }
            }
        }
    }
}
