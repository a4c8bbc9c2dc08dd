//! What an older version of the crate has written. tests/golden/checkpoints/README.md says how.

use std::path::Path;

use miadam::{Checkpoint, ParamState, Plane};
use safetensors::SafeTensors;

use crate::common::{Groups, OnCpu, OnGpu, Run, Start};

/// Every file's bytes: the first has planes of every kind.
fn files() -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let names = ["checkpoints/version_1", "bridge/adam.rust", "bridge/adamw.rust", "bridge/miadam.rust"];
    names.map(|name| std::fs::read(golden.join(format!("{name}.safetensors"))).unwrap()).to_vec()
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
        assert!(run.checkpoint() == checkpoint);
    }
}

#[test]
fn the_cpu_loads_it() {
    loads::<OnCpu>();
}

#[test]
fn the_gpu_loads_it() {
    loads::<OnGpu>();
}
