//! The accounts of a device in one sealed file.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use authenticator::Account;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::save::{Save, SaveError};

const FILE: &str = "accounts.sealed";
const LOCK: &str = "lock";
const MAGIC: &[u8; 20] = b"countersign accounts";
const FORMAT: u8 = 1;
/// OWASP's choice for Argon2id: 19 MiB, two passes, one lane.
const COST: Cost = Cost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
/// Bounds on what a file may ask for, so that a forged one can't eat the machine.
const MAX_COST: Cost = Cost { memory_kib: 1024 * 1024, passes: 16, lanes: 4 };
const SALT_LEN: usize = 16;
const HEADER_LEN: usize = MAGIC.len() + 1 + 12 + SALT_LEN;
/// Ample for one account in JSON.
const ROOM: usize = 16 * 1024;
/// The largest file that is read: thousands of accounts.
const MAX_FILE: u64 = 16 * 1024 * 1024;

#[derive(Clone, Copy)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// What the key file is sealed with. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// `None` if it is empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.to_owned())))
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// Why the accounts can't be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The folder has no accounts.
    #[error("no accounts in {0}: enrol first")]
    Missing(String),
    /// The passphrase isn't the one that the file was sealed with, or the file was changed.
    #[error("wrong passphrase for {0}, or the file was changed")]
    Passphrase(String),
    /// The file isn't one of ours.
    #[error("{0} is not a file of accounts, or of a later version")]
    Format(String),
    /// No such account.
    #[error("no account {0}")]
    NoAccount(String),
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: String,
        /// What it said.
        source: io::Error,
    },
}

#[derive(Default, Serialize, Deserialize)]
struct Content {
    accounts: Vec<Account>,
}

/// The sealed file of accounts in a folder, opened with its passphrase. Several processes may share it: every
/// change reads the file anew under a lock. Cheap to clone.
#[derive(Clone)]
pub struct KeyFile(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    header: [u8; HEADER_LEN],
    key: LessSafeKey,
}

impl KeyFile {
    /// Opens the file in `folder`.
    ///
    /// # Errors
    /// [`KeyFileError`]; a wrong passphrase is told here, not later.
    pub fn open(folder: &Path, passphrase: &Passphrase) -> Result<Self, KeyFileError> {
        let path = folder.join(FILE);
        let sealed = read(&path)?.ok_or(KeyFileError::Missing(folder.display().to_string()))?;
        let (header, _) = split(&sealed, &path)?;
        let file = Self::with_header(folder, *header, passphrase)?;
        file.accounts()?;
        Ok(file)
    }

