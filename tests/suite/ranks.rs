//! Ranks that own some of the parameters each, and whose checkpoints become one.

use miadam::{Average, Checkpoint, Dtype, GradOptions, HalfParams, Hyperparams, Param, ParamGroup, cpu, shard};

use crate::common::{Random, Start, Values};
use crate::living::host::{Grads, Host, HostOnCpu, HostOnGpu, param};

/// Steps between two divisions.
const STEPS: usize = 5;
const LENS: [(&str, usize); 6] = [("a", 37), ("b", 4), ("c", 64), ("d", 1), ("e", 37), ("f", 0)];

fn starts() -> Vec<Start> {
    let mut random = Random(3);
    let start = |(name, len): (&str, usize)| Start {
        name: name.into(),
        dtype: if name == "b" || name == "e" { Dtype::Bf16 } else { Dtype::F32 },
        values: (0..len).map(|_| random.normal()).collect(),
    };
    LENS.map(start).into()
}

fn hyperparams() -> Hyperparams {
    let average = Average::Ema { decay: 0.9, warmup: true };
    Hyperparams { lr: 0.01, switch_step: 12, average, half_params: HalfParams::Master, ..Hyperparams::default() }
}

/// Each rank goes on from its part of the checkpoint, if there is one.
fn ranks<H: Host>(ranks: usize, saved: Option<&Checkpoint>) -> Option<Vec<H>> {
    let starts: Vec<_> = match saved {
        None => starts(),
        Some(saved) => starts().into_iter().map(|start| as_saved(saved, start)).collect(),
    };
    let group = ParamGroup::new(hyperparams(), starts.iter().map(param));
    let hosts = shard([group], ranks).into_iter().map(|mut groups| {
        let group = groups.pop().unwrap();
        let owns = |name: &str| group.params.iter().any(|param| param.name == name);
        let own: Vec<_> = starts.iter().filter(|start| owns(&start.name)).cloned().collect();
        let mut host = H::new(group.clone(), &own)?;
        if let Some(saved) = saved {
            let mut part = saved.clone();
            part.retain_params(owns);
            host.optimizer().load(&part).unwrap();
        }
        Some(host)
    });
    hosts.collect()
}

fn as_saved(saved: &Checkpoint, start: Start) -> Start {
    let (dtype, bytes) = saved.param(&start.name).unwrap();
    Start { values: Values::from_bytes(dtype, bytes, start.values.len()).single(), ..start }
}

/// Some parameters rest, so that they have counts of their own.
fn grads(step: usize) -> Grads {
    let mut random = Random(step as u64);
    let mut grads = Grads::new();
    for (name, len) in LENS {
        let grad = (0..len).map(|_| random.normal()).collect();
        let rests = (name == "c" && step % 3 == 1) || (name == "a" && step >= 7);
        if !rests {
            grads.insert(name.to_owned(), grad);
        }
    }
    grads
}

/// The checkpoint after a division among so many ranks, then among so many, and so on.
fn run<H: Host>(divisions: &[usize]) -> Option<Checkpoint> {
    let mut saved = None;
    for (number, &count) in divisions.iter().enumerate() {
        let mut hosts = ranks::<H>(count, saved.as_ref())?;
        for step in number * STEPS..(number + 1) * STEPS {
            let grads = grads(step);
            for host in &mut hosts {
                let names: Vec<_> = host.optimizer().params().map(|param| param.name.clone()).collect();
                let own: Grads = grads
                    .iter()
                    .filter(|(name, _)| names.contains(name))
                    .map(|(n, g)| (n.clone(), g.clone()))
                    .collect();
                if step == 7 && names.iter().any(|name| name == "a") {
                    host.optimizer().freeze(["a"]).unwrap();
                }
                let is_frozen = |name: &String| name == "a" && step >= 7;
                let rests = names.iter().filter(|name| !own.contains_key(*name) && !is_frozen(name));
                let rests: Vec<_> = rests.cloned().collect();
                host.optimizer().skip(rests).unwrap();
                host.step(&own);
            }
        }
        saved = Some(Checkpoint::merge(hosts.iter().map(Host::checkpoint)).unwrap());
    }
    saved
}

fn any_number_of_ranks_is_one<H: Host>() {
    let Some(expected) = run::<H>(&[1, 1, 1, 1]) else { return };
    let steps: Vec<_> = expected.states().iter().map(|state| (&state.name[..], state.step())).collect();
    assert_eq!(steps, [("a", 7), ("b", 20), ("c", 13), ("d", 20), ("e", 20), ("f", 20)]);
    for divisions in [[2, 1, 3, 1], [3, 2, 1, 1], [6, 3, 2, 1]] {
        assert!(run::<H>(&divisions).unwrap() == expected, "{divisions:?}");
    }
}

#[test]
fn any_number_of_ranks_is_one_on_the_cpu() {
    any_number_of_ranks_is_one::<HostOnCpu>();
}

#[test]
fn any_number_of_ranks_is_one_on_the_gpu() {
    any_number_of_ranks_is_one::<HostOnGpu>();
}

fn part(names: &[&str], lr: f64) -> cpu::MiAdam {
    let params = names.iter().map(|name| Param::new(*name, 2));
    cpu::MiAdam::new([ParamGroup::new(Hyperparams { lr, ..Hyperparams::default() }, params)]).unwrap()
}

