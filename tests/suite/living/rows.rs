//! Rows that are split, pruned, duplicated and put in another order.

use miadam::{Average, Dtype, FRESH_ROW, HalfParams, Hyperparams, ParamGroup, ParamState, Plane};

use super::host::{Grads, Host, HostOnCpu, HostOnGpu, param};
use crate::common::{Random, Start, Values};

const BEFORE: usize = 700;

/// Widths with and without whole quads, in tensors of more than one chunk.
const WIDTHS: [usize; 4] = [1, 3, 8, 15];

fn starts(random: &mut Random, dtype: Dtype) -> Vec<Start> {
    let start = |width: usize| {
        let values = (0..BEFORE * width).map(|_| random.normal()).collect();
        Start { name: format!("points.{width}"), dtype, values }
    };
    WIDTHS.map(start).to_vec()
}

fn grads<H: Host>(host: &mut H, random: &mut Random) -> Grads {
    let params: Vec<_> = host.optimizer().params().cloned().collect();
    let mut grad = |len| (0..len).map(|_| random.normal()).collect();
    params.into_iter().map(|param| (param.name, grad(param.len))).collect()
}

/// NumPy's `values.reshape(before, width)[rows]`, but for fresh rows.
fn index(values: &[f32], width: usize, rows: &[u32], fresh: f32) -> Vec<f32> {
    let row = |&row: &u32| match row {
        FRESH_ROW => vec![fresh; width],
        row => values[row as usize * width..][..width].to_vec(),
    };
    rows.iter().flat_map(row).collect()
}

fn some_rows(random: &mut Random, count: usize) -> Vec<u32> {
    let row = |random: &mut Random| if random.below(5) == 0 { FRESH_ROW } else { random.below(BEFORE) as u32 };
    (0..count).map(|_| row(random)).collect()
}

fn check(before: &ParamState, after: &ParamState, width: usize, rows: &[u32]) {
    assert_eq!((before.step(), rows.len() * width), (after.step(), after.len()));
    assert_eq!(before.planes().count(), after.planes().count());
    for (plane, values) in before.planes() {
        // An average of a fresh row is not there yet.
        let fresh = if plane == Plane::Average { f32::from_bits(u32::MAX) } else { 0.0 };
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let expected = bits(&index(values, width, rows, fresh));
        assert!(after.plane(plane).map(bits) == Some(expected), "{plane} of {}", before.name);
    }
}

fn all_state_follows<H: Host>() {
    let mut random = Random(5);
    let (master, stochastic) = (HalfParams::Master, HalfParams::Stochastic { seed: 1 });
    let kinds = [(Dtype::F32, false, master), (Dtype::F32, true, master), (Dtype::Bf16, false, master)];
    for (dtype, amsgrad, half_params) in kinds.into_iter().chain([(Dtype::Bf16, true, stochastic)]) {
        let average = Average::Ema { decay: 0.5, warmup: false };
        let hyperparams = Hyperparams { order: 2, amsgrad, half_params, average, ..Hyperparams::default() };
        for count in [BEFORE, 0, 1, 1500] {
            let starts = starts(&mut random, dtype);
            let other = Start { name: "other".into(), dtype, values: vec![1.0; 5000] };
            let all = [&starts[..], std::slice::from_ref(&other)].concat();
            let group = ParamGroup::new(hyperparams.clone(), all.iter().map(param));
            let Some(mut host) = H::new(group, &all) else { return };
            let first = grads(&mut host, &mut random);
            host.step(&first);
            let before = host.state();
            let rows = some_rows(&mut random, count);
            let moved: Vec<_> =
                starts.iter().zip(WIDTHS).map(|(start, width)| gathered(&host, start, width, &rows)).collect();
            host.remap(&moved, BEFORE, &rows);
            let after = host.state();
            for ((before, after), width) in before.iter().zip(&after).zip(WIDTHS) {
                check(before, after, width, &rows);
            }
            assert!(before[WIDTHS.len()] == after[WIDTHS.len()], "the other parameter");
            averages_of_fresh_rows_are_not_swapped(&mut host, &moved, &rows);
            // A step goes on from what was gathered: a gradient of 0 moves all rows but those that are fresh.
            let zeros = grads(&mut host, &mut random).into_iter().map(|(name, grad)| (name, vec![0.0; grad.len()]));
            host.step(&zeros.collect());
            for (moved, width) in moved.iter().zip(WIDTHS) {
                let found = host.values(&moved.name).single();
                for ((row, found), before) in rows.iter().zip(found.chunks(width)).zip(moved.values.chunks(width)) {
                    let same = found == before;
                    // A row of bf16 may be too large to move.
                    assert!(same || *row != FRESH_ROW, "{}: row {row}", moved.name);
                    assert!(!same || *row == FRESH_ROW || dtype == Dtype::Bf16, "{}: row {row}", moved.name);
                }
                let state = host.state().into_iter().find(|state| state.name == moved.name).unwrap();
                let averages = state.plane(Plane::Average).unwrap().chunks(width);
                for ((row, average), found) in rows.iter().zip(averages).zip(found.chunks(width)) {
                    assert!(*row != FRESH_ROW || average == found, "the first averaging copies");
                }
                if half_params == master && dtype == Dtype::Bf16 {
                    let master = Values::new(dtype, state.plane(Plane::Master).unwrap());
                    assert_eq!(master, host.values(&moved.name));
                }
            }
        }
    }
}

/// They have none yet, so that they stay what they are.
fn averages_of_fresh_rows_are_not_swapped<H: Host>(host: &mut H, moved: &[Start], rows: &[u32]) {
    host.swap_averages();
    for (moved, width) in moved.iter().zip(WIDTHS) {
        let found = host.values(&moved.name).single();
        let fresh = rows.iter().zip(found.chunks(width)).filter(|(row, _)| **row == FRESH_ROW);
        fresh.for_each(|(_, values)| assert!(values.iter().all(|value| *value == 1.0)));
    }
    host.swap_averages();
    for moved in moved {
        assert!(host.values(&moved.name) == Values::new(moved.dtype, &moved.values), "{}", moved.name);
    }
}

/// The parameter's own rows, which are the caller's to gather. Fresh ones are 1.
fn gathered<H: Host>(host: &H, start: &Start, width: usize, rows: &[u32]) -> Start {
    Start { values: index(&host.values(&start.name).single(), width, rows, 1.0), ..start.clone() }
}

#[test]
fn rows_are_those_of_numpy() {
    #[derive(serde::Deserialize)]
    struct Case {
        width: usize,
        values: Vec<f32>,
        rows: Vec<u32>,
        gathered: Vec<f32>,
    }
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../golden/rows.json")).unwrap();
    assert_eq!(cases.len(), 5);
    for Case { width, values, rows, gathered } in cases {
        assert_eq!(index(&values, width, &rows, 0.0), gathered);
    }
}

#[test]
fn all_state_follows_on_the_cpu() {
    all_state_follows::<HostOnCpu>();
}

#[test]
fn all_state_follows_on_the_gpu() {
    all_state_follows::<HostOnGpu>();
}

#[test]
fn all_state_follows_from_page_to_page() {
    all_state_follows::<HostOnGpu<true>>();
}
