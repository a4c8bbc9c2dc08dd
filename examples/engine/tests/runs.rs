//! Whole runs: what they say, and what they leave in their files.

use std::ffi::OsString;
use std::fs;
use std::iter;
use std::path::PathBuf;

use miadam::{Checkpoint, Hyperparams, Param, ParamGroup, cpu};
use miadam_support::adapter;
use miadam_support::command_line::parse_over;

use crate::device::Result;

/// A folder, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("engine-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// What a run says. `FILE` among the flags is a file in the folder.
    fn run(&self, flags: &str) -> Result<String> {
        let usual = ["--batch-size=2", "--sample=0"].map(OsString::from);
        let flags = flags.split(' ').map(|flag| flag.replace("FILE", &self.0.join("FILE").to_string_lossy()));
        let words: Vec<_> = iter::once("engine".to_owned()).chain(flags).map(OsString::from).collect();
        let mut out = Vec::new();
        crate::run(&parse_over(usual.to_vec(), &words)?, &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }

    fn refused(&self, flags: &str) -> String {
        let error = self.run(flags).unwrap_err().to_string();
        error.replace(&*self.0.join("FILE").to_string_lossy(), "FILE")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn devices() -> Vec<&'static str> {
    if adapter::for_test().is_some() { vec!["cpu", "gpu"] } else { vec!["cpu"] }
}

/// The number after these words.
fn number(said: &str, before: &str) -> f64 {
    let after = said.split_once(before).unwrap_or_else(|| panic!("no {before} in {said}")).1;
    after.split([' ', ':', '\n']).next().unwrap().parse().unwrap()
}

#[test]
fn a_resumed_run_has_the_bits_of_one_that_was_never_stopped() {
    let folder = Folder::new("resumed");
    for device in devices() {
        // Frozen before and after the stop. An odd number of steps before it, so that the frames have changed places.
        for freeze in [2, 5, 7] {
            let flags = format!("--device {device} --every 3 --freeze-after {freeze}");
            folder.run(&format!("{flags} --steps 8 --checkpoint FILE-{device}-{freeze}")).unwrap();
            let halves = format!("--checkpoint FILE-{device}-{freeze}-halves");
            folder.run(&format!("{flags} {halves} --steps 5")).unwrap();
            // The file remembers the rest of the flags.
            folder.run(&format!("--device {device} {halves} --steps 8 --resume")).unwrap();
            let [whole, halves] = ["", "-halves"].map(|end| folder.file(&format!("FILE-{device}-{freeze}{end}")));
            assert!(whole == halves, "{device}, frozen after {freeze}");
        }
    }
}

#[test]
fn a_lost_device_makes_no_difference() {
    if adapter::for_test().is_none() {
        return;
    }
    let folder = Folder::new("lost");
    let flags = "--device gpu --every 3 --steps 8 --freeze-after 4";
    folder.run(&format!("{flags} --checkpoint FILE")).unwrap();
    for (lost_after, again_from) in [(0, 0), (2, 0), (3, 3), (7, 6)] {
        let name = format!("FILE-{lost_after}");
        let said = folder.run(&format!("{flags} --checkpoint {name} --lose-device {lost_after}")).unwrap();
        assert!(said.contains(&format!("the device is lost; going on from step {again_from} on a new one")), "{said}");
        assert!(folder.file(&name) == folder.file("FILE"), "lost after {lost_after}");
    }
}

#[test]
fn a_run_goes_on_on_the_other_device() {
    let devices = devices();
    let folder = Folder::new("other");
    for (&from, &to) in devices.iter().zip(devices.iter().rev()) {
        folder.run(&format!("--device {from} --steps 3 --checkpoint FILE-{from}")).unwrap();
        let said = folder.run(&format!("--device {to} --steps 5 --resume --checkpoint FILE-{from}")).unwrap();
        assert_eq!(number(&said, "step "), 5.0);
    }
}

#[test]
fn both_devices_learn_the_same() {
    let folder = Folder::new("learns");
    let losses = devices().into_iter().map(|device| {
        let said = folder.run(&format!("--device {device} --steps 40 --batch-size 4 --every 40")).unwrap();
        let (loss, entropy) = (number(&said, "held-out loss: "), number(&said, "by frequencies alone: "));
        // Adam turns gradients of almost 0 into steps of either sign, so that trajectories part slowly.
        assert!(loss < entropy - 0.2, "{said}");
        loss
    });
    let losses: Vec<_> = losses.collect();
    assert!((losses[0] - losses[losses.len() - 1]).abs() < 0.01, "{losses:?}");
}

#[test]
fn a_sample_is_as_long_as_it_is_asked_for() {
    let said = Folder::new("sample").run("--device cpu --steps 1 --sample 30").unwrap();
    let (_, sample) = said.split_once("a sample:\n").unwrap();
    // Its lines are wrapped and end with one more break.
    assert!((30..=40).contains(&sample.chars().count()), "{sample:?}");
}

#[test]
fn wrong_runs_are_refused() {
    let folder = Folder::new("refused");
    let said = folder.refused("--device cpu --lose-device 3");
    assert_eq!(said, "--lose-device needs a GPU, and this run is on the CPU; drop the flag, or give --device gpu");
    assert!(folder.refused("--device cpu --adapter x").ends_with("drop one of the two"));
    assert!(folder.refused("--device cpu --resume --checkpoint FILE").contains("FILE"));
    folder.run("--device cpu --steps 1 --checkpoint FILE").unwrap();
    let said = folder.refused("--device cpu --steps 1 --checkpoint FILE");
    assert_eq!(said, "--checkpoint FILE: it exists; add --resume to go on from it, or name a new file");
    let said = folder.refused("--device cpu --steps 1 --checkpoint FILE --resume");
    assert_eq!(said, "--steps 1: the saved run has taken 1; choose more");

    let optimizer = cpu::MiAdam::new([ParamGroup::new(Hyperparams::default(), [Param::new("w", 2)])]).unwrap();
    let other: Checkpoint = optimizer.read_checkpoint();
    other.save(folder.0.join("FILE")).unwrap();
    let said = folder.refused("--device cpu --checkpoint FILE --resume");
    assert_eq!(said, "--checkpoint FILE: it holds no run; name a file that a run of engine has saved");
}
