//! The shaders against the CPU twin.

use miadam::Hyperparams;

use crate::common::{Random, Rig, Spot, gpu};

#[test]
fn first_light() {
    let Some(gpu) = gpu() else { return };
    let groups =
        [Hyperparams::default(), Hyperparams { order: 3, switch_step: 4, amsgrad: true, ..Default::default() }];
    let spots = [
        Spot { group: 0, len: 1003, param: (0, 3), grad: (0, 5000) },
        Spot { group: 0, len: 64, param: (0, 1008), grad: (0, 6004) },
        Spot { group: 1, len: 777, param: (0, 2000), grad: (1, 0) },
    ];
    let mut rig = Rig::new(gpu, &groups, &[8000, 777], &spots, 1);
    let mut random = Random(7);
    for step in 1..=10 {
        rig.set_grads(|| random.normal());
        rig.step_twin();
        rig.step_gpu();
        let found = rig.found();
        let mut differing = 0;
        let mut worst = 0f32;
        for (a, b) in found.iter().flatten().zip(rig.expected.iter().flatten()) {
            if a.to_bits() != b.to_bits() {
                differing += 1;
            }
            worst = worst.max((a - b).abs());
        }
        println!("step {step}: {differing} differ, worst {worst:e}");
    }
    let (a, b) = (rig.gpu.state(&rig.optimizer), rig.twin.state());
    println!("{} {} states equal {}", a.step, b.step, a == b);
    println!("dispatches {}", rig.optimizer.dispatches().unwrap());
}