#[test]
fn groups_go_together_by_their_hyperparameters() {
    let two = |names: [&str; 2], lrs: [f64; 2]| {
        let groups = [0, 1].map(|number| {
            let hyperparams = Hyperparams { lr: lrs[number], ..Hyperparams::default() };
            ParamGroup::new(hyperparams, [Param::new(names[number], 1)])
        });
        cpu::MiAdam::new(groups).unwrap().read_checkpoint()
    };
    let groups = |parts: Vec<Checkpoint>| {
        let merged = Checkpoint::merge(parts).unwrap();
        merged.groups().map(|(hyperparams, names)| (hyperparams.lr, names.join(" "))).collect::<Vec<_>>()
    };
    let own = |lr, names: &str| (lr, names.to_owned());
    assert_eq!(
        groups(vec![two(["a", "b"], [0.1, 0.2]), two(["c", "d"], [0.2, 0.3])]),
        [own(0.1, "a"), own(0.2, "b c"), own(0.3, "d")]
    );
    // The first with the first, the second with the second.
    assert_eq!(groups(vec![two(["a", "b"], [0.1; 2]), two(["c", "d"], [0.1; 2])]), [own(0.1, "a c"), own(0.1, "b d")]);
    let single = two(["a", "b"], [0.1; 2]);
    assert_eq!(Checkpoint::merge([single.clone()]).unwrap(), single);
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let refusal = |a: Checkpoint, b: Checkpoint| Checkpoint::merge([a, b]).unwrap_err().to_string();
    let [a, b] = [part(&["a"], 0.1).read_checkpoint(), part(&["b"], 0.1).read_checkpoint()];
    assert!(Checkpoint::merge([a.clone(), b.clone()]).is_ok());
    assert_eq!(
        refusal(a.clone(), a.clone()),
        "checkpoint entry `a`: two parts have it; each parameter belongs to one rank"
    );

    let mut later = part(&["b"], 0.1);
    later.step([cpu::Binding::new("b", &mut [1.0; 2], &mut [0.5; 2])]).unwrap();
    assert_eq!(
        refusal(a.clone(), later.read_checkpoint()),
        "checkpoint entry `step`: it is 0 in part 0 and 1 in part 1; save all parts after the same step"
    );
    let mut clipped = part(&["b"], 0.1);
    clipped.set_grad_options(GradOptions { clip_norm: Some(1.0), ..GradOptions::default() }).unwrap();
    assert!(refusal(a.clone(), clipped.read_checkpoint()).contains("other gradient options"));

    let noted = |checkpoint: &Checkpoint, epoch: &str| {
        let mut checkpoint = checkpoint.clone();
        checkpoint.user_data_mut().insert("epoch".into(), epoch.into());
        checkpoint
    };
    assert_eq!(Checkpoint::merge([noted(&a, "3"), b.clone()]).unwrap().user_data()["epoch"], "3");
    assert!(refusal(noted(&a, "3"), noted(&b, "4")).contains("it is \"3\" in one part and \"4\" in part 1"));
    assert!(Checkpoint::merge([]).unwrap_err().to_string().contains("give one for each rank"));
}

#[test]
fn a_rank_misses_a_parameter_that_the_file_lacks() {
    let saved = part(&["a", "b"], 0.1).read_checkpoint();
    let mut rank = part(&["a", "c"], 0.1);
    let mut own = saved;
    own.retain_params(|name| name == "a" || name == "c");
    assert!(rank.load(&own).unwrap_err().to_string().contains("`c`: the checkpoint has no such parameter"));
}

#[test]
fn shards_are_even_and_complete() {
    let mut random = Random(8);
    for ranks in 1..9 {
        let group = |lr: f64, names: std::ops::Range<usize>, random: &mut Random| {
            let params = names.map(|n| Param::new(format!("p{n}"), (random.normal().abs() * 1000.0) as usize));
            ParamGroup::new(Hyperparams { lr, ..Hyperparams::default() }, params)
        };
        let groups = [group(0.1, 0..20, &mut random), group(0.2, 20..23, &mut random)];
        let shards = shard(groups.clone(), ranks);
        assert_eq!(shards.len(), ranks);
        assert_eq!(shards, shard(groups.clone(), ranks), "always the same");
        let bytes = |groups: &Vec<ParamGroup>| groups.iter().map(ParamGroup::state_bytes).sum::<u64>();
        let loads: Vec<_> = shards.iter().map(bytes).collect();
        let largest = groups.iter().flat_map(|group| group.params.iter().map(|param| param.len)).max().unwrap() as u64;
        // No rank is ahead of another by more than one parameter: 3 planes, each rounded up to a quad.
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 12 * (largest + 3), "{loads:?}");
        for (number, group) in groups.iter().enumerate() {
            let lr = group.hyperparams.lr;
            let own = shards.iter().flatten().filter(|own| own.hyperparams.lr == lr).flat_map(|own| &own.params);
            let mut own: Vec<_> = own.cloned().collect();
            own.sort_by_key(|param| param.name[1..].parse::<usize>().unwrap());
            assert_eq!(own, group.params, "group {number}");
        }
    }
    assert!(shard([], 2).iter().all(Vec::is_empty));
    assert!(shard([ParamGroup::new(Hyperparams::default(), [Param::new("a", 1)])], 0).is_empty());
}
