//! Runs in processes of their own, which are interrupted or killed.

#![cfg(unix)]

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use miadam_support::mnist::random::Random;

use super::{Folder, SMALL, parse, run_until, unwrapped};
use crate::interrupt;
use crate::training::run;

const FLAGS: &str = "MLP_MNIST_TEST_FLAGS";

/// Runs one of the two tests below, which are not run otherwise.
fn spawn(test: &str, flags: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("resume_tests::process::{test}"), "--ignored", "--nocapture"])
        .env(FLAGS, flags)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn train() {
    let Ok(flags) = std::env::var(FLAGS) else { return };
    interrupt::listen().unwrap();
    run(&parse(&flags), &mut io::stdout(), &interrupt::is_asked).unwrap();
}

/// Stands for a run whose step takes long.
#[test]
#[ignore = "run by other tests, in a process of its own"]
fn dawdle() {
    if std::env::var_os(FLAGS).is_none() {
        return;
    }
    interrupt::listen().unwrap();
    println!("ready");
    while !interrupt::is_asked() {
        sleep(Duration::from_millis(1));
    }
    println!("asked");
    sleep(Duration::from_secs(60));
}

fn wait_for(text: &str, out: &mut impl BufRead) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "no line with {text:?}");
    }
}

fn interrupt(child: &Child) {
    let kill = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// The same run, never stopped.
fn assert_same(folder: &Folder, flags: &str) {
    run_until(&folder.flags("whole", flags), usize::MAX).unwrap();
    let (expected, found) = (folder.outcome("whole"), folder.outcome("run"));
    assert_eq!(found.1, expected.1);
    assert!(found.0.checkpoint == expected.0.checkpoint);
}

#[test]
fn ctrl_c_saves_and_ends_well() {
    let folder = Folder::new("interrupted");
    let short = format!("--device cpu {SMALL}");
    let long = short.replace("--epochs 3", "--epochs 200 --switch-epoch 2");
    let (mut child, mut out) = spawn("train", &folder.flags("run", &long));
    wait_for("epoch 1: ", &mut out);
    interrupt(&child);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let rest = unwrapped(&rest);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains("stopped and saved ") && rest.contains("run.safetensors; go on with"), "{rest}");
    assert!(!rest.contains("test accuracy: "), "{rest}");

    let lines = std::fs::read_to_string(folder.metrics("run")).unwrap().lines().count();
    let enough = long.replace("--epochs 200", &format!("--epochs {}", lines + 2));
    run_until(&(folder.flags("run", &enough) + " --resume"), usize::MAX).unwrap();
    assert_same(&folder, &enough);
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let (mut child, mut out) = spawn("dawdle", "");
    wait_for("ready", &mut out);
    interrupt(&child);
    wait_for("asked", &mut out);
    let start = Instant::now();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_run_killed_at_any_moment_goes_on() {
    let folder = Folder::new("killed");
    let flags = format!("--device cpu {SMALL}").replace("--epochs 3", "--epochs 12");
    let run_flags = folder.flags("run", &flags);
    let saved = || std::fs::metadata(folder.checkpoint("run")).and_then(|file| file.modified()).ok();
    let mut random = Random::new(0, 4);
    for _ in 0..6 {
        let before = saved();
        let resume = if before.is_some() { " --resume" } else { "" };
        let (mut child, _out) = spawn("train", &format!("{run_flags}{resume}"));
        let start = Instant::now();
        while saved() == before && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing is saved");
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_micros(random.below(30_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    run_until(&format!("{run_flags} --resume"), usize::MAX).unwrap();
    assert_same(&folder, &flags);
}
