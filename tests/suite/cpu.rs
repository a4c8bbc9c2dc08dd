//! The CPU twin by itself.

use miadam::{Hyperparams, Param, ParamGroup, State, cpu};

use crate::common::{Random, empty_groups, step_empty};

/// Parameters of awkward lengths after a few steps on a pool of `threads`.
fn run(threads: usize) -> (Vec<u32>, State) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let lens = [0, 1, 63, 4095, 4097, 100_003, 64, 7];
        let groups = [0, 1, 3].map(|order| {
            let hyperparams = Hyperparams { order, amsgrad: order == 1, switch_step: 4, ..Hyperparams::default() };
            ParamGroup::new(hyperparams, lens.map(|len| Param::new(format!("{order}.{len}"), len)))
        });
        let names: Vec<_> = groups.iter().flat_map(|group| &group.params).map(|param| param.name.clone()).collect();
        let mut optimizer = cpu::MiAdam::new(groups).unwrap();
        let mut random = Random(1);
        let mut values = |len| (0..len).map(|_| random.normal()).collect::<Vec<_>>();
        let mut params: Vec<_> = [lens; 3].concat().into_iter().map(&mut values).collect();
        for _ in 0..6 {
            let mut grads: Vec<_> = [lens; 3].concat().into_iter().map(&mut values).collect();
            let tensors = names.iter().zip(params.iter_mut().zip(&mut grads));
            optimizer.step(tensors.map(|(name, (param, grad))| cpu::Binding::new(name, param, grad))).unwrap();
        }
        (params.iter().flatten().map(|value| value.to_bits()).collect(), optimizer.read_state())
    })
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let one = run(1);
    for threads in [2, 3, 8] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn an_optimizer_of_no_elements_steps() {
    let mut optimizer = cpu::MiAdam::new(empty_groups([Hyperparams::default()])).unwrap();
    step_empty(&mut optimizer);
    let State { step, params, .. } = optimizer.read_state();
    assert_eq!((step, params.len(), params[0].len()), (1, 1, 0));
}