    /// Opens the file in `folder`, or makes both.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn open_or_create(folder: &Path, passphrase: &Passphrase) -> Result<Self, KeyFileError> {
        match Self::open(folder, passphrase) {
            Err(KeyFileError::Missing(_)) => {}
            opened => return opened,
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| failed(folder, source))?;
        let file = Self::with_header(folder, fresh_header(), passphrase)?;
        let lock = file.lock()?;
        if file.path().exists() {
            drop(lock);
            return Self::open(folder, passphrase); // another process was faster
        }
        file.write(&Content::default())?;
        Ok(file)
    }

    fn with_header(
        folder: &Path,
        header: [u8; HEADER_LEN],
        passphrase: &Passphrase,
    ) -> Result<Self, KeyFileError> {
        let format = || KeyFileError::Format(folder.join(FILE).display().to_string());
        let (cost, salt) = read_header(&header).ok_or_else(format)?;
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(|_| format())?);
        let mut key = Zeroizing::new([0; 32]);
        argon
            .hash_password_into(passphrase.0.as_bytes(), salt, key.as_mut_slice())
            .map_err(|_| format())?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| format())?;
        let folder = folder.to_owned();
        Ok(Self(Arc::new(Inner { folder, header, key: LessSafeKey::new(key) })))
    }

    fn path(&self) -> PathBuf {
        self.0.folder.join(FILE)
    }

    /// All accounts, in the order of their enrolment.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn accounts(&self) -> Result<Vec<Account>, KeyFileError> {
        self.read().map(|content| content.accounts)
    }

    /// Keeps a new account, under a name that no other has: a number is added where needed.
    ///
    /// # Errors
    /// [`KeyFileError`]; nothing was kept then.
    pub fn add(&self, mut account: Account) -> Result<Account, KeyFileError> {
        let _lock = self.lock()?;
        let mut content = self.read()?;
        let taken = |name: &str| content.accounts.iter().any(|other| other.name == name);
        let wanted = account.name.clone();
        let mut number = 2;
        while taken(&account.name) {
            account.name = format!("{wanted}#{number}");
            number += 1;
        }
        content.accounts.push(account.clone());
        self.write(&content)?;
        Ok(account)
    }

    /// Forgets an account and its key.
    ///
    /// # Errors
    /// [`KeyFileError::NoAccount`] and others.
    pub fn remove(&self, name: &str) -> Result<(), KeyFileError> {
        let _lock = self.lock()?;
        let mut content = self.read()?;
        let before = content.accounts.len();
        content.accounts.retain(|account| account.name != name);
        if content.accounts.len() == before {
            return Err(KeyFileError::NoAccount(name.to_owned()));
        }
        self.write(&content)
    }

    /// Keeps what changed in an account.
    ///
    /// # Errors
    /// [`KeyFileError::NoAccount`] if it was removed meanwhile, and others.
    pub fn update(&self, account: &Account) -> Result<(), KeyFileError> {
        let _lock = self.lock()?;
        let mut content = self.read()?;
        let kept = content.accounts.iter_mut().find(|kept| kept.device == account.device);
        let kept = kept.ok_or_else(|| KeyFileError::NoAccount(account.name.clone()))?;
        let counter = kept.counter.max(account.counter);
        *kept = account.clone();
        kept.counter = counter;
        self.write(&content)
    }

    /// Waits until no other process changes the file. Released when dropped.
    fn lock(&self) -> Result<File, KeyFileError> {
        let path = self.0.folder.join(LOCK);
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let lock = lock.map_err(|source| failed(&path, source))?;
        lock.lock().map_err(|source| failed(&path, source))?;
        Ok(lock)
    }

    fn read(&self) -> Result<Content, KeyFileError> {
        let path = self.path();
        let missing = || KeyFileError::Missing(self.0.folder.display().to_string());
        let mut sealed = Zeroizing::new(read(&path)?.ok_or_else(missing)?);
        // a file that was made anew has another salt: the passphrase has to be given again
        let wrong = || KeyFileError::Passphrase(path.display().to_string());
        let (header, body) = split(&sealed, &path)?;
        if *header != self.0.header {
            return Err(wrong());
        }
        let nonce = Nonce::try_assume_unique_for_key(&body[..NONCE_LEN]).map_err(|_| wrong())?;
        let start = HEADER_LEN + NONCE_LEN;
        let aad = Aad::from(self.0.header);
        let plain = self.0.key.open_in_place(nonce, aad, &mut sealed[start..]);
        let plain = plain.map_err(|_| wrong())?;
        serde_json::from_slice(plain).map_err(|_| KeyFileError::Format(path.display().to_string()))
    }

    /// Replaces the file at once: a crash leaves the old one or the new one.
    fn write(&self, content: &Content) -> Result<(), KeyFileError> {
        let path = self.path();
        let fail = |source| failed(&path, source);
        // room for all of it up front: growing would leave copies of the keys behind
        let mut body = Vec::with_capacity(ROOM * (content.accounts.len() + 1));
        serde_json::to_writer(&mut body, content).map_err(|error| fail(error.into()))?;
        let nonce: [u8; NONCE_LEN] = crate::rng().random();
        let aad = Aad::from(self.0.header);
        let tag = self.0.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            aad,
            &mut body,
        );
        let Ok(tag) = tag else {
            body.zeroize();
            return Err(fail(io::Error::other("sealing failed")));
        };
        let temporary = path.with_extension("tmp");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(fail)?;
        for part in [&self.0.header[..], &nonce, &body, tag.as_ref()] {
            file.write_all(part).map_err(fail)?;
        }
        file.sync_all().map_err(fail)?;
        fs::rename(&temporary, &path).map_err(fail)?;
        File::open(&self.0.folder).and_then(|folder| folder.sync_all()).map_err(fail)
    }
}

impl Save for KeyFile {
    fn save<'a>(
        &'a self,
        account: &'a Account,
    ) -> Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send + 'a>> {
        let (file, account) = (self.clone(), account.clone());
        Box::pin(async move {
            // the disk may take its time; other accounts don't wait for it
            let done = tokio::task::spawn_blocking(move || file.update(&account)).await;
            match done {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(SaveError(error.to_string())),
                Err(error) => Err(SaveError(error.to_string())),
            }
        })
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyFile({})", self.0.folder.display())
    }
}

fn failed(path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io { path: path.display().to_string(), source }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, KeyFileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| failed(path, source))?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|source| failed(path, source))?;
    Ok(Some(bytes))
}

fn split<'a>(
    sealed: &'a [u8],
    path: &Path,
) -> Result<(&'a [u8; HEADER_LEN], &'a [u8]), KeyFileError> {
    sealed
        .split_first_chunk::<HEADER_LEN>()
        .filter(|(_, body)| body.len() >= NONCE_LEN)
        .ok_or_else(|| KeyFileError::Format(path.display().to_string()))
}

fn fresh_header() -> [u8; HEADER_LEN] {
    let salt: [u8; SALT_LEN] = crate::rng().random();
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.extend_from_slice(MAGIC);
    header.push(FORMAT);
    for value in [COST.memory_kib, COST.passes, COST.lanes] {
        header.extend_from_slice(&value.to_be_bytes());
    }
    header.extend_from_slice(&salt);
    header.try_into().expect("the parts of a header are as long as a header")
}

/// Cost and salt; `None` if it isn't a header of this version.
fn read_header(header: &[u8; HEADER_LEN]) -> Option<(Cost, &[u8])> {
    let (magic, rest) = header.split_at(MAGIC.len());
    let (format, rest) = rest.split_first()?;
    let (costs, salt) = rest.split_at(12);
    let number = |at: usize| costs[at..at + 4].try_into().map(u32::from_be_bytes).ok();
    let cost = Cost { memory_kib: number(0)?, passes: number(4)?, lanes: number(8)? };
    let sane = magic == MAGIC
        && *format == FORMAT
        && cost.memory_kib <= MAX_COST.memory_kib
        && cost.passes <= MAX_COST.passes
        && cost.lanes <= MAX_COST.lanes;
    sane.then_some((cost, salt))
}
