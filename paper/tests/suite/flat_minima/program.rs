//! The command itself.

use std::fs;
use std::process::{Command, Output};

fn flat_minima(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flat_minima")).args(flags).output().unwrap()
}

#[test]
fn a_quick_run_writes_everything_and_repeats_to_the_bit() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for folder in &folders {
        let output = flat_minima(&["--quick", "--device", "cpu", "--out", folder.path().to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("a quick run"));
    }
    let names = |folder: &tempfile::TempDir| {
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let found = names(&folders[0]);
    assert_eq!(found, names(&folders[1]));
    for name in
        ["table.csv", "escape.svg", "distance.svg", "regret.csv", "ends_waves_lr_0.1.svg", "ways_wells_lr_0.1.csv"]
    {
        assert!(found.iter().any(|file| file == name), "{name} is missing");
    }
    for name in &found {
        let [first, second] = folders.each_ref().map(|folder| fs::read(folder.path().join(name)).unwrap());
        assert!(!first.is_empty() && first == second, "{name:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let output = flat_minima(&["--quick", "--device", "cpu", "--out", file.join("below").to_str().unwrap()]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        message.starts_with("error: --out ") && message.contains("choose a folder that can be written"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_wrong_flag_is_one_line() {
    for flags in [&["--device", "tpu"][..], &["--steps", "3"], &["--out"]] {
        let output = flat_minima(flags);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), message.lines().count()), (Some(1), 1), "{message}");
    }
}
