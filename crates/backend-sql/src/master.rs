//! The master key: one file beside the database. Every other secret is a row sealed under it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::random;

const LEN: usize = 32;

/// 32 random bytes; gone from memory when dropped, never printed by `Debug`.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; LEN]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// Others than the owner may read the file.
    #[error("{path} has permissions {mode:03o}; it must be 600: chmod 600 {path}")]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file doesn't hold a key.
    #[error("{0} must hold exactly 32 bytes")]
    Length(PathBuf),
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

impl MasterKey {
    /// From 32 bytes that came from a CSPRNG.
    #[must_use]
    pub fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// Reads the key, or draws one and stores it durably: the file 0600, a new folder around it 0700.
    ///
    /// # Errors
    /// [`MasterKeyError`]: the file can't be read or made, isn't a key, or is open to others.
    pub fn load_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        match Self::load(path) {
            Err(MasterKeyError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
                Self::create(path)
            }
            other => other,
        }
    }

    /// Reads the key.
    ///
    /// # Errors
    /// [`MasterKeyError`]: the file can't be read, isn't a key, or is open to others.
    pub fn load(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |error| io(path, error);
        let mut file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o177 != 0 {
            let path = path.to_owned();
            return Err(MasterKeyError::Permissions { path, mode });
        }
        // one byte more than a key, so that a longer file is noticed
        let mut read = Zeroizing::new([0; LEN + 1]);
        let mut len = 0;
        while len < read.len() {
            match file.read(&mut read[len..]).map_err(failed)? {
                0 => break,
                more => len += more,
            }
        }
        if len != LEN {
            return Err(MasterKeyError::Length(path.to_owned()));
        }
        let mut key = Zeroizing::new([0; LEN]);
        key.copy_from_slice(&read[..LEN]);
        Ok(Self(key))
    }

    /// Writes beside the final name first: a crash leaves no half a key under it. Linking instead of
    /// renaming never replaces a key that somebody else just made.
    fn create(path: &Path) -> Result<Self, MasterKeyError> {
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| io(folder, error))?;
        let key = Self::from_bytes(random::draw());
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(&new, error)),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(|error| io(&new, error))?;
        file.write_all(key.bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::hard_link(&new, path))
            .and_then(|()| fs::remove_file(&new))
            .map_err(|error| io(path, error))?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| io(folder, error))?;
        Ok(key)
    }
}

fn io(path: &Path, error: std::io::Error) -> MasterKeyError {
    let path = path.to_owned();
    MasterKeyError::Io { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/master.key");
        let key = MasterKey::load_or_create(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let again = MasterKey::load_or_create(&path).unwrap();
        assert_eq!(key.bytes(), again.bytes());
        assert_eq!(format!("{key:?}"), "MasterKey(redacted)");
    }

    #[test]
    fn a_loose_or_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        MasterKey::load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o700] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = MasterKey::load_or_create(&path).unwrap_err();
            assert!(matches!(refused, MasterKeyError::Permissions { .. }), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for len in [0, 31, 33] {
            fs::write(&path, vec![7; len]).unwrap();
            let refused = MasterKey::load_or_create(&path).unwrap_err();
            assert!(matches!(refused, MasterKeyError::Length(_)), "{len}");
        }
    }
}
