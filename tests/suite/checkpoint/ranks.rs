//! Ranks under every option: together they have the bits of one optimizer that was never stopped, however many they are.

use miadam::{
    Average, Checkpoint, GradOptions, Hyperparams, LoadOptions, Optimizer, Param, ParamGroup, Plane, cpu, shard,
};

use super::{LAYOUTS, STEPS, TENSORS, grad, laid_out, options, start};
use crate::common::{Groups, OnCpu, OnGpu, Run, lenient};

const PARTIAL: fn() -> LoadOptions = || LoadOptions { partial: true, ..LoadOptions::default() };

/// What rests at a step, so that parameters have counts of their own: `b` once, `layer.c` for good.
fn rests(name: &str, step: usize) -> bool {
    (name == "b" && step == 1) || (name == "layer.c" && step >= 4)
}

fn grad_of(name: &str, step: usize) -> Vec<f32> {
    grad(TENSORS.into_iter().find(|tensor| tensor.0 == name).unwrap(), step)
}

/// The groups of each rank, with what their parameters start from.
fn divided(ranks: usize) -> Vec<Groups> {
    let whole = laid_out(LAYOUTS[0]).into_iter().map(|(hyperparams, starts)| {
        let param = |start: &crate::common::Start| Param::new(&start.name, start.values.len()).with_dtype(start.dtype);
        ParamGroup::new(hyperparams, starts.iter().map(param))
    });
    let own = |ParamGroup { hyperparams, params }| {
        let tensor = |name: &str| TENSORS.into_iter().find(|tensor| tensor.0 == name).unwrap();
        (hyperparams, params.iter().map(|param: &Param| start(tensor(&param.name))).collect())
    };
    let ranks = shard(whole, ranks).into_iter();
    ranks.map(|groups| groups.into_iter().map(own).collect()).collect()
}

fn names<D: miadam::OnDevice>(optimizer: &Optimizer<D>) -> Vec<String> {
    optimizer.params().map(|param| param.name.clone()).collect()
}

/// So many ranks, each with its parameters of the checkpoint, if there is one.
fn begin<R: Run>(ranks: usize, saved: Option<&Checkpoint>) -> Option<Vec<R>> {
    let rank = |groups: Groups| {
        // Other settings than the checkpoint has, which has the last word.
        let changed = |(hyperparams, starts): &(Hyperparams, _)| {
            (Hyperparams { lr: 0.5, ..hyperparams.clone() }, Vec::clone(starts))
        };
        let own = if saved.is_some() { groups.iter().map(changed).collect() } else { groups };
        let mut run = R::new(&own, false)?;
        run.optimizer().set_grad_options(options()).unwrap();
        if let Some(saved) = saved {
            assert_eq!(run.optimizer().load_with(saved, &PARTIAL()), Ok(vec![]));
            run.write_params(saved);
        }
        Some(run)
    };
    divided(ranks).into_iter().map(rank).collect()
}

/// One step of all ranks. Each looks at all gradients of the step, so that all come to the same verdict.
fn step<R: Run>(ranks: &mut [R], step: usize) {
    for rank in ranks {
        let own = names(rank.optimizer());
        if step == 4 && own.iter().any(|name| name == "layer.c") {
            rank.optimizer().freeze(["layer.c"]).unwrap();
        }
        rank.optimizer().skip(own.iter().filter(|name| *name == "b" && rests(name, step))).unwrap();
        let others = TENSORS.into_iter().filter(|(name, ..)| !own.iter().any(|own| own == name) && !rests(name, step));
        let others: Vec<_> = others.map(|tensor| grad(tensor, step)).collect();
        rank.step_with_others(|name| grad_of(name, step), &others);
    }
}

/// What they save together, through the bytes of a file.
fn saved<R: Run>(ranks: &[R]) -> Checkpoint {
    let merged = Checkpoint::merge(ranks.iter().map(Run::checkpoint)).unwrap();
    let read = Checkpoint::from_bytes(&merged.to_bytes().unwrap()).unwrap();
    assert!(read == merged);
    read
}

