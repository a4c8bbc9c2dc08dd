//! Which rank owns which parameters, and whose checkpoints go together. `checkpoint::ranks` has their bits.

use miadam::{Checkpoint, GradOptions, Hyperparams, Param, ParamGroup, cpu, shard};

use crate::common::Random;

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
