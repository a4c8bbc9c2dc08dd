//! What --out may name.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use miadam_support::adapter::AdapterFlags;
use safetensors::SafeTensors;

use super::super::{Args, Kind, run};
use super::good;

fn replay(folder: &Path, out: &str) -> Result<(), String> {
    let [case, out] = ["case", out].map(|name| folder.join(name));
    let args = Args { case, out, device: Kind::Cpu, adapter: AdapterFlags::default() };
    run(&args).map_err(|error| error.to_string())
}

#[test]
fn links_modes_and_pipes_stay_what_they_are() {
    let folder = std::env::temp_dir().join(format!("miadam-replay-{}-outputs", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let at = |name: &str| folder.join(name);
    fs::write(at("case"), good().bytes()).unwrap();
    fs::write(at("private"), "old").unwrap();
    fs::set_permissions(at("private"), Permissions::from_mode(0o600)).unwrap();
    symlink("private", at("link")).unwrap();
    symlink("new", at("dangling")).unwrap();
    // A name that was once that of the file on its way.
    symlink("case", at("link.partial")).unwrap();
    assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());

    replay(&folder, "link").unwrap();
    replay(&folder, "dangling").unwrap();
    let results = fs::read(at("new")).unwrap();
    assert!(SafeTensors::deserialize(&results).is_ok() && fs::read(at("private")).unwrap() == results);
    assert_eq!(fs::metadata(at("private")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!([at("link"), at("dangling")].map(|path| path.is_symlink()), [true; 2]);
    assert!(fs::read(at("case")).unwrap() == good().bytes());

    let (sender, receiver) = mpsc::channel();
    let fifo = at("fifo");
    thread::spawn(move || sender.send(fs::read(fifo).unwrap()));
    replay(&folder, "fifo").unwrap();
    assert!(receiver.recv_timeout(Duration::from_secs(30)).unwrap() == results);
    assert!(fs::metadata(at("fifo")).unwrap().file_type().is_fifo());

    let before = fs::read_dir(&folder).unwrap().count();
    for out in [".", "missing/out", "case/out"] {
        let error = replay(&folder, out).unwrap_err();
        assert!(error.contains("give --out a file in a directory that exists"), "{error}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), before);
    fs::remove_dir_all(&folder).unwrap();
}
