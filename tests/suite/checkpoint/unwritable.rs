//! What cannot be written, and that nothing of it is left.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use miadam::{Checkpoint, Error, NewFile};

use super::targets::{checkpoints, folder, is_root, link, listed, mode, old};

#[test]
fn what_cannot_be_written_is_named_and_leaves_nothing() {
    let folder = folder("refused");
    fs::write(folder.join("file"), "file").unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    for (name, to) in
        [("full", "/dev/full"), ("one", "other"), ("other", "one"), ("away", "missing/x"), ("in", "folder")]
    {
        link(&folder, name, to);
    }
    let there = listed(&folder);
    let folders = "; name a file in a folder that exists and can be written";
    for (name, reason) in [
        ("full", "; make room"),
        ("folder", "it is a folder"),
        ("in", "it is a folder"),
        ("folder/..", "it is a folder"),
        ("missing/file", folders),
        ("away", folders),
        ("file/file", folders),
        ("one", folders),
        ("", "it is a folder"),
    ] {
        let path = folder.join(name);
        let error = checkpoints()[0].save(&path).unwrap_err();
        assert!(matches!(&error, Error::CheckpointFile { path: named, .. } if *named == path), "{name}: {error}");
        assert!(error.to_string().contains(reason), "{name}: {error}");
        assert_eq!(listed(&folder), there, "{name}");
    }
    assert!(checkpoints()[0].save("").unwrap_err().to_string().contains("no file name"));
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
    assert_eq!(fs::read(folder.join("file")).unwrap(), b"file");

    fs::set_permissions(&folder, Permissions::from_mode(0o500)).unwrap();
    if !is_root(&folder) {
        let error = checkpoints()[0].save(folder.join("file")).unwrap_err();
        assert!(error.to_string().contains(folders), "{error}");
        assert_eq!(listed(&folder), there);
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
}

const FULL: &str = "MIADAM_TEST_FULL";

/// Run by the test below, in a process that may write no more than 16 KiB to a file.
#[test]
#[ignore = "run by a_full_disk_leaves_the_old_file"]
fn save_to_a_full_disk() {
    let Some(path) = std::env::var_os(FULL).map(PathBuf::from) else { return };
    let error = checkpoints()[1].save(&path).unwrap_err();
    fs::write(path.with_file_name("said"), error.to_string()).unwrap();
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = folder("full");
    let path = folder.join("file");
    let [old, new] = checkpoints();
    old.save(&path).unwrap();
    assert!(new.to_bytes().unwrap().len() > 1 << 15);
    // Without the trap, the system ends a process that goes too far.
    let limited = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 32; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "checkpoint::unwritable::save_to_a_full_disk", "--ignored"])
        .env(FULL, &path)
        .output()
        .unwrap();
    let said = fs::read_to_string(folder.join("said")).unwrap_or_else(|_| panic!("{limited:?}"));
    assert!(said.contains("`: ") && said.ends_with("; make room"), "{said}");
    assert!(Checkpoint::open(&path).unwrap() == old);
    assert_eq!(listed(&folder), [path, folder.join("said")]);
}

#[test]
fn a_file_that_is_not_finished_is_gone() {
    let folder = folder("unfinished");
    let path = folder.join("file");
    for text in ["", "new"] {
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        assert_eq!(listed(&folder).len(), 1, "beside the target");
        drop(file);
        assert_eq!(listed(&folder), [] as [PathBuf; 0]);
    }
    let error = NewFile::create(&folder.join("missing/file")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // Contents that nobody else may read are never in a file that others could.
    let (path, _) = old(&folder, 0o600);
    let file = NewFile::create(&path).unwrap();
    assert!(listed(&folder).iter().all(|path| mode(path) == 0o600));
    drop(file);
}
