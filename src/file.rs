//! Files that are whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// A file on its way, the one writer of checkpoints and results. What is written stands at its path once
/// [`finish`](Self::finish) returns, all of it and durably. Until then, after an error, and if the process is killed, there is
/// what was there before.
///
/// The contents are written to a file of a unique name in the same folder, which then takes the name of the target.
/// - Links are followed, dangling ones too: a link stays a link.
/// - A file that is replaced keeps its mode, and its owner and group where the process may set them. A new one has the mode
///   that the umask says. A hard link to the old file keeps the old contents.
/// - What is no regular file, such as `/dev/stdout` or a FIFO, cannot be replaced, and is written straight into.
/// - An error leaves nothing behind. What a killed process leaves, a writer in the same folder removes an hour later, on Unix.
#[derive(Debug)]
pub struct NewFile(Kind);

#[derive(Debug)]
enum Kind {
    Beside { temporary: NamedTempFile, target: PathBuf },
    Straight(File),
}

const PREFIX: &str = ".miadam-";
const SUFFIX: &str = ".tmp";

impl NewFile {
    /// Finds out here, before the work, what can be found out.
    ///
    /// # Errors
    /// If nothing can be written at the path.
    pub fn create(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder, not a file")),
            Ok(found) if found.is_file() => Self::beside(fs::canonicalize(path)?, true),
            Ok(_) => Ok(Self(Kind::Straight(OpenOptions::new().write(true).open(path)?))),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::beside(end_of_links(path)?, false),
            Err(error) => Err(error),
        }
    }

    fn beside(target: PathBuf, is_old: bool) -> io::Result<Self> {
        if target.file_name().is_none() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it has no file name"));
        }
        let folder = folder(&target);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, if is_old { 0o600 } else { 0o666 });
        #[cfg(not(unix))]
        let _ = is_old;
        let temporary = Builder::new().prefix(PREFIX).suffix(SUFFIX).make_in(folder, |path| options.open(path))?;
        #[cfg(unix)]
        leftovers::remove(folder, temporary.as_file());
        Ok(Self(Kind::Beside { temporary, target }))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// If it cannot be made durable, or its name cannot be taken.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Kind::Straight(file) => match file.sync_all() {
                // A pipe or a terminal has nothing to make durable.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
                synced => synced,
            },
            Kind::Beside { temporary, target } => {
                #[cfg(unix)]
                if let Ok(old) = fs::metadata(&target) {
                    keep_access(temporary.as_file(), &old)?;
                }
                temporary.as_file().sync_all()?;
                temporary.persist(&target).map_err(|error| error.error)?;
                // Makes the name durable. Nothing may fail any more, and a folder that cannot do that has done all it can.
                #[cfg(unix)]
                let _ = File::open(folder(&target)).and_then(|folder| folder.sync_all());
                Ok(())
            }
        }
    }

    fn file(&self) -> &File {
        match &self.0 {
            Kind::Beside { temporary, .. } => temporary.as_file(),
            Kind::Straight(file) => file,
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where the links of a path end that leads to no file.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut end = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        let Ok(next) = fs::read_link(&end) else { return Ok(end) };
        end = folder(&end).join(next);
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "it is a link to a link without end"))
}

/// Gives a new file the mode and the owner of the old one.
#[cfg(unix)]
fn keep_access(file: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    let new = file.metadata()?;
    let mut mode = old.mode() & 0o777;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let both = fchown(file, Some(old.uid()), Some(old.gid()));
        if both.or_else(|_| fchown(file, None, Some(old.gid()))).is_err() {
            // Another group may do what everybody may, not what the old file's group could.
            mode = mode & 0o707 | (mode & 0o007) << 3;
        }
    }
    if new.mode() & 0o777 == mode { Ok(()) } else { file.set_permissions(fs::Permissions::from_mode(mode)) }
}

/// What killed processes have left.
#[cfg(unix)]
mod leftovers {
    use std::fs::{self, DirEntry, File, Metadata, OpenOptions};
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::time::Duration;

    use super::{PREFIX, SUFFIX};

    /// A file system of many hosts may not tell one of another's locks, but it does of their writes.
    const AGE: Duration = Duration::from_secs(3600);

    /// Locks a new file for as long as it is open, and removes those in its folder that nobody has locked any more. One that
    /// cannot be removed does no harm.
    pub fn remove(folder: &Path, own: &File) {
        // Where there are no locks, nothing is removed.
        if own.try_lock().is_err() {
            return;
        }
        let (Ok(entries), Ok(own)) = (fs::read_dir(folder), own.metadata()) else { return };
        for path in entries.flatten().filter(|entry| is_leftover(entry, &own)).map(|entry| entry.path()) {
            // Some network file systems lock only what can be written.
            let opened = OpenOptions::new().write(true).open(&path).or_else(|_| File::open(&path));
            if let Ok(file) = opened
                && file.try_lock().is_ok()
            {
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Whether a file is of this kind, and as old as a leftover.
    fn is_leftover(entry: &DirEntry, own: &Metadata) -> bool {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        name.starts_with(PREFIX.as_bytes())
            && name.ends_with(SUFFIX.as_bytes())
            && entry.metadata().is_ok_and(|found| {
                let age = own.modified().ok().zip(found.modified().ok());
                let age = age.and_then(|(own, found)| own.duration_since(found).ok());
                // A FIFO would never open, and others' files are others' business.
                found.is_file() && found.uid() == own.uid() && age.is_some_and(|age| age > AGE)
            })
    }
}
