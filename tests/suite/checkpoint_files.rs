//! Checkpoints that do not fit, files that do harm, and processes that are killed while they save.

use std::path::{Path, PathBuf};
use std::time::Duration;

use miadam::{Checkpoint, Error, Hyperparams, Param, ParamGroup, Plane, cpu};

use crate::checkpoint::{LAYOUTS, begin, steps};
use crate::common::{OnCpu, OnGpu, Random, Run, lenient};

/// Optimizers that differ from the saved one, and what an error says.
fn misfits() -> Vec<(&'static str, Vec<ParamGroup>, &'static str, &'static str)> {
    let base = Hyperparams::default;
    let group = |hyperparams, names: &[(&str, usize)]| {
        ParamGroup::new(hyperparams, names.iter().map(|&(name, len)| Param::new(name, len)))
    };
    vec![
        ("missing", vec![group(base(), &[("a", 4), ("b", 5), ("c", 6)])], "c", "no such parameter"),
        ("extra", vec![group(base(), &[("a", 4)])], "b", "no such parameter"),
        ("renamed", vec![group(base(), &[("a", 4), ("B", 5)])], "B", "no such parameter"),
        ("another length", vec![group(base(), &[("a", 4), ("b", 6)])], "b", "5 elements"),
        ("other groups", vec![group(base(), &[("a", 4)]), group(base(), &[("b", 5)])], "a", "group"),
    ]
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let hyperparams = Hyperparams { lr: 0.02, ..Hyperparams::default() };
    let group = ParamGroup::new(hyperparams, [Param::new("a", 4), Param::new("b", 5)]);
    let mut saved = cpu::MiAdam::new([group]).unwrap();
    let (mut params, mut grads) = ([vec![0.0; 4], vec![0.0; 5]], [vec![1.0; 4], vec![2.0; 5]]);
    let tensors = ["a", "b"].into_iter().zip(params.iter_mut().zip(&mut grads));
    saved.step(tensors.map(|(name, (param, grad))| cpu::Binding::new(name, param, grad))).unwrap();
    let checkpoint = saved.read_checkpoint();
    for (case, groups, entry, text) in misfits() {
        let mut optimizer = cpu::MiAdam::new(groups).unwrap();
        let before = optimizer.clone();
        let error = optimizer.load(&checkpoint).unwrap_err();
        assert!(matches!(&error, Error::CheckpointEntry { entry: found, .. } if found == entry), "{case}: {error}");
        assert!(error.to_string().contains(text), "{case}: {error}");
        assert_eq!(format!("{optimizer:?}"), format!("{before:?}"), "{case}");

        let skipped = optimizer.load_with(&checkpoint, &lenient()).unwrap();
        assert!(
            skipped.iter().any(|skipped| skipped.entry == entry && skipped.reason.contains(text)),
            "{case}: {skipped:?}"
        );
        assert_eq!(optimizer.read_report().step, 1, "{case}");
        let first = |states: &[miadam::ParamState]| states[0].plane(Plane::FirstMoment).unwrap().to_vec();
        assert_eq!(first(&optimizer.read_state().params), first(checkpoint.states()), "{case}");
    }
    let mut same =
        cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("b", 5), Param::new("a", 4)])]).unwrap();
    assert_eq!(same.load_with(&checkpoint, &lenient()), Ok(vec![]));
    assert_eq!(same.hyperparams().next().unwrap().lr, 0.02, "hyperparameters are the checkpoint's");
}

/// The bytes of a small checkpoint, with its header as text.
fn small() -> (Vec<u8>, String) {
    let mut run: OnCpu = begin(LAYOUTS[0]).unwrap();
    steps(&mut run, 0..1);
    let bytes = run.checkpoint().to_bytes().unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + len].to_vec()).unwrap();
    (bytes, header)
}

/// Where the clocks begin in a header.
const CLOCKS: &str = r#"\"clocks\":[{\"params\":["#;