fn contents(checkpoint: &Checkpoint) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut groups: Vec<_> = checkpoint.groups().map(|(own, names)| (format!("{own:?}"), names.to_vec())).collect();
    groups.iter_mut().for_each(|(_, names)| names.sort());
    groups.sort();
    let mut states: Vec<_> =
        checkpoint.states().iter().map(|state| format!("{state:?} {:?}", checkpoint.param(&state.name))).collect();
    states.sort();
    // Of a loading, to see what judges the next step.
    let mut judged = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("w", 0)])]).unwrap();
    let options = LoadOptions { own_hyperparams: true, partial: true, ..lenient() };
    judged.load_with(checkpoint, &options).unwrap();
    (format!("{:?} {:?}", judged.grad_options(), judged.read_report()), groups, states)
}

fn any_number_of_ranks_has_the_same_bits<R: Run>() {
    let Some(mut whole) = begin::<R>(1, None) else { return };
    let mut all = [1, 2, 3].map(|ranks| begin::<R>(ranks, None).unwrap());
    let mut files = Vec::new();
    for at in 0..STEPS {
        let expected = contents(&whole[0].checkpoint());
        let merged = all.each_ref().map(|ranks| saved(ranks));
        for merged in &merged {
            assert!(contents(merged) == expected, "at step {at}");
        }
        files.push((at, merged));
        step(&mut whole, at);
        all.iter_mut().for_each(|ranks| step(ranks, at));
    }
    let expected = contents(&whole[0].checkpoint());
    let counts: Vec<_> = whole[0].checkpoint().states().iter().map(|state| state.step()).collect();
    assert_eq!(counts, [6, 5, 3, 6, 6, 6], "one step is skipped");
    // Before the first step, before and after the skipped one, after both switches.
    for (at, [_, two, three]) in files.into_iter().filter(|(at, _)| [0, 2, 3, 5].contains(at)) {
        for (file, ranks) in [(&two, 3), (&three, 2), (&two, 1), (&three, 4)] {
            let mut resumed = begin::<R>(ranks, Some(file)).unwrap();
            assert!(contents(&saved(&resumed)) == contents(file), "at step {at}");
            (at..STEPS).for_each(|at| step(&mut resumed, at));
            assert!(contents(&saved(&resumed)) == expected, "from step {at} on {ranks} ranks");
        }
    }
}

#[test]
fn any_number_of_ranks_has_the_same_bits_on_the_cpu() {
    any_number_of_ranks_has_the_same_bits::<OnCpu>();
}

#[test]
fn any_number_of_ranks_has_the_same_bits_on_the_gpu() {
    any_number_of_ranks_has_the_same_bits::<OnGpu>();
}

/// Integrals that only one of the ranks has released.
fn released_integrals_may_be_of_one_rank<R: Run>() {
    let Some(mut ranks) = begin::<R>(2, None) else { return };
    (0..6).for_each(|at| step(&mut ranks, at));
    let full = saved(&ranks);
    assert!(ranks[0].optimizer().release_integrals().unwrap() > 0);
    let file = saved(&ranks);
    let integrals = |checkpoint: &Checkpoint| {
        let has = |state: &&miadam::ParamState| state.plane(Plane::Integral(1)).is_some();
        checkpoint.states().iter().filter(has).count()
    };
    assert!((1..integrals(&full)).contains(&integrals(&file)), "some are there");
    step(&mut ranks, 6);
    let expected = contents(&saved(&ranks));
    for count in 1..4 {
        let mut resumed = begin::<R>(count, Some(&file)).unwrap();
        assert!(contents(&saved(&resumed)) == contents(&file), "{count}");
        step(&mut resumed, 6);
        assert!(contents(&saved(&resumed)) == expected, "{count}");
    }
}

#[test]
fn released_integrals_may_be_of_one_rank_on_the_cpu() {
    released_integrals_may_be_of_one_rank::<OnCpu>();
}

#[test]
fn released_integrals_may_be_of_one_rank_on_the_gpu() {
    released_integrals_may_be_of_one_rank::<OnGpu>();
}

/// A leader, to which all gradients of the others are given, and two ranks that follow it.
fn leader_and_followers<R: Run>() -> Option<Vec<R>> {
    let mut ranks = begin::<R>(3, None)?;
    ranks[1..].iter_mut().for_each(|rank| rank.optimizer().set_grad_options(GradOptions::default()).unwrap());
    Some(ranks)
}

