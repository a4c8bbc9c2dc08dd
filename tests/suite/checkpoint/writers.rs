//! Several writers of one file, and what killed ones leave.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use miadam::Checkpoint;

use super::targets::{checkpoints, folder, listed};

#[test]
fn the_last_of_many_writers_wins() {
    let folder = folder("writers");
    let path = folder.join("file");
    let [first, second] = checkpoints();
    first.save(&path).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = [0, 0];
            while !is_over.load(Ordering::Relaxed) {
                seen[Checkpoint::open(&path).unwrap().step() as usize] += 1;
            }
            seen
        });
        let writers = [&first, &second, &first, &second].map(|checkpoint| {
            scope.spawn(|| {
                for turn in 0..60 {
                    checkpoint.save(&path).unwrap_or_else(|error| panic!("turn {turn}: {error}"));
                }
            })
        });
        let written = writers.map(|writer| writer.join());
        is_over.store(true, Ordering::Relaxed);
        written.into_iter().for_each(|written| written.unwrap());
        let seen = reader.join().unwrap();
        assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    });
    assert_eq!(listed(&folder), std::slice::from_ref(&path));
    second.save(&path).unwrap();
    assert!(Checkpoint::open(&path).unwrap() == second);
}

/// A file as a killed writer leaves it, last written so long ago.
fn leave(path: &Path, hours: f64) -> File {
    let file = File::create(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs_f64(3600.0 * hours)).unwrap();
    file
}

#[test]
fn what_killed_writers_have_left_goes_and_nothing_else() {
    let folder = folder("leftovers");
    let names = [".miadam-fresh.tmp", ".miadam-locked.tmp", ".miadam-old", "miadam-old.tmp", "file.tmp"];
    let mut kept: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    leave(&kept[0], 0.9);
    let locked = leave(&kept[1], 2.0);
    locked.lock().unwrap();
    kept[2..].iter().for_each(|path| drop(leave(path, 2.0)));
    // A reader would wait for ever.
    for name in [".miadam-fifo.tmp", ".miadam-folder.tmp"] {
        kept.push(folder.join(name));
    }
    assert!(Command::new("mkfifo").arg(&kept[5]).status().unwrap().success());
    assert!(Command::new("touch").args(["-d", "2 hours ago"]).arg(&kept[5]).status().unwrap().success());
    fs::create_dir(&kept[6]).unwrap();
    let precious = folder.join("precious");
    leave(&precious, 2.0);
    kept.push(folder.join(".miadam-link.tmp"));
    std::os::unix::fs::symlink("precious", &kept[7]).unwrap();
    kept.push(precious);

    leave(&folder.join(".miadam-aB3xYz.tmp"), 1.1);
    leave(&folder.join(".miadam-000000.tmp"), 10_000.0);
    let path = folder.join("file");
    checkpoints()[0].save(&path).unwrap();
    kept.push(path);
    kept.sort();
    assert_eq!(listed(&folder), kept);
    // Once its writer is dead, the locked one goes, too.
    drop(locked);
    checkpoints()[0].save(folder.join("file")).unwrap();
    kept.retain(|path| !path.ends_with(".miadam-locked.tmp"));
    assert_eq!(listed(&folder), kept);
}
