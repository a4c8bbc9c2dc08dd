//! Bindings go by name: in any order, each parameter once, and any number of them anew.

use miadam::{Binding, Dtype, Error, GradOptions, Hyperparams, MiAdam, Param, ParamGroup, cpu};

use crate::common::{Gpu, Home, Random, Rig, gpu, scatter};
use crate::parity::assert_parity;

fn groups() -> [Hyperparams; 2] {
    [Hyperparams { order: 2, ..Hyperparams::default() }, Hyperparams { order: 0, lr: 0.01, ..Hyperparams::default() }]
}

fn rig(gpu: Gpu) -> Rig {
    let (buffers, spots) = scatter(&mut Random(3), &[(0, 1000), (0, 37), (0, 0), (1, 512), (1, 4099)], Home::Mixed);
    let mut rig = Rig::new(gpu, &groups(), &buffers, &spots, 4);
    let mut random = Random(5);
    rig.set_grads(|| random.normal());
    rig
}

/// Orders of the five parameters, the groups' first.
const ORDERS: [[usize; 5]; 4] = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [3, 0, 4, 1, 2], [1, 0, 2, 3, 4]];

#[test]
fn any_order_gives_the_same_bits_on_the_gpu() {
    let Some(gpu) = gpu() else { return };
    let results = ORDERS.map(|order| {
        let mut rig = rig(gpu.clone());
        let groups = groups().into_iter().enumerate().map(|(group, hyperparams)| {
            let own = rig.spots.iter().zip(&rig.names).filter(|(spot, _)| spot.group == group);
            ParamGroup::new(hyperparams, own.map(|(spot, name)| Param::new(name, spot.len)))
        });
        let bindings = order.map(|number| rig.spots[number].bind(&rig.names[number], &rig.buffers));
        rig.optimizer = MiAdam::new(&gpu.device, &gpu.queue, groups, bindings).unwrap();
        assert!(rig.optimizer.bindings().map(|binding| binding.name.to_owned()).eq(rig.names.iter().cloned()));
        rig.step_gpu();
        let bindings = order.map(|number| rig.spots[number].bind(&rig.names[number], &rig.buffers));
        rig.optimizer.rebind(bindings).unwrap();
        rig.step_gpu();
        (rig.found(), gpu.state(&rig.optimizer))
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn any_order_gives_the_same_bits_on_the_cpu() {
    let lens = [1000, 37, 0, 512, 4099];
    let names = ["a", "b", "c", "d", "e"];
    let results = ORDERS.map(|order| {
        let param = |number: usize| Param::new(names[number], lens[number]);
        let [first, second] = groups();
        let groups = [ParamGroup::new(first, [0, 1, 2].map(param)), ParamGroup::new(second, [3, 4].map(param))];
        let mut optimizer = cpu::MiAdam::new(groups).unwrap();
        let mut random = Random(1);
        let mut values = |len| (0..len).map(|_| random.normal()).collect::<Vec<_>>();
        let mut params = lens.map(&mut values);
        for _ in 0..3 {
            let mut grads = lens.map(&mut values);
            let tensors = names.iter().zip(params.iter_mut().zip(&mut grads));
            let mut bindings: Vec<_> =
                tensors.map(|(name, (param, grad))| Some(cpu::Binding::new(name, param, grad))).collect();
            optimizer.step(order.map(|number| bindings[number].take().unwrap())).unwrap();
        }
        (params.concat().into_iter().map(f32::to_bits).collect::<Vec<_>>(), optimizer.read_state())
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

/// What is wrong with the names of a call's bindings, of the parameters `a` and `b`.
fn wrong() -> [(&'static [&'static str], Error); 5] {
    let (a, b, c) = ("a".to_owned(), "b".to_owned(), "c".to_owned());
    [
        (&["a"], Error::UnboundParam { name: b }),
        (&[], Error::UnboundParam { name: a.clone() }),
        (&["a", "b", "a"], Error::BoundTwice { name: a.clone() }),
        (&["a", "a"], Error::BoundTwice { name: a }),
        (&["c", "a", "b"], Error::UnknownParam { name: c }),
    ]
}

fn ab() -> ParamGroup {
    ParamGroup::new(Hyperparams::default(), ["a", "b"].map(|name| Param::new(name, 4)))
}

/// One line, with the name and the remedy.
fn assert_says(error: &Error) {
    let message = error.to_string();
    let name = ["`a`", "`b`", "`c`"].iter().any(|name| message.contains(name));
    assert!(name && message.contains("; ") && !message.contains('\n'), "{message}");
}

#[test]
fn wrong_names_are_errors_and_change_nothing_on_the_cpu() {
    let mut optimizer = cpu::MiAdam::new([ab()]).unwrap();
    let options = GradOptions { zero: true, ..GradOptions::default() };
    optimizer.set_grad_options(options).unwrap();
    let before = optimizer.read_checkpoint();
    for (names, expected) in wrong() {
        let mut tensors = vec![([1.0f32; 4], [2.0f32; 4]); names.len()];
        let bindings = names.iter().zip(&mut tensors).map(|(name, (param, grad))| cpu::Binding::new(name, param, grad));
        let error = optimizer.step(bindings).unwrap_err();
        assert_eq!(error, expected, "{names:?}");
        assert_says(&error);
        assert!(optimizer.read_checkpoint() == before);
        assert!(tensors.iter().all(|tensor| *tensor == ([1.0; 4], [2.0; 4])), "{names:?}");
    }
}

#[test]
fn wrong_names_are_errors_and_change_nothing_on_the_gpu() {
    let Some(gpu) = gpu() else { return };
    let buffers = [gpu.buffer_of(&[1.0; 16]), gpu.buffer_of(&[2.0; 16])];
    let bind = |name, at: u64| Binding::new(name, (&buffers[0], 16 * at), (&buffers[1], 16 * at));
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [ab()], [bind("a", 0), bind("b", 1)]).unwrap();
    let places = |optimizer: &MiAdam| optimizer.bindings().map(|own| own.param.offset).collect::<Vec<_>>();
    for (names, expected) in wrong() {
        let error =
            MiAdam::new(&gpu.device, &gpu.queue, [ab()], names.iter().zip(0..).map(|(name, at)| bind(name, at)));
        assert_eq!(error.err(), Some(expected.clone()), "{names:?}");
        assert_says(&expected);
        // What a call does not name stays where it is.
        if !matches!(expected, Error::UnboundParam { .. }) {
            // From the end, so that good names come before bad ones.
            let moved = names.iter().rev().map(|name| bind(name, 2));
            assert_eq!(optimizer.rebind(moved), Err(expected), "{names:?}");
            assert_eq!(places(&optimizer), [0, 16], "{names:?}");
        }
    }
    optimizer.rebind([bind("b", 3)]).unwrap();
    assert_eq!(places(&optimizer), [0, 48]);
    optimizer.rebind([]).unwrap();
    gpu.step(&mut optimizer);
    let found = gpu.floats(&buffers[0]);
    let moved: Vec<_> = (0..16).filter(|&at| found[at] != 1.0).collect();
    assert_eq!(moved, [0, 1, 2, 3, 12, 13, 14, 15]);
}

#[test]
fn a_thousand_at_once_are_as_one_by_one() {
    let Some(gpu) = gpu() else { return };
    let lens: Vec<_> = (0..1000).map(|number| (0, 1 + number % 70)).collect();
    let (buffers, spots) = scatter(&mut Random(7), &lens, Home::OnePool);
    // The same tensors elsewhere, in another order.
    let reversed: Vec<_> = lens.iter().rev().copied().collect();
    let (moved_buffers, mut moved) = scatter(&mut Random(8), &reversed, Home::TwoPools);
    moved.reverse();
    let results = [true, false].map(|at_once| {
        let mut rig = Rig::new(gpu.clone(), &groups()[..1], &buffers, &spots, 9);
        let mut random = Random(10);
        rig.set_grads(|| random.normal());
        rig.step_gpu();
        let other = Rig::new(gpu.clone(), &groups()[..1], &moved_buffers, &moved, 11);
        let bind = |number: usize| moved[number].bind(&other.names[number], &other.buffers);
        if at_once {
            rig.optimizer.rebind((0..1000).map(bind)).unwrap();
        } else {
            (0..1000).rev().for_each(|number| rig.optimizer.rebind([bind(number)]).unwrap());
        }
        rig.step_gpu();
        let dispatches = rig.optimizer.dispatches().unwrap();
        (rig.found(), other.found(), other.expected, gpu.state(&rig.optimizer), dispatches)
    });
    assert!(results[0] == results[1]);
    assert!(results[0].1 != results[0].2, "the second step was elsewhere");
}

#[test]
fn a_gradients_type_may_change() {
    let Some(gpu) = gpu() else { return };
    let mut rig = rig(gpu);
    let mut random = Random(6);
    for (numbers, dtype) in [(0..5, Dtype::Bf16), (1..2, Dtype::F16), (3..5, Dtype::F32), (0..5, Dtype::F32)] {
        rig.spots[numbers].iter_mut().for_each(|spot| spot.grad_dtype = dtype);
        rig.rebind();
        assert_parity(&mut rig, 2, &mut random);
    }
    let types = rig.optimizer.bindings().map(|binding| binding.grad_dtype.unwrap_or(Dtype::F32));
    assert!(types.eq([Dtype::F32; 5]));
}

/// `cargo test --release --test suite -- --ignored --nocapture a_thousand_rebound` prints the times.
#[test]
#[ignore = "prints times, for benches/README.md"]
fn the_time_of_a_thousand_rebound_at_once() {
    let Some(gpu) = gpu() else { return };
    let pools: Vec<_> = (0..3).map(|_| gpu.buffer_of(&vec![0.0; 1000 * 64])).collect();
    let names: Vec<_> = (0..1000).map(|number| format!("layer.{number}.weight")).collect();
    let bindings = |grads: usize| {
        names.iter().enumerate().map({
            let pools = &pools;
            move |(number, name)| {
                let offset = 256 * number as u64;
                Binding::new(name, (&pools[0], offset), (&pools[grads], offset))
            }
        })
    };
    let params = names.iter().map(|name| Param::new(name, 64));
    let group = ParamGroup::new(Hyperparams::default(), params);
    let mut optimizer = MiAdam::new(&gpu.device, &gpu.queue, [group], bindings(1)).unwrap();
    for (what, moves) in [("where they are", false), ("gradients in another buffer", true)] {
        let (mut rebinds, mut steps) = (Vec::new(), Vec::new());
        for round in 0..100 {
            let grads = if moves { 1 + round % 2 } else { 1 };
            let start = std::time::Instant::now();
            optimizer.rebind(bindings(grads)).unwrap();
            rebinds.push(start.elapsed());
            let mut encoder = gpu.encoder();
            let start = std::time::Instant::now();
            optimizer.step(&mut encoder).unwrap();
            steps.push(start.elapsed());
            gpu.submit(encoder);
            gpu.wait();
        }
        rebinds.sort();
        steps.sort();
        eprintln!("{what}: rebind {:?}, then step {:?} (medians)", rebinds[50], steps[50]);
    }
}