fn step_led<R: Run>(ranks: &mut [R], at: usize) {
    let (leader, followers) = ranks.split_first_mut().unwrap();
    step(std::slice::from_mut(leader), at);
    for rank in followers {
        let own = names(rank.optimizer());
        if at == 4 && own.iter().any(|name| name == "layer.c") {
            rank.optimizer().freeze(["layer.c"]).unwrap();
        }
        rank.optimizer().skip(own.iter().filter(|name| *name == "b" && rests(name, at))).unwrap();
        rank.step_following(leader, |name| grad_of(name, at));
    }
}

fn a_leader_and_followers_are_one<R: Run>() {
    let Some(mut led) = leader_and_followers::<R>() else { return };
    let mut alike = begin::<R>(2, None).unwrap();
    for at in 0..4 {
        step_led(&mut led, at);
        step(&mut alike, at);
    }
    let file = saved(&led);
    assert!(contents(&file) == contents(&saved(&alike)));
    // The leader's options come first or last.
    let backwards = Checkpoint::merge(led.iter().rev().map(Run::checkpoint)).unwrap();
    assert!(contents(&backwards) == contents(&file));

    // Either goes on as the other: what judged is the same.
    let mut ranks = begin::<R>(2, Some(&backwards)).unwrap();
    let mut led = leader_and_followers::<R>().unwrap();
    for (number, rank) in led.iter_mut().enumerate() {
        let options = LoadOptions { own_grad_options: number > 0, ..PARTIAL() };
        rank.optimizer().load_with(&file, &options).unwrap();
        rank.write_params(&file);
    }
    for at in 4..STEPS {
        step(&mut alike, at);
        step(&mut ranks, at);
        step_led(&mut led, at);
    }
    let expected = contents(&saved(&alike));
    assert!(contents(&saved(&ranks)) == expected);
    assert!(contents(&saved(&led)) == expected);

    // A follower remembers that it is one.
    let part = led[1].checkpoint();
    led[1].optimizer().load(&Checkpoint::from_bytes(&part.to_bytes().unwrap()).unwrap()).unwrap();
    assert!(led[1].checkpoint() == part);
    // Its own options count.
    let clipping = GradOptions { clip_value: Some(1.0), ..GradOptions::default() };
    led[1].optimizer().set_grad_options(clipping).unwrap();
    let error = Checkpoint::merge(led.iter().map(Run::checkpoint)).unwrap_err().to_string();
    assert!(error.contains("`gradients`: part 1"), "{error}");
}

#[test]
fn a_leader_and_followers_are_one_on_the_cpu() {
    a_leader_and_followers_are_one::<OnCpu>();
}

#[test]
fn a_leader_and_followers_are_one_on_the_gpu() {
    a_leader_and_followers_are_one::<OnGpu>();
}

#[test]
fn ranks_that_judge_apart_are_refused() {
    let mut ranks = begin::<OnCpu>(2, None).unwrap();
    // Nobody is told of the others' gradients: one of them is infinite at the third step.
    for at in 0..3 {
        ranks.iter_mut().for_each(|rank| rank.step(|name| grad_of(name, at)));
    }
    let error = Checkpoint::merge(ranks.iter().map(Run::checkpoint)).unwrap_err().to_string();
    assert!(error.contains("entry `step`: it is"), "{error}");
}

fn on_cpu(groups: &[(Hyperparams, &[&str])]) -> cpu::MiAdam {
    let group = |(hyperparams, names): &(Hyperparams, &[&str])| {
        ParamGroup::new(hyperparams.clone(), names.iter().map(|name| Param::new(*name, 2)))
    };
    cpu::MiAdam::new(groups.iter().map(group)).unwrap()
}

fn with_lr(lr: f64) -> Hyperparams {
    Hyperparams { lr, ..Hyperparams::default() }
}

