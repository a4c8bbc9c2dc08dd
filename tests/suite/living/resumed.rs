//! A run whose parameters rest, come and move, and that is saved and resumed, has the bits of one that was never stopped.

use miadam::{Average, Checkpoint, Dtype, HalfParams, Hyperparams, OnDevice, Optimizer, ParamGroup};

use super::host::{Grads, Host, HostOnCpu, HostOnGpu, param};
use crate::common::{Random, Start};

const NAMES: [&str; 4] = ["a", "b", "c", "late"];

fn start(name: &str, random: &mut Random) -> Start {
    let dtype = if name == "b" { Dtype::Bf16 } else { Dtype::F32 };
    Start { name: name.into(), dtype, values: (0..37).map(|_| random.normal()).collect() }
}

fn hyperparams() -> Hyperparams {
    let average = Average::Ema { decay: 0.9, warmup: true };
    Hyperparams { lr: 0.01, switch_step: 12, average, half_params: HalfParams::Master, ..Hyperparams::default() }
}

/// What happens before a step. Some of it splits clocks, so that they differ from those that a loading makes.
fn change<H: Host>(host: &mut H, step: usize, random: &mut Random) {
    let late = start("late", random);
    let skip = |host: &mut H, name: &str| host.optimizer().skip([name]).unwrap();
    match step {
        2 => host.optimizer().freeze(["a"]).unwrap(),
        4 => skip(host, "b"),
        6 => host.add_params(0, &[late]),
        8 => host.optimizer().thaw(["a"]).unwrap(),
        9 => host.add_group(ParamGroup::new(hyperparams(), [param(&start("c", random))]), &[start("c", random)]),
        11 => host.optimizer().set_group(["b"], 1).unwrap(),
        13 => {
            let hyperparams = Hyperparams { order: 2, beta2: 0.99, ..hyperparams() };
            host.optimizer().set_hyperparams(1, hyperparams).unwrap();
        }
        14 => skip(host, "late"),
        _ => {}
    }
}

fn takes_part<D: OnDevice>(optimizer: &Optimizer<D>, step: usize, name: &str) -> bool {
    let is_skipped = matches!((step, name), (4, "b") | (14, "late"));
    !is_skipped && optimizer.params().any(|param| param.name == name) && optimizer.frozen().all(|frozen| frozen != name)
}

/// The checkpoint at the end. Before the steps in `stops` the run is saved, and goes on in another optimizer.
fn run<H: Host>(stops: &[usize]) -> Option<Checkpoint> {
    let mut random = Random(9);
    let starts = ["a", "b"].map(|name| start(name, &mut random));
    let mut host = H::new(ParamGroup::new(hyperparams(), starts.iter().map(param)), &starts)?;
    for step in 0..20 {
        if stops.contains(&step) {
            host.resume();
        }
        change(&mut host, step, &mut Random(step as u64));
        let mut grads = Grads::new();
        for name in NAMES {
            let grad = (0..37).map(|_| random.normal()).collect();
            if takes_part(host.optimizer(), step, name) {
                grads.insert(name.to_owned(), grad);
            }
        }
        host.step(&grads);
    }
    Some(host.checkpoint())
}

fn resumed_runs_are_the_same<H: Host>() {
    let Some(expected) = run::<H>(&[]) else { return };
    let counts: Vec<_> = expected.states().iter().map(|state| (&state.name[..], state.step())).collect();
    assert_eq!(counts, [("a", 14), ("late", 13), ("b", 19), ("c", 11)]);
    assert!(run::<H>(&[]).unwrap() == expected, "the same calls");
    for stop in 1..20 {
        assert!(run::<H>(&[stop]).unwrap() == expected, "stopped before step {stop}");
    }
    assert!(run::<H>(&[3, 7, 12, 15]).unwrap() == expected);
}

#[test]
fn resumed_runs_are_the_same_on_the_cpu() {
    resumed_runs_are_the_same::<HostOnCpu>();
}

#[test]
fn resumed_runs_are_the_same_on_the_gpu() {
    resumed_runs_are_the_same::<HostOnGpu>();
}
