//! The embedded store: Ledger, Directory, Vault and Hot on one SQLite file.
//!
//! One task writes, and commits whatever has gathered together; everything else reads, mostly from memory.
//!
//! Architecture invariant: memory follows the disk, never the other way round. Only the writer changes what is
//! kept in memory, after its commit and before anybody is told.

mod attempts;
mod audit;
mod batch;
mod changes;
mod codec;
mod directory;
mod events;
mod export;
mod hot;
mod ledger;
mod many;
mod master;
mod memory;
mod notices;
mod open;
mod people;
mod random;
mod records;
mod redeem;
mod rows;
mod seal;
mod settle;
mod simple_writes;
mod slots;
mod tickets;
mod token_keys;
mod vault;
mod verify;
mod wal;
mod working;
mod writer;
mod writes;
mod written;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ports::{Directory, Hot, Ledger, StoreError, Vault};
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool};
use statement::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use export::{AuditReader, TenantNames};
pub use master::{MasterKey, MasterKeyError};
pub use open::OpenError;
pub use verify::{Broken, Fault, Place, Verified, VerifyError, verify_audit};
pub use written::Written;

use crate::codec::unavailable;
use crate::memory::Memory;
use crate::slots::Slots;
use crate::vault::Keyring;
use crate::writer::Writer;

/// The clock that the store is handed: it alone judges expiry.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The embedded store. Clones share one database.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

struct Inner {
    writer: Writer,
    reads: SqlitePool,
    /// Searches of the audit at a time: fewer than readers, so that a slow one keeps no sign-in waiting.
    searches: Semaphore,
    memory: Arc<Memory>,
    slots: Slots,
    keys: Arc<Keyring>,
    clock: Clock,
    tasks: Mutex<Option<open::Tasks>>,
}

impl Inner {
    async fn search(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let place = tokio::time::timeout(open::READER_WAIT, self.searches.acquire()).await;
        place.ok().and_then(Result::ok).ok_or(StoreError::Overloaded)
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        // boxed: what is answered from memory, as nearly all is, would make room for the wait as well
        Box::pin(self.reads.acquire()).await.map_err(unavailable)
    }
}

impl Store {
    /// Opens `countersign.db` in `dir`, or makes it with a tenant `default` and all keys. That nobody else
    /// has it open is the caller's business.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(dir: &Path, clock: Clock, keys: MasterKey) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(open::open(dir, clock, &keys).await?)))
    }

    /// The durable record.
    #[must_use]
    pub fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.0) as _
    }

    /// Who there is.
    #[must_use]
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.0) as _
    }

    /// What lives for seconds.
    #[must_use]
    pub fn hot(&self) -> Arc<dyn Hot> {
        Arc::clone(&self.0) as _
    }

    /// The keys.
    #[must_use]
    pub fn vault(&self) -> Arc<dyn Vault> {
        Arc::clone(&self.0.keys) as _
    }

    /// Whether writes are taken.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the cause if they aren't: the disk failed, or the store is closed.
    pub fn healthy(&self) -> Result<(), StoreError> {
        self.0.writer.trouble().map_or(Ok(()), |cause| Err(StoreError::Unavailable(cause)))
    }

    /// Stops cleanly: writes what is queued, signs a last checkpoint and folds the write-ahead log. Later
    /// writes fail; clones of the store are closed too.
    ///
    /// # Errors
    /// [`StoreError`] if the last checkpoint wasn't stored; all else is stopped anyway.
    pub async fn close(&self) -> Result<(), StoreError> {
        let tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(tasks) = tasks else { return Ok(()) };
        let anchored = self.ledger().checkpoint().await.map(|_| ());
        tasks.stop(&self.0.reads).await;
        anchored
    }
}

#[cfg(test)]
mod tests;
