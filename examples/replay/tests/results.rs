//! What a run writes.

use std::error::Error;
use std::fs;

use miadam_support::adapter::{AdapterError, AdapterFlags};
use safetensors::{Dtype, SafeTensors};

use super::super::{Args, Kind, run};
use super::{File, good, half};

/// All tensors of a file of results.
fn floats(results: &[u8]) -> Vec<u8> {
    SafeTensors::deserialize(results).unwrap().iter().flat_map(|(_, view)| view.data().to_vec()).collect()
}

/// What a run on the CPU writes.
fn replayed(file: &File, name: &str) -> Vec<u8> {
    replayed_on(Kind::Cpu, file, name).unwrap()
}

/// What a run writes, in a folder of this name.
fn replayed_on(device: Kind, file: &File, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("miadam-replay-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let [case, out] = ["case", "out"].map(|name| folder.join(name));
    fs::write(&case, file.bytes()).unwrap();
    let ran = run(&Args { case, out: out.clone(), device, adapter: AdapterFlags::default() });
    let results = ran.map(|()| fs::read(&out).unwrap());
    fs::remove_dir_all(&folder).unwrap();
    results
}

/// Whether there is no adapter, and MIADAM_ALLOW_NO_ADAPTER says that this is all right.
fn is_excused(error: &(dyn Error + 'static)) -> bool {
    let is_missing = error.downcast_ref().is_some_and(AdapterError::is_missing);
    is_missing && std::env::var_os("MIADAM_ALLOW_NO_ADAPTER").is_some()
}

#[test]
fn writes_results_whole_or_not_at_all() {
    let folder = std::env::temp_dir().join(format!("miadam-replay-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let [case, out] = ["case", "out"].map(|name| folder.join(name));
    let args = Args { case: case.clone(), out: out.clone(), device: Kind::Cpu, adapter: AdapterFlags::default() };

    fs::write(&case, good().set("param/empty", Dtype::F32, &[0, 4]).bytes()).unwrap();
    assert!(run(&args).unwrap_err().to_string().contains("`param/empty` is in no group"));
    assert!(!out.exists());

    fs::write(&case, good().bytes()).unwrap();
    run(&args).unwrap();
    let results = fs::read(&out).unwrap();
    let (_, header) = SafeTensors::read_metadata(&results).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["step"], "2");
    let mut shapes: Vec<_> =
        header.tensors().into_iter().map(|(name, info)| (name, info.shape.clone(), info.dtype)).collect();
    shapes.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("first_moment/a.b/c", vec![2, 3]),
        ("first_moment/s", vec![]),
        ("integral/1/s", vec![]),
        ("integral/2/s", vec![]),
        ("max_second_moment/s", vec![]),
        ("param/a.b/c", vec![2, 3]),
        ("param/s", vec![]),
        ("second_moment/a.b/c", vec![2, 3]),
        ("second_moment/s", vec![]),
    ];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_owned(), shape, Dtype::F32)));

    // What only the optimizer refuses.
    let sequence = good().scheduled(r#"{"kind": "sequence", "pieces": [[1, {"kind": "constant"}]]}"#);
    for (file, expected) in [
        (good().meta("lr_per_step", "[1, -1]"), "`lr_per_step`, step 2: group 0"),
        (good().scheduled(r#"{"kind": "cosine", "steps": 0, "end_factor": 0}"#), "group 1: `schedule.steps` is 0"),
        (sequence, "group 1: `schedule.first_step` is 1"),
    ] {
        fs::write(&case, file.bytes()).unwrap();
        let message = run(&args).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected:?} is not in {message:?}");
        assert_eq!(fs::read(&out).unwrap(), results);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "the partial file is gone");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn results_say_what_became_of_the_steps() {
    let info = |file: &File| {
        let results = replayed(file, "info");
        assert_eq!(results, replayed(file, "info"), "the same case gives the same bytes");
        let (_, header) = SafeTensors::read_metadata(&results).unwrap();
        let mut info: Vec<_> = header.metadata().clone().unwrap().into_iter().collect();
        info.sort();
        info.into_iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(info(&good()), "loss_scale 1, skipped 0, step 2");
    // √(1 + 1 + 4 + 9 + 16 + 25 + 36), times the factor.
    let clipped = good().meta("max_grad_norm", "1").meta("grad_factor", "0.5");
    assert_eq!(info(&clipped), "grad_norm 4.7958317, loss_scale 1, skipped 0, step 2");
    let skipped = good().infinite("grad/1/s").meta("skip_non_finite", "true");
    assert_eq!(info(&skipped), "grad_norm 9.591663, loss_scale 1, skipped 1, step 1");
    let scaler = r#"{"init_scale": 1024, "growth_factor": 4, "backoff_factor": 0.5, "growth_interval": 1}"#;
    let scaled = good().infinite("grad/2/a.b/c").meta("scaler", scaler);
    assert_eq!(info(&scaled), "grad_norm inf, loss_scale 2048, skipped 1, step 1");
    let resting = good().without("grad/1/s");
    assert_eq!(info(&resting), r#"loss_scale 1, skipped 0, step 2, steps {"a.b/c":2,"s":1}"#);
}

#[test]
fn options_reach_the_optimizer() {
    let plain = replayed(&good(), "plain");
    let with = |key, value| replayed(&good().meta(key, value), key);
    assert_eq!(with("zero_grads", "true"), plain);
    // Nothing is above its bound.
    assert_eq!(with("clip_value", "6"), plain);
    let plain = floats(&plain);
    for (key, value) in [("max_grad_norm", "1"), ("clip_value", "5.9"), ("grad_factor", "0.5"), ("scaler", "{}")] {
        let changed = floats(&with(key, value));
        assert_eq!(changed.len(), plain.len());
        assert_ne!(changed, plain, "{key}");
    }
    let scheduled = |gamma: &str| {
        let schedule = format!(r#"{{"kind": "exponential", "gamma": {gamma}}}"#);
        floats(&replayed(&good().scheduled(&schedule), "scheduled"))
    };
    assert_ne!(scheduled("1"), scheduled("0.5"));
}

#[test]
fn tensors_are_rounded_to_half_precision() {
    // 2 to 6 have neighbours 2⁻⁷ or 2⁻⁶ away in bf16, so that two steps of 0.001 are lost but to the master copy.
    let results = replayed(&half(r#""dtype": "bf16""#), "bf16");
    let file = SafeTensors::deserialize(&results).unwrap();
    let floats = |entry: &str| -> Vec<f32> {
        file.tensor(entry).unwrap().data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    assert_eq!(floats("param/a.b/c")[1..], [2.0, 3.0, 4.0, 5.0, 6.0]);
    assert!(floats("master/a.b/c").iter().zip(1u8..).all(|(&master, value)| master < f32::from(value)));
    assert!(file.tensor("master/s").is_err());

    let stochastic = |seed: u32| {
        let extra = format!(r#""dtype": "bf16", "stochastic_seed": {seed}"#);
        replayed(&half(&extra), "stochastic")
    };
    assert_eq!(stochastic(1), stochastic(1));
    assert!((2..40).any(|seed| stochastic(seed) != stochastic(1)), "the seed draws");
    for device in [Kind::Cpu, Kind::Gpu] {
        let results = match replayed_on(device, &half(r#""dtype": "f16""#), "f16") {
            Err(error) if is_excused(&*error) => {
                eprintln!("SKIPPED: {error}");
                continue;
            }
            results => results.unwrap(),
        };
        let file = SafeTensors::deserialize(&results).unwrap();
        let params = file.tensor("param/a.b/c").unwrap();
        for (&bytes, value) in params.data().as_chunks().0.iter().zip(1u8..) {
            let found = f32::from_le_bytes(bytes);
            assert_eq!(found, half::f16::from_f32(found).to_f32());
            // Two steps of 0.001, to a neighbour in f16.
            assert!((found - (f32::from(value) - 0.002)).abs() <= 0.0021, "{found} of {value}");
        }
    }
}
