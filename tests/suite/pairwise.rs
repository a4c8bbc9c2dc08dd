//! Every two options together, on the GPU and on the CPU.

use miadam::{Average, GradOptions, GradScaler, Hyperparams, StepScale, WeightDecay};

use crate::common::{Home, Random, Rig, gpu, scatter};
use crate::parity::assert_parity;

/// Every two values of two different options meet in one of these: found greedily.
fn pairwise(levels: &[usize]) -> Vec<Vec<usize>> {
    let pairs_of = |row: &[usize]| {
        let mut pairs = Vec::new();
        for a in 0..row.len() {
            pairs.extend((0..a).map(|b| (a, row[a], b, row[b])));
        }
        pairs
    };
    let (mut random, mut rows) = (Random(1), Vec::new());
    let mut covered = std::collections::HashSet::new();
    let wanted: usize = (0..levels.len()).map(|a| levels[a] * levels[..a].iter().sum::<usize>()).sum();
    while covered.len() < wanted {
        let candidates = (0..200).map(|_| levels.iter().map(|&level| random.below(level)).collect::<Vec<_>>());
        let gain = |row: &Vec<usize>| pairs_of(row).iter().filter(|&pair| !covered.contains(pair)).count();
        let best = candidates.max_by_key(gain).unwrap();
        if gain(&best) > 0 {
            covered.extend(pairs_of(&best));
            rows.push(best);
        }
    }
    rows
}

#[test]
fn every_two_options_together_are_as_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let homes = [Home::OnePool, Home::TwoPools, Home::Separate, Home::Mixed];
    for row in pairwise(&[2, 3, 2, 2, 2, 2, 4, 2, 2, 3, 3, 4, 2, 4, 2]) {
        let options = GradOptions {
            factor: [1.0, 0.25][row[0]],
            // The norm of 14,858 standard normals is about 122, and 30 times that at the second step. One bound holds
            // that back whatever the factor and the loss scale, which leave 0.9 of it, and one holds nothing back.
            clip_norm: [None, Some(0.5), Some(1e6)][row[1]],
            measure_norm: row[12] == 1,
            clip_value: [None, Some(0.01)][row[2]],
            skip_non_finite: row[3] == 1,
            zero: row[4] == 1,
            scaler: [None, Some(GradScaler { init_scale: 1024.0, growth_interval: 2, ..GradScaler::default() })]
                [row[5]],
        };
        let hyperparams = Hyperparams {
            lr: 0.05,
            order: [0, 1, 3, 5][row[6]],
            amsgrad: row[7] == 1,
            maximize: row[8] == 1,
            weight_decay: [WeightDecay::None, WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1)][row[9]],
            switch_step: [1, 2, 100][row[10]],
            step_scale: [StepScale::UnitGain, StepScale::ExactGain][row[14]],
            average: [
                Average::None,
                Average::Ema { decay: 0.75, warmup: false },
                Average::Ema { decay: 0.99, warmup: true },
                Average::Equal { from: 2, every: 1 },
            ][row[13]],
            ..Hyperparams::default()
        };
        let lens = [(0, 9000), (0, 1757), (1, 5), (1, 4096)];
        let (buffers, spots) = scatter(&mut Random(3), &lens, homes[row[11]]);
        let mut rig = Rig::new(gpu.clone(), &[hyperparams, Hyperparams::default()], &buffers, &spots, 4);
        rig.set_grad_options(options);
        assert_parity(&mut rig, 3, &mut Random(5));
        let (found, expected) = (gpu.report(&rig.optimizer), rig.twin.read_report());
        assert_eq!((found.step, found.skipped, found.loss_scale), (3, 0, expected.loss_scale), "{options:?}");
        assert_eq!(found.groups, expected.groups);
        assert_eq!(found.grad_norm.is_some(), expected.grad_norm.is_some());
        let (found, expected) = (found.grad_norm.unwrap_or_default(), expected.grad_norm.unwrap_or_default());
        // A few roundings in each of the levels of the sum.
        assert!((found - expected).abs() <= 8.0 * f32::EPSILON * expected, "{found} is not {expected}");
    }
}
