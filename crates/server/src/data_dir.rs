//! The data directory: for nobody else's eyes, and for one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The lock's name in the directory.
const LOCK: &str = "lock";
/// The admin socket's name in the directory.
const SOCKET: &str = "admin.sock";
/// Longest text that is read from a lock: a process id.
const MAX_PID: u64 = 16;

/// Why the directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("{dir} is in use by process {pid}: stop it, or choose another directory with --data")]
    Taken {
        /// The directory.
        dir: PathBuf,
        /// Who says to hold it.
        pid: String,
    },
    /// Others may read or change what is in it.
    #[error("{dir} is open to others (mode {mode:03o}): chmod 700 {dir}", dir = .0.display(), mode = .1)]
    Open(PathBuf, u32),
    /// It can't be made or used.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// A data directory that this process holds until this is dropped, or the process ends however it does.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes `path`, making it (mode 0700) if it isn't there.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let io = |error| DataDirError::Io(path.to_owned(), error);
        if !path.exists() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path).map_err(io)?;
        }
        if let Some(mode) = open_to_others(path).map_err(io)? {
            return Err(DataDirError::Open(path.to_owned(), mode));
        }
        let mut lock = open_lock(path).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::Taken { dir: path.to_owned(), pid: read_pid(&lock) });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(io)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The process that holds the directory, if one does. Changes nothing.
pub(crate) fn holder(dir: &Path) -> Option<String> {
    let lock = File::open(dir.join(LOCK)).ok()?;
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(read_pid(&lock)),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// What the holder wrote, `?` if that is no process id.
fn read_pid(lock: &File) -> String {
    let mut pid = String::new();
    let _ = lock.take(MAX_PID).read_to_string(&mut pid);
    let known = pid.trim().parse::<u32>().is_ok();
    if known { pid.trim() } else { "?" }.to_owned()
}

fn open_lock(dir: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(LOCK))
}

/// The mode, if group or others have any right in it.
pub(crate) fn open_to_others(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Makes a file or directory its owner's alone.
pub(crate) fn close_to_others(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Where the admin socket of a data directory is.
#[must_use]
pub fn socket_path(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let held = DataDir::take(&path).unwrap();
        assert_eq!(open_to_others(held.path()).unwrap(), None);
        assert_eq!(open_to_others(&path.join(LOCK)).unwrap(), None);
    }

    #[test]
    fn is_held_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let held = DataDir::take(&path).unwrap();
        assert_eq!(holder(&path), Some(std::process::id().to_string()));
        let error = DataDir::take(&path).unwrap_err().to_string();
        let pid = std::process::id().to_string();
        assert!(error.contains(&format!("process {pid}:")), "{error}");
        drop(held);
        assert_eq!(holder(&path), None);
        DataDir::take(&path).unwrap();
    }

    #[test]
    fn one_that_others_can_read_is_refused() {
        let root = tempfile::tempdir().unwrap();
        close_to_others(root.path(), 0o750).unwrap();
        let error = DataDir::take(root.path()).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        close_to_others(&file, 0o600).unwrap();
        assert!(matches!(DataDir::take(&file), Err(DataDirError::Io(..))));
    }
}
