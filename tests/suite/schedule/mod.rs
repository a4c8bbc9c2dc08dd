//! Schedules: PyTorch's learning rate at every step, and on both devices the step that goes with it.

mod devices;
mod factors;
mod refusals;

use miadam::Schedule;

fn cosine() -> Schedule {
    Schedule::Cosine { steps: 6, end_factor: 0.1 }
}

/// One of each kind, all over before step 10 but those that never end.
fn all_kinds() -> [Schedule; 12] {
    [
        Schedule::Constant,
        Schedule::LinearWarmup { start_factor: 0.1, steps: 4 },
        Schedule::Linear { start_factor: 1.5, end_factor: 0.2, steps: 6 },
        Schedule::Polynomial { steps: 7, power: 2.0, end_factor: 0.3 },
        cosine(),
        Schedule::CosineRestarts { steps: 2, growth: 3, end_factor: 0.1 },
        Schedule::Step { every: 2, gamma: 0.5 },
        Schedule::MultiStep { at: vec![1, 5, 5], gamma: 0.3 },
        Schedule::Exponential { gamma: 0.7 },
        Schedule::OneCycle { steps: 7, warmup: 0.4, div_factor: 10.0, final_div_factor: 20.0 },
        Schedule::Sequence(vec![(0, Schedule::LinearWarmup { start_factor: 0.0, steps: 3 }), (3, cosine())]),
        Schedule::Sequence(vec![(0, cosine()), (4, cosine().scaled(0.5))]).scaled(0.8),
    ]
}
