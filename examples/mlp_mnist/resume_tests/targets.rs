//! What --checkpoint may name.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{Folder, SMALL, run_until};

#[test]
fn a_link_stays_and_a_private_file_stays_private() {
    let folder = Folder::new("targets");
    let (link, file) = (folder.checkpoint("run"), folder.checkpoint("private"));
    // An empty file is as good as none, but for who may read it.
    File::create(&file).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    symlink("private.safetensors", &link).unwrap();
    // A name that was once that of the file on its way.
    fs::write(folder.0.join("precious"), "precious").unwrap();
    symlink("precious", folder.0.join("run.safetensors.tmp")).unwrap();
    let flags = format!("--device cpu {SMALL} --checkpoint {}", link.display());
    for flags in [flags.clone(), flags + " --resume"] {
        run_until(&flags, 3).unwrap();
        assert!(link.is_symlink() && fs::metadata(&file).unwrap().len() > 0);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(folder.0.join("precious")).unwrap(), b"precious");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 4);
    }
}
