//! The kinds of files that a checkpoint can be saved to.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use miadam::Checkpoint;

use super::{LAYOUTS, begin, steps};
use crate::common::{OnCpu, Run};

/// An empty folder of a test's own.
pub fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("targets").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Checkpoints after no step and after one.
pub fn checkpoints() -> [Checkpoint; 2] {
    [0, 1].map(|count| {
        let mut run: OnCpu = begin(LAYOUTS[0]).unwrap();
        steps(&mut run, 0..count);
        run.checkpoint()
    })
}

/// All that lies in a folder and below, in order.
pub fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(listed(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

pub fn is_root(folder: &Path) -> bool {
    fs::metadata(folder).unwrap().uid() == 0
}

/// What to save to, and the file that is to be written then. Both are made beside other things.
type Target = (&'static str, fn(&Path) -> (PathBuf, PathBuf));

const FILES: [Target; 14] = [
    ("new", |folder| (folder.join("new"), folder.join("new"))),
    ("a long name", |folder| (folder.join("n".repeat(255)), folder.join("n".repeat(255)))),
    ("old", |folder| old(folder, 0o644)),
    ("private", |folder| old(folder, 0o600)),
    ("read-only", |folder| old(folder, 0o444)),
    ("private and read-only", |folder| old(folder, 0o400)),
    ("for a group", |folder| old(folder, 0o664)),
    ("link", |folder| (link(folder, "link", "old"), old(folder, 0o640).1)),
    ("absolute link", |folder| (link(folder, "link", &folder.join("old").to_string_lossy()), old(folder, 0o600).1)),
    ("chain of links", |folder| {
        let (first, _, _) = (link(folder, "1", "2"), link(folder, "2", "3"), link(folder, "3", "old"));
        (first, old(folder, 0o600).1)
    }),
    ("link in a linked folder", |folder| {
        fs::create_dir_all(folder.join("deep/er")).unwrap();
        link(folder, "deep/er/link", "../old");
        let (linked, file) = (link(folder, "linked", "deep/er"), folder.join("deep/old"));
        File::create(&file).unwrap();
        (linked.join("link"), file)
    }),
    ("dangling link", |folder| (link(folder, "link", "new"), folder.join("new"))),
    ("dangling chain", |folder| {
        let (first, _) = (link(folder, "1", "2"), link(folder, "2", "new"));
        (first, folder.join("new"))
    }),
    ("dangling link in a linked folder", |folder| {
        fs::create_dir_all(folder.join("deep/er")).unwrap();
        link(folder, "deep/er/link", "../new");
        (link(folder, "linked", "deep/er").join("link"), folder.join("deep/new"))
    }),
];

pub fn old(folder: &Path, mode: u32) -> (PathBuf, PathBuf) {
    let path = folder.join("old");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (path.clone(), path)
}

pub fn link(folder: &Path, name: &str, to: &str) -> PathBuf {
    symlink(to, folder.join(name)).unwrap();
    folder.join(name)
}

#[test]
fn links_stay_and_modes_are_kept() {
    let folder = folder("files");
    let fresh = folder.join("fresh");
    File::create(&fresh).unwrap();
    let fresh = mode(&fresh);
    let checkpoints = checkpoints();
    for (case, make) in FILES {
        let folder = folder.join(case.replace(' ', "-"));
        fs::create_dir(&folder).unwrap();
        let (path, file) = make(&folder);
        let expected = if file.exists() { mode(&file) } else { fresh };
        let mut there = listed(&folder);
        there.push(file.clone());
        there.sort();
        there.dedup();
        // Where a fixed name might lie.
        for name in ["old.tmp", "link.tmp", "new.tmp"] {
            fs::write(folder.join("precious"), "precious").unwrap();
            there.push(link(&folder, name, "precious"));
        }
        there.push(folder.join("precious"));
        there.sort();
        let links: Vec<_> = there.iter().filter_map(|path| Some((path, fs::read_link(path).ok()?))).collect();
        for checkpoint in &checkpoints {
            checkpoint.save(&path).unwrap();
            assert!(Checkpoint::open(&path).unwrap() == *checkpoint, "{case}");
            assert!(fs::read(&file).unwrap() == checkpoint.to_bytes().unwrap(), "{case}");
            assert_eq!(listed(&folder), there, "{case}");
            assert_eq!(format!("{:o}", mode(&file)), format!("{expected:o}"), "{case}");
            assert!(links.iter().all(|(path, to)| fs::read_link(path).unwrap() == *to), "{case}");
            assert_eq!(fs::read(folder.join("precious")).unwrap(), b"precious", "{case}");
        }
    }
}

#[test]
fn an_owner_is_kept_by_root() {
    let folder = folder("owner");
    if !is_root(&folder) {
        return;
    }
    let (path, _) = old(&folder, 0o640);
    chown(&path, Some(1234), Some(2345)).unwrap();
    checkpoints()[0].save(&path).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (1234, 2345, 0o640));
}

const BY_NOBODY: &str = "MIADAM_TEST_BY_NOBODY";

#[test]
#[ignore = "run by a_group_that_is_not_kept_gains_nothing, by another user"]
fn save_by_nobody() {
    let Some(path) = std::env::var_os(BY_NOBODY) else { return };
    checkpoints()[1].save(path).unwrap();
}

#[test]
fn a_group_that_is_not_kept_gains_nothing() {
    let folder = folder("nobody");
    if !is_root(&folder) {
        return;
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    for (before, after) in [(0o640, 0o600), (0o664, 0o644), (0o604, 0o644), (0o400, 0o400)] {
        let (path, _) = old(&folder, before);
        chown(&path, Some(1234), Some(2345)).unwrap();
        let mut nobody = Command::new(std::env::current_exe().unwrap());
        nobody.args(["--exact", "checkpoint::targets::save_by_nobody", "--ignored"]).env(BY_NOBODY, &path);
        // The folder of the tests may be for root alone.
        let Ok(ran) = nobody.current_dir("/").uid(65534).gid(65534).output() else { return };
        if Checkpoint::open(&path).is_err() {
            assert!(String::from_utf8_lossy(&ran.stdout).contains("Permission denied"), "{ran:?}");
            return;
        }
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid(), format!("{:o}", mode(&path))), (65534, 65534, format!("{after:o}")));
        fs::remove_file(&path).unwrap();
    }
}

/// Whether a command of the shell's succeeds in a folder.
fn sh(folder: &Path, command: &str) -> bool {
    let quiet = format!("{command} 2> /dev/null");
    Command::new("sh").args(["-c", &quiet]).current_dir(folder).status().unwrap().success()
}

#[test]
fn devices_stay_devices() {
    let folder = folder("devices");
    let checkpoint = &checkpoints()[0];
    // Only root makes devices; only root could harm those of the system.
    let mut paths = vec![link(&folder, "link", "/dev/null")];
    paths.extend(sh(&folder, "mknod null c 1 3").then(|| folder.join("null")));
    if !is_root(&folder) {
        paths.push("/dev/null".into());
    }
    let there = listed(&folder);
    for path in paths {
        checkpoint.save(&path).unwrap();
        assert!(fs::metadata(&path).unwrap().file_type().is_char_device(), "{}", path.display());
    }
    assert!(folder.join("link").is_symlink());
    assert_eq!(listed(&folder), there);
}

/// What `call` returns, on another thread. It may wait for this one, but not for ever.
fn meanwhile<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(call()));
    move || receiver.recv_timeout(Duration::from_secs(30)).expect("nothing comes through the pipe")
}

