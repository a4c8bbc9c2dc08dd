//! What an older version of the crate has written. tests/golden/checkpoints/README.md says how.

use std::path::Path;

use miadam::{Checkpoint, ParamState, Plane};
use safetensors::SafeTensors;

use crate::common::{Groups, OnCpu, OnGpu, Run, Start};

fn file(name: &str) -> Vec<u8> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::fs::read(golden.join(format!("{name}.safetensors"))).unwrap()
}

/// Every file's bytes: the first two have planes of every kind.
fn files() -> Vec<Vec<u8>> {
    let bridge =
        ["adam", "adamw", "miadam", "pauses", "miadam_pauses"].map(|case| file(&format!("bridge/{case}.rust")));
    ["checkpoints/version_1", "checkpoints/version_2"].map(file).into_iter().chain(bridge).collect()
}

#[test]
fn every_entry_is_read_and_written_bit_for_bit() {
    for bytes in files() {
        let checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut entries = 0;
        for state in checkpoint.states() {
            for (plane, values) in state.planes() {
                let entry = file.tensor(&format!("{plane}/{}", state.name)).unwrap();
                assert_eq!(bytemuck::cast_slice::<_, u8>(values), entry.data(), "{plane}/{}", state.name);
                entries += 1;
            }
            let entry = file.tensor(&format!("param/{}", state.name)).unwrap();
            assert_eq!(checkpoint.param(&state.name).unwrap().1, entry.data(), "param/{}", state.name);
            entries += 1;
        }
        assert_eq!(entries, file.len());
        assert!(Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap() == checkpoint);
    }
    let first = Checkpoint::from_bytes(&files()[0]).unwrap();
    let [f16, f32, bf16, ..] = first.states() else { panic!("three parameters and more") };
    let planes = |state: &ParamState| state.planes().map(|(plane, _)| plane).collect::<Vec<_>>();
    let integrals = [1, 2, 3].map(Plane::Integral);
    let moments = [Plane::FirstMoment, Plane::SecondMoment, Plane::MaxSecondMoment];
    assert_eq!(planes(f16), [&moments[..], &[Plane::Master], &integrals].concat());
    assert_eq!(planes(f32), [&moments[..], &integrals].concat());
    assert_eq!(planes(bf16), [&moments[..2], &integrals[..1]].concat(), "rounded at random");
}

/// A run of the checkpoint's groups, none of whose values are the checkpoint's.
fn groups(checkpoint: &Checkpoint) -> Groups {
    let start = |name: &String| {
        let (dtype, bytes) = checkpoint.param(name).unwrap();
        Start { name: name.clone(), dtype, values: vec![7.0; bytes.len() / dtype.width() as usize] }
    };
    checkpoint.groups().map(|(hyperparams, names)| (hyperparams.clone(), names.iter().map(start).collect())).collect()
}

fn loads<R: Run>() {
    for bytes in files() {
        let checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
        let Some(mut run) = R::new(&groups(&checkpoint), true) else { return };
        run.step(|name| vec![1.0; checkpoint.states().iter().find(|state| state.name == name).unwrap().len()]);
        run.load(&checkpoint);
        // The caller's own strings are no optimizer's.
        let mut expected = checkpoint;
        expected.user_data_mut().clear();
        assert!(run.checkpoint() == expected);
    }
    let checkpoint = Checkpoint::from_bytes(&file("checkpoints/version_2")).unwrap();
    let Some(mut run) = R::new(&groups(&checkpoint), false) else { return };
    run.load(&checkpoint);
    assert_eq!(run.optimizer().frozen().collect::<Vec<_>>(), ["body/f16"]);
    run.step(|name| vec![1.0; checkpoint.states().iter().find(|state| state.name == name).unwrap().len()]);
    assert_eq!(steps(&run.checkpoint()), [6, 4, 4, 4]);
}

fn steps(checkpoint: &Checkpoint) -> Vec<u32> {
    checkpoint.states().iter().map(ParamState::step).collect()
}

#[test]
fn version_1_counts_once_for_all_and_version_2_for_each() {
    let [one, two] = [1, 2].map(|version| Checkpoint::from_bytes(&file(&format!("checkpoints/version_{version}"))));
    let [one, two] = [one.unwrap(), two.unwrap()];
    assert_eq!((one.step(), steps(&one)), (4, vec![4; 5]));
    assert_eq!((two.step(), steps(&two)), (5, vec![5, 4, 3, 3]));
    assert_eq!(two.user_data()["epoch"], "6");
}

#[test]
fn the_cpu_loads_it() {
    loads::<OnCpu>();
}

#[test]
fn the_gpu_loads_it() {
    loads::<OnGpu>();
}
