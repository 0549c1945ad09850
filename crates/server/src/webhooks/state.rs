//! What is kept of a webhook from one run to the next: how far it has been told, and how it fails.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use statement::{EventId, TenantId, Timestamp};

use super::settings::Target;

/// The folder in the data directory.
const FOLDER: &str = "webhooks";
/// Longest error that is kept.
const MAX_ERROR: usize = 200;

/// Why a webhook isn't sent anything any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Disabled {
    /// The receiver answered 410.
    Gone,
    /// It failed for too long.
    Failing,
}

impl Disabled {
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Gone => "the receiver said that it is gone for good (410)",
            Self::Failing => "it failed for five days",
        }
    }
}

/// A webhook's state. The default is that of one which has never been told anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct State {
    /// Hash of the URL: another receiver starts without the failures of the one before.
    pub(crate) target: String,
    /// When it was first configured: nothing older is told.
    pub(crate) since: Timestamp,
    /// The last event of each tenant that was delivered or passed over. On one node lanes are in order and an
    /// older one has ended, so that one position stands for all lanes before it.
    pub(crate) cursors: BTreeMap<TenantId, EventId>,
    /// Failures since the last success.
    pub(crate) failures: u32,
    /// The first of them.
    pub(crate) failing_since: Option<Timestamp>,
    /// When the event that waits was written.
    pub(crate) waiting_since: Option<Timestamp>,
    /// Not before this it is tried again.
    pub(crate) next_try: Option<Timestamp>,
    /// The last failure, for people.
    pub(crate) last_error: Option<String>,
    /// The last success.
    pub(crate) delivered_at: Option<Timestamp>,
    pub(crate) disabled: Option<Disabled>,
}

impl State {
    /// In a word.
    pub(crate) const fn condition(&self) -> &'static str {
        match (self.disabled, self.failures) {
            (Some(_), _) => "disabled",
            (None, 0) => "ok",
            (None, _) => "failing",
        }
    }

    /// Takes up with a receiver that works, or is to be tried as if it did.
    pub(crate) fn clear(&mut self) {
        self.failures = 0;
        self.failing_since = None;
        self.next_try = None;
        self.last_error = None;
        self.disabled = None;
    }

    pub(crate) fn failed(&mut self, error: &str) {
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error.chars().take(MAX_ERROR).collect());
    }
}

/// Where the state of the webhook of that name is.
pub(crate) fn path(data: &Path, name: &str) -> PathBuf {
    data.join(FOLDER).join(format!("{name}.json"))
}

/// Reads a state; `None` if there is none yet.
pub(crate) fn read(path: &Path) -> io::Result<Option<State>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a state as a whole: a crash leaves the old one or the new one.
fn write(path: &Path, state: &State) -> io::Result<()> {
    let bytes = serde_json::to_vec_pretty(state)?;
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&bytes)?;
    // else the rename could survive a power cut that the bytes don't
    file.sync_data()?;
    fs::rename(&fresh, path)
}

/// A state in memory and in its file.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Inner>);

struct Inner {
    path: PathBuf,
    state: Mutex<State>,
    /// What the file holds; held while it is written, so that writers don't overtake each other.
    stored: tokio::sync::Mutex<State>,
}

impl Kept {
    /// Takes up the state of a webhook, or begins one at `now`.
    pub(crate) fn open(data: &Path, name: &str, url: &Target, now: Timestamp) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(data.join(FOLDER))?;
        let path = path(data, name);
        let stored = read(&path)?;
        let mut state = stored.clone().unwrap_or(State { since: now, ..State::default() });
        let target = HEXLOWER.encode(&Sha256::digest(format!("{}{}", url.origin(), url.path)));
        if state.target != target {
            state.clear();
            state.target = target;
        }
        if stored.as_ref() != Some(&state) {
            write(&path, &state)?;
        }
        let stored = tokio::sync::Mutex::new(state.clone());
        Ok(Self(Arc::new(Inner { path, state: Mutex::new(state), stored })))
    }

    /// The state now.
    pub(crate) fn get(&self) -> State {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it in memory.
    pub(crate) fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Brings the file up to date. If that fails the state in memory stands, and what was delivered since comes
    /// again after a restart.
    pub(crate) async fn save(&self) {
        let inner = Arc::clone(&self.0);
        let mut stored = inner.stored.lock().await;
        let state = self.get();
        if *stored == state {
            return;
        }
        let (path, fresh) = (inner.path.clone(), state.clone());
        let written = tokio::task::spawn_blocking(move || write(&path, &fresh)).await;
        match written.map_err(io::Error::other).flatten() {
            Ok(()) => *stored = state,
            Err(error) => {
                tracing::error!(%error, file = %inner.path.display(), "a webhook's state isn't saved");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn target(path: &str) -> Target {
        Target {
            https: true,
            host: "x.example".to_owned(),
            port: 443,
            authority: "x.example".to_owned(),
            path: path.to_owned(),
        }
    }

    #[tokio::test]
    async fn what_is_saved_is_there_again_and_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::open(dir.path(), "soc", &target("/"), NOW).unwrap();
        let tenant = TenantId::from_bytes([1; TenantId::LEN]);
        kept.note(|state| {
            state.cursors.insert(tenant, EventId::new(7, 9));
            state.failed(&"x".repeat(1_000));
        });
        kept.save().await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = path(dir.path(), "soc");
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);

        let again = Kept::open(dir.path(), "soc", &target("/"), NOW.plus(std::time::Duration::MAX));
        let again = again.unwrap().get();
        assert_eq!(again, kept.get());
        assert_eq!((again.since, again.failures), (NOW, 1));
        assert_eq!(again.last_error.unwrap().len(), MAX_ERROR);
    }

    #[tokio::test]
    async fn another_url_starts_without_the_failures_of_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::open(dir.path(), "soc", &target("/old"), NOW).unwrap();
        let tenant = TenantId::from_bytes([1; TenantId::LEN]);
        kept.note(|state| {
            state.disabled = Some(Disabled::Gone);
            state.cursors.insert(tenant, EventId::new(7, 9));
        });
        kept.save().await;
        let same = Kept::open(dir.path(), "soc", &target("/old"), NOW).unwrap().get();
        assert_eq!(same.disabled, Some(Disabled::Gone));
        let other = Kept::open(dir.path(), "soc", &target("/new"), NOW).unwrap().get();
        assert_eq!(other.disabled, None);
        assert_eq!(other.cursors[&tenant], EventId::new(7, 9), "nothing is told twice");
    }

    #[tokio::test]
    async fn a_state_that_cannot_be_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        Kept::open(dir.path(), "soc", &target("/"), NOW).unwrap();
        fs::write(path(dir.path(), "soc"), "{\"cursor\": 1}").unwrap();
        assert!(Kept::open(dir.path(), "soc", &target("/"), NOW).is_err());
    }
}