#[test]
fn pipes_are_written_into_and_read_from() {
    let folder = folder("pipes");
    assert!(sh(&folder, "mkfifo fifo"));
    let [checkpoint, _] = checkpoints();
    let fifo = folder.join("fifo");
    for path in [fifo.clone(), link(&folder, "link", "fifo")] {
        let end = fifo.clone();
        let read = meanwhile(|| fs::read(end).unwrap());
        checkpoint.save(&path).unwrap();
        assert!(Checkpoint::from_bytes(&read()).unwrap() == checkpoint);
        let end = path.clone();
        let opened = meanwhile(|| Checkpoint::open(end).unwrap());
        checkpoint.save(&path).unwrap();
        assert!(opened() == checkpoint);
    }
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo() && folder.join("link").is_symlink());
    assert_eq!(listed(&folder).len(), 2);

    // As `/dev/stdout` is one.
    let (mut out, into) = std::io::pipe().unwrap();
    let read = meanwhile(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).unwrap();
        bytes
    });
    checkpoint.save(format!("/dev/fd/{}", into.as_raw_fd())).unwrap();
    drop(into);
    assert!(Checkpoint::from_bytes(&read()).unwrap() == checkpoint);
    // A reader that leaves is an error, and no more.
    let (out, into) = std::io::pipe().unwrap();
    drop(out);
    let error = checkpoint.save(format!("/dev/fd/{}", into.as_raw_fd())).unwrap_err();
    assert!(error.to_string().contains("pipe"), "{error}");
}
