//! A store in a directory of its own, on virtual time.

use std::path::Path;

use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use testkit::TestClock;

use crate::{MasterKey, OpenError, Store};

pub(super) struct Disk {
    pub(super) dir: TempDir,
    pub(super) clock: TestClock,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: TestClock::new() }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) async fn try_open(&self) -> Result<Store, OpenError> {
        Store::open(self.path(), self.clock.reader(), MasterKey::from_bytes([7; 32])).await
    }

    pub(super) async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    /// A connection past the store, as somebody with the file would have it.
    pub(super) async fn tamper(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", crate::open::path(self.path()).display());
        SqliteConnection::connect(&url).await.unwrap()
    }
}