#[test]
fn a_part_of_a_file_has_to_be_there_and_under_one_setting() {
    let saved =
        on_cpu(&[(with_lr(0.1), &["a", "b"]), (with_lr(0.2), &["c"]), (with_lr(0.1), &["d"])]).read_checkpoint();
    let lrs = |optimizer: &cpu::MiAdam| optimizer.hyperparams().map(|group| group.lr).collect::<Vec<_>>();
    // Groups of the same settings may be one or several, on either side.
    for (groups, expected) in [
        (&[&["d", "a"][..]][..], &[0.1][..]),
        (&[&["c"]], &[0.2]),
        (&[&["b"], &["c"], &["d"], &["a"]], &[0.1, 0.2, 0.1, 0.1]),
    ] {
        let groups: Vec<_> = groups.iter().map(|names| (with_lr(7.0), *names)).collect();
        let mut rank = on_cpu(&groups);
        assert_eq!(rank.load_with(&saved, &PARTIAL()), Ok(vec![]));
        assert_eq!(lrs(&rank), expected);
    }
    // What is wrong, and the list of a lenient loading: what the rank does not own is not in it.
    for (names, entry, words) in [
        (&["a", "e"][..], "e", "the checkpoint has no such parameter"),
        (&["d", "c"], "d", "under other hyperparameters in the checkpoint"),
    ] {
        let mut rank = on_cpu(&[(with_lr(7.0), names)]);
        let before = rank.read_checkpoint();
        let error = rank.load_with(&saved, &PARTIAL()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("checkpoint entry `{entry}`")) && error.contains(words), "{error}");
        assert!(rank.read_checkpoint() == before);
        let listed = rank.load_with(&saved, &LoadOptions { partial: true, ..lenient() }).unwrap();
        assert!(matches!(&listed[..], [one] if one.entry == entry && one.reason.contains(words)), "{listed:?}");
    }
    // Its own settings may divide them at will.
    let mut rank = on_cpu(&[(with_lr(7.0), &["d", "c"])]);
    assert_eq!(rank.load_with(&saved, &LoadOptions { own_hyperparams: true, ..PARTIAL() }), Ok(vec![]));
    assert_eq!(lrs(&rank), [7.0]);
    // Without the option, the file is the optimizer's.
    assert!(on_cpu(&[(with_lr(0.2), &["c"])]).load(&saved).unwrap_err().to_string().contains("no such parameter"));
}

#[test]
fn groups_alike_load_wherever_the_ranks_had_them() {
    // Two groups that differ in nothing, of which the second rank has the second alone.
    let alike = |names: [&'static [&'static str]; 2]| {
        let own: Vec<_> =
            names.into_iter().filter(|names| !names.is_empty()).map(|names| (with_lr(0.1), names)).collect();
        on_cpu(&own)
    };
    let parts = [alike([&["a"], &["c"]]), alike([&[], &["d"]])];
    let merged = Checkpoint::merge(parts.iter().map(|part| part.read_checkpoint())).unwrap();
    for names in [[&["a"][..], &["c", "d"][..]], [&["a"], &["d"]], [&[], &["d", "c"]]] {
        assert_eq!(alike(names).load_with(&merged, &PARTIAL()), Ok(vec![]), "{names:?}");
    }
}

#[test]
fn only_ranks_with_averages_swap_them() {
    let averaged = Hyperparams { average: Average::Equal { from: 1, every: 1 }, ..Hyperparams::default() };
    let parts = || [("a", averaged.clone()), ("b", Hyperparams::default()), ("c", averaged.clone())];
    let saved = |swaps: &[&str]| {
        let part = |(name, hyperparams): (&str, Hyperparams)| {
            let (mut optimizer, mut value) = (on_cpu(&[(hyperparams, &[name])]), [1.0; 2]);
            optimizer.step([cpu::Binding::new(name, &mut value, &mut [0.5; 2])]).unwrap();
            if swaps.contains(&name) {
                optimizer.swap_averages([cpu::Binding::new(name, &mut value, &mut [0.0; 0])]).unwrap();
            }
            optimizer.read_checkpoint()
        };
        Checkpoint::merge(parts().map(part))
    };
    let merged = saved(&["a", "c"]).unwrap();
    for (name, hyperparams) in parts() {
        let mut rank = on_cpu(&[(hyperparams.clone(), &[name])]);
        rank.load_with(&merged, &PARTIAL()).unwrap();
        // A step is refused while averages are in the parameters' place.
        let stepped = rank.step([cpu::Binding::new(name, &mut [1.0; 2], &mut [0.5; 2])]);
        assert_eq!(stepped.is_err(), hyperparams.average != Average::None, "{name}");
    }
    for swaps in [&["a"][..], &["c"]] {
        let error = saved(swaps).unwrap_err().to_string();
        assert!(error.contains("`averages_in`") && error.contains("swap the averages back"), "{error}");
    }
}