#[test]
fn hostile_files_are_errors() {
    let (bytes, header) = small();
    let data = &bytes[8 + header.len()..];
    let with = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    assert!(Checkpoint::from_bytes(&with(&header)).is_ok());
    let duplicate = header.replacen('{', r#"{"first_moment/a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"#, 1);
    for (case, from, to, text) in [
        ("version", r#"\"version\":2"#, r#"\"version\":3"#, "version 3"),
        ("no version", r#"\"version\":2,"#, "", "version"),
        ("a step that is no number", r#"\"step\":1"#, r#"\"step\":NaN"#, "miadam"),
        ("a negative step", r#"\"step\":1"#, r#"\"step\":-1"#, "miadam"),
        ("a step given twice", r#"\"step\":1"#, r#"\"step\":1,\"step\":2"#, "duplicate field"),
        ("an unknown field", r#"\"step\":1"#, r#"\"step\":1,\"stop\":2"#, "unknown field"),
        ("a parameter that nobody counts", r#"\"nothing\"],\"counts\""#, r#"\"e\"],\"counts\""#, "`e`"),
        ("a parameter counted twice", CLOCKS, r#"\"clocks\":[{\"params\":[\"a\","#, "each parameter once"),
        ("a stranger counted", CLOCKS, r#"\"clocks\":[{\"params\":[\"z\","#, "`z`"),
        ("a clock without counts", r#"\"counts\":"#, r#"\"numbers\":"#, "miadam"),
        ("a count that is no number", r#"{\"step\":1,\"averaged\":1}"#, r#"{\"step\":1.5}"#, "miadam"),
        ("a count beyond all", r#"{\"step\":1,\"averaged\":1}"#, r#"{\"step\":4294967296}"#, "miadam"),
        ("an unknown count", r#"{\"step\":1,\"averaged\":1}"#, r#"{\"step\":1,\"stop\":2}"#, "unknown field"),
        ("a frozen stranger", CLOCKS, r#"\"frozen\":[\"z\"],\"clocks\":[{\"params\":["#, "`z`: it is frozen"),
        ("frozen twice", CLOCKS, r#"\"frozen\":[\"a\",\"a\"],\"clocks\":[{\"params\":["#, "named twice"),
        ("clocks in version 1", r#"\"version\":2"#, r#"\"version\":1"#, "version 1 has neither"),
        ("no clocks", r#",\"clocks\":"#, r#",\"user_data\":{},\"clocks\":[],\"frozen\":"#, "miadam"),
        ("a gain too few", r#"\"gains\":[{"#, r#"\"gains\":[{\"high\":0,\"low\":0,\"exponent\":0},{"#, "3 gains"),
        ("a gain that is no number", r#"\"gains\":[{\"high\":"#, r#"\"gains\":[{\"high\":0,\"exponent\":"#, "miadam"),
        ("kappa", r#"\"kappa\":0.5"#, r#"\"kappa\":1.5"#, "kappa"),
        ("loss scale", r#"\"loss_scale\":8.0"#, r#"\"loss_scale\":0.0"#, "loss_scale"),
        ("a name twice", r#"[\"a\",\"b\"]"#, r#"[\"a\",\"a\"]"#, "`a`"),
        ("another order", r#"\"order\":2"#, r#"\"order\":3"#, "integral/3/a"),
        ("an order beyond all", r#"\"order\":2"#, r#"\"order\":4000000000"#, "at most 1000"),
        ("a lower order", r#"\"order\":2"#, r#"\"order\":1"#, "integral/2/a"),
        ("a missing tensor", r#""second_moment/a""#, r#""second_moment/z""#, "second_moment/a"),
        ("another name", r#"\"a\",\"b\""#, r#"\"a\",\"z\""#, "first_moment/z"),
        ("a shape", r#""shape":[5000]"#, r#""shape":[2500,2]"#, "shape"),
        ("a type", r#"{"dtype":"F32","shape":[37]"#, r#"{"dtype":"I32","shape":[37]"#, "I32"),
        ("metadata", r#"{"miadam":"#, r#"{"madam":"#, "miadam"),
    ] {
        assert!(header.contains(from), "{case}: {header}");
        let error = Checkpoint::from_bytes(&with(&header.replace(from, to))).unwrap_err();
        assert!(error.to_string().contains(text), "{case}: {error}");
    }
    let error = Checkpoint::from_bytes(&with(&duplicate)).unwrap_err();
    assert!(error.to_string().contains("`first_moment/a` stands twice"), "{error}");
    for len in [0, 7, 8, 100, 8 + header.len(), bytes.len() - 1] {
        assert!(Checkpoint::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    let lie = |len: u64| [&len.to_le_bytes(), &bytes[8..]].concat();
    for len in [u64::MAX, 1 << 40, bytes.len() as u64, 0] {
        assert!(Checkpoint::from_bytes(&lie(len)).is_err(), "a header of {len} bytes");
    }
}

/// Steps and skipped steps are counted as far as 32 bits go, and no further.
fn full_counts_stay_full<R: Run>() {
    let Some(mut run) = begin::<R>(LAYOUTS[0]) else { return };
    let (bytes, header) = small();
    let full = ["step", "skipped", "recorded", "good_steps"].iter().fold(header.clone(), |header, field| {
        let (before, after) = header.split_once(&format!(r#"\"{field}\":"#)).unwrap();
        let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
        format!(r#"{before}\"{field}\":4294967295{after}"#)
    });
    let file = [&(full.len() as u64).to_le_bytes(), full.as_bytes(), &bytes[8 + header.len()..]].concat();
    run.load(&Checkpoint::from_bytes(&file).unwrap());
    // The second of them is skipped.
    steps(&mut run, 1..3);
    let after = run.checkpoint().to_bytes().unwrap();
    let counts = r#"\"step\":4294967295,\"skipped\":4294967295,\"recorded\":4294967295"#;
    assert!(String::from_utf8_lossy(&after).contains(counts));
}

#[test]
fn full_counts_stay_full_on_the_cpu() {
    full_counts_stay_full::<OnCpu>();
}

#[test]
fn full_counts_stay_full_on_the_gpu() {
    full_counts_stay_full::<OnGpu>();
}

#[test]
fn damaged_files_do_no_harm() {
    let (bytes, header) = small();
    let mut random = Random(1);
    let mut refused = 0;
    for _ in 0..3000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(3) {
            // Most of what can be damaged is said in the header.
            let at = random.below(8 + header.len());
            damaged[at] = random.bits() as u8;
        }
        // An error or a checkpoint, and then one that can be written.
        match Checkpoint::from_bytes(&damaged) {
            Ok(checkpoint) => drop(checkpoint.to_bytes().unwrap()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 2000, "{refused} of 3000");
}

/// A file in a folder of the test's own.
fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("checkpoints");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let checkpoint = begin::<OnCpu>(LAYOUTS[0]).unwrap().checkpoint();
    let missing = file("missing").join("checkpoint.safetensors");
    for error in [checkpoint.save(&missing).unwrap_err(), Checkpoint::open(&missing).unwrap_err()] {
        assert!(matches!(&error, Error::CheckpointFile { path, .. } if *path == missing), "{error}");
        assert!(error.to_string().contains("checkpoint.safetensors"), "{error}");
    }
    let path = file("saved.safetensors");
    checkpoint.save(&path).unwrap();
    assert!(Checkpoint::open(&path).unwrap() == checkpoint);
}

/// The file that [`save_for_ever`] writes, where it is to run.
const SAVE_TO: &str = "MIADAM_TEST_SAVE_TO";

/// Saves without end, steps 1, 2, 3, …; run by the test below in a process of its own, which it kills.
#[test]
#[ignore = "run by a_process_killed_at_any_moment_leaves_a_whole_checkpoint; never ends"]
fn save_for_ever() {
    let Some(path) = std::env::var_os(SAVE_TO).map(PathBuf::from) else { return };
    let mut optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("w", KILLED)])]).unwrap();
    if let Ok(saved) = Checkpoint::open(&path) {
        optimizer.load(&saved).unwrap();
    }
    let (mut w, mut grad) = (vec![0.0; KILLED], vec![1.0; KILLED]);
    loop {
        optimizer.step([cpu::Binding::new("w", &mut w, &mut grad)]).unwrap();
        optimizer.read_checkpoint().save(&path).unwrap();
    }
}

/// Elements of what is saved in vain: a few megabytes, so that most kills come amid a file.
const KILLED: usize = 300_000;

#[test]
fn a_process_killed_at_any_moment_leaves_a_whole_checkpoint() {
    let path = file("killed").join("w.safetensors");
    std::fs::create_dir_all(file("killed")).unwrap();
    let _ = std::fs::remove_file(&path);
    let mut random = Random(2);
    leftovers().for_each(drop);
    let (mut last, mut amid) = (0, 0);
    for kill in 0..100 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "checkpoint_files::save_for_ever", "--ignored", "--nocapture"])
            .env(SAVE_TO, &path)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_for_a_save(&path, last);
        std::thread::sleep(Duration::from_micros(random.below(30_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let left = leftovers().count();
        assert!(left <= 1, "kill {kill}: {left} files left");
        amid += left;
        let saved = Checkpoint::open(&path).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        assert!(saved.step() > last, "kill {kill}: a later save than {last}");
        last = saved.step();
        // Whole: the moment that many steps make, in every element.
        let first_moment = saved.states()[0].plane(Plane::FirstMoment).unwrap();
        assert!(first_moment.len() == KILLED && first_moment.iter().all(|&m| m == first_moment[0]), "kill {kill}");
    }
    assert!(amid > 10, "only {amid} of 100 kills came amid a file");
}

/// The files that killed writers have left, which go.
fn leftovers() -> impl Iterator<Item = ()> {
    let entries = std::fs::read_dir(file("killed")).unwrap();
    let paths =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "tmp"));
    paths.map(|path| std::fs::remove_file(path).unwrap())
}

/// Until the process has saved a step past `last`.
fn wait_for_a_save(path: &Path, last: u32) {
    let start = std::time::Instant::now();
    while !Checkpoint::open(path).is_ok_and(|saved| saved.step() > last) {
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint appears");
        std::thread::sleep(Duration::from_millis(1));
    }
}
