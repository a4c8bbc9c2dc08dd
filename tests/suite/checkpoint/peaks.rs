//! The memory that saving and opening take beside the checkpoint. docs/checkpoint.md has the figures of a large one.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use miadam::{Checkpoint, Hyperparams, Param, ParamGroup, cpu};

/// What the test below asks of a process of its own: `save` or `open`.
const TASK: &str = "MIADAM_TEST_PEAK_OF";
/// How many parameters, if it is not a few.
const PARAMS: &str = "MIADAM_TEST_PARAMS";
const TENSORS: usize = 8;

/// Bytes in a line of /proc/self/status.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|found| found.strip_prefix(line)?.strip_suffix(" kB")).unwrap();
    found.trim_start_matches(':').trim().parse::<u64>().unwrap() << 10
}

/// What a call takes at most, beside what was in use before.
fn peak_of<T>(call: impl FnOnce() -> T) -> (u64, T) {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let result = call();
    (memory("VmHWM").saturating_sub(before), result)
}

fn params() -> usize {
    std::env::var(PARAMS).map_or(4_000_000, |params| params.parse().unwrap())
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("peaks-{}.safetensors", params()))
}

#[test]
#[ignore = "run by saving_and_opening_make_no_second_copy"]
fn save_or_open() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (peak, time) = if task == "save" {
        let len = params() / TENSORS;
        let params = (0..TENSORS).map(|number| Param::new(number.to_string(), len));
        let optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), params)]).unwrap();
        let checkpoint = optimizer.read_checkpoint();
        drop(optimizer);
        let start = Instant::now();
        let (peak, saved) = peak_of(|| checkpoint.save(file()));
        saved.unwrap();
        (peak, start.elapsed())
    } else {
        let start = Instant::now();
        let (peak, opened) = peak_of(|| Checkpoint::open(file()));
        opened.unwrap();
        (peak, start.elapsed())
    };
    println!("\npeak: {peak} bytes in {:.1} s", time.as_secs_f64());
}

fn run(task: &str) -> u64 {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "checkpoint::peaks::save_or_open", "--ignored", "--nocapture"])
        .env(TASK, task)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let line = said.lines().find_map(|line| line.strip_prefix("peak: ")).unwrap_or_else(|| panic!("{child:?}"));
    println!("{task}: {line}, of a file of {} bytes", fs::metadata(file()).unwrap().len());
    line.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn saving_and_opening_make_no_second_copy() {
    let (save, open) = (run("save"), run("open"));
    let file_len = fs::metadata(file()).unwrap().len();
    fs::remove_file(file()).unwrap();
    // Less than a tensor's plane, and what the allocator keeps.
    let little = file_len / TENSORS as u64 / 3 + (1 << 20);
    assert!(save < little, "saving took {save} bytes, not less than {little}");
    assert!(open < file_len + little, "opening took {open} bytes of a file of {file_len}");
}
