//! The command `sharpness`, as a user meets it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::tempdir;

fn sharpness(out: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sharpness")).arg("--out").arg(out).args(flags).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_quick_run_writes_everything_and_repeats_to_the_bit() {
    let folder = tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let run = sharpness(&first, &["--quick", "--threads", "1"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let stdout = text(&run.stdout);
    assert!(stdout.starts_with("This is a smoke run: its figures mean nothing.\n"), "{stdout}");
    assert!(stdout.contains("wrong ones included"), "{stdout}");
    let tables = ["runs.csv", "summary.csv", "ranks.csv", "density_0.csv", "density_40.csv"];
    let pictures = ["flatness.svg", "density_0.svg", "density_40.svg"];
    // Training times differ, and are in the journal alone.
    let read = |out: &Path, name: &str| fs::read_to_string(out.join(name)).unwrap();
    // A head, and a line for each of 9 optimizers, 2 noises and 2 seeds.
    assert_eq!(read(&first, "runs.csv").lines().count(), 1 + 36);

    sharpness(&second, &["--quick", "--threads", "3"]);
    for name in tables.iter().chain(&pictures) {
        assert!(read(&first, name) == read(&second, name), "{name} differs");
    }

    // A run that was stopped goes on from its journal, whose last line may be cut short.
    let journal = read(&first, "journal.jsonl");
    let kept: String = journal.split_inclusive('\n').take(5).collect();
    fs::write(second.join("journal.jsonl"), kept.clone() + "{\"key\":{\"ru").unwrap();
    sharpness(&second, &["--quick", "--threads", "2"]);
    assert!(read(&second, "journal.jsonl").starts_with(&kept));
    for name in tables.iter().chain(&pictures) {
        assert!(read(&first, name) == read(&second, name), "{name} differs");
    }
}

#[test]
fn what_is_wrong_is_one_clear_line() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let broken = folder.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("journal.jsonl"), "no json\n").unwrap();
    let cases: [(&Path, &[&str], &str); 6] = [
        (&file, &["--quick"], "choose a folder to write to"),
        (&broken, &["--quick"], "journal.jsonl: expected"),
        (&folder.path().join("a"), &["--quick", "--data", "x"], "drop it or --data"),
        (&folder.path().join("b"), &["--data", "nowhere"], "--data nowhere: not a folder"),
        (&folder.path().join("c"), &["--subset", "8001"], "--subset 8001: there are 8000 training digits"),
        (&folder.path().join("d"), &["--seeds", "0"], "--seeds 0 is out of range"),
    ];
    for (out, flags, expected) in cases {
        let run = sharpness(out, flags);
        let stderr = text(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{flags:?}: {stderr}");
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{flags:?}: {stderr}");
        assert!(run.stdout.is_empty());
    }
}
