//! Which rank owns which parameters.

use crate::param::{Param, ParamGroup};
use crate::planes::Planes;

/// Divides parameters among ranks, so that each rank keeps the state of its own parameters alone (stage 1 of ZeRO: Rajbhandari,
/// Rasley, Ruwase and He, 2020, arXiv 1910.02054). Gives the groups of each rank, for [`MiAdam::new`](crate::MiAdam::new).
///
/// Every rank has all parameters and all gradients, which the host has summed over the ranks. Each takes a step over its own
/// parameters; then the host sends every parameter from its owner to the others. For a step that is clipped by the norm of all
/// gradients, a rank names the others' with [`set_other_grads`](crate::MiAdam::set_other_grads).
///
/// The parameter with most state goes first, each to the rank that has least so far; of several the lowest number. So the same
/// groups are always divided in the same way. A rank has no group of which it owns nothing. If there are more ranks than
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
        let bytes = |param: &Param| Planes::new(&group.hyperparams, param.dtype).quad_bytes(param.len);
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
