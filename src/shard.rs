//! Which rank owns which parameters.

use crate::param::{Param, ParamGroup};
use crate::planes::Planes;

/// Divides parameters among ranks, so that each rank keeps the state of its own parameters alone (stage 1 of ZeRO: Rajbhandari,
/// Rasley, Ruwase and He, 2020, arXiv 1910.02054). Gives the groups of each rank, for [`MiAdam::new`](crate::MiAdam::new).
///
/// Every rank has all parameters. What the host does:
/// - **Before a step** it sums the gradients over the ranks: all of them for every rank (an all-reduce), or each for its owner
///   (a reduce-scatter).
/// - **The step** of each rank is over its own parameters. Every rank records every step, so that all counts and schedules stay
///   the same; so do all changes of settings. A group may have another number on each rank, since one of which a rank owns
///   nothing is left out there.
/// - **If all gradients count together**, for a clip by their norm, a loss scale or a skip, a rank that has them all names
///   those of the other ranks with [`set_other_grads`](crate::MiAdam::set_other_grads), or on the CPU takes
///   [`step_with_others`](crate::cpu::MiAdam::step_with_others), without those of parameters that rest. So all ranks come to the
///   same verdict. After a reduce-scatter the host sums up the norm, writes the verdict, and all ranks
///   [follow](crate::MiAdam::follow) it. [`zero`](crate::GradOptions::zero) resets a rank's own gradients alone.
/// - **After a step** it sends every parameter from its owner to the others (an all-gather).
/// - **It saves** with [`Checkpoint::merge`](crate::Checkpoint::merge), and loads into any number of ranks by
///   [`LoadOptions::partial`](crate::LoadOptions::partial). A rank writes its own parameters then, and the host sends them on.
///
/// The parameter with most state goes first, each to the rank that has least so far; of several the lowest number. So the same
/// groups are always divided in the same way. If there are more ranks than
/// parameters, the last ones have no groups, and so no optimizer. For 0 ranks there is nothing.
///
/// ```
/// use miadam::{Hyperparams, Param, ParamGroup, shard};
///
/// let group = ParamGroup::new(Hyperparams::default(), [Param::new("a", 30), Param::new("b", 50), Param::new("c", 30)]);
/// let names = |groups: &Vec<ParamGroup>| groups[0].params.iter().map(|param| param.name.clone()).collect::<Vec<_>>();
/// let ranks: Vec<_> = shard([group], 2).iter().map(names).collect();
/// assert_eq!(ranks, [vec!["b"], vec!["a", "c"]]);
/// ```
#[must_use]
pub fn shard(groups: impl IntoIterator<Item = ParamGroup>, ranks: usize) -> Vec<Vec<ParamGroup>> {
    let groups: Vec<_> = groups.into_iter().collect();
    let of_group = |(number, group): (usize, &ParamGroup)| {
        let bytes = |param: &Param| Planes::new(&group.hyperparams, param.dtype, param.len).cell_bytes(param.len);
        group.params.iter().enumerate().map(|(index, param)| (bytes(param), number, index)).collect::<Vec<_>>()
    };
    let mut sizes: Vec<_> = groups.iter().enumerate().flat_map(of_group).collect();
    // A stable sort, so that equal ones stay in order.
    sizes.sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));

    let mut loads = vec![0_u64; ranks];
    let mut owners: Vec<Vec<usize>> = groups.iter().map(|group| vec![0; group.params.len()]).collect();
    for (bytes, group, index) in sizes {
        let Some(rank) = (0..ranks).min_by_key(|&rank| loads[rank]) else { break };
        loads[rank] = loads[rank].saturating_add(bytes);
        owners[group][index] = rank;
    }
    let owned = |rank: usize| {
        let groups = groups.iter().zip(&owners).map(|(group, owners)| {
            let params = group.params.iter().zip(owners).filter(|(_, owner)| **owner == rank);
            ParamGroup::new(group.hyperparams.clone(), params.map(|(param, _)| param.clone()))
        });
        groups.filter(|group| !group.params.is_empty()).collect()
    };
    (0..ranks).map(owned).collect()
}
