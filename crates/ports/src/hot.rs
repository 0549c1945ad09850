//! Hot state: what lives for seconds, per user, changed by compare-and-set.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use domain::challenge::Challenge;
use domain::guard::Cell;
use statement::{ChallengeId, TenantId, UserId};

use crate::{BoxFuture, StoreError};

/// A user's hot state as it was loaded.
#[derive(Clone, Debug, Default)]
pub struct HotUser {
    /// Grows with every commit; zero where nothing is stored.
    pub version: u64,
    /// The guard's cell.
    pub cell: Cell,
    /// Challenges that were live when they were stored; expired ones may still be among them.
    pub live: Vec<Arc<Challenge>>,
}

/// A change to one user's hot state.
#[derive(Clone, Debug)]
pub struct HotChange {
    /// Whose.
    pub tenant: TenantId,
    /// Whose.
    pub user: UserId,
    /// The version that the change was computed from.
    pub version: u64,
    /// The new cell.
    pub cell: Cell,
    /// Challenges that become live.
    pub add: Vec<Arc<Challenge>>,
    /// Challenges that no longer are.
    pub remove: Vec<ChallengeId>,
    /// Names this change: a retried commit with the same id is success, not conflict.
    pub op_id: [u8; 16],
    /// Whether the change only repeats what the ledger already holds (an outcome applied after its
    /// settle). A backend may then keep it in memory alone: after a crash the cell still lists the
    /// challenge, and whoever loads it next applies the outcome again.
    pub derived: bool,
}

/// Somebody else changed the user's state first: load again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user's hot state has moved on")]
pub struct Conflict;

/// Why a commit didn't happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HotError {
    /// Load again.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Not stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rows of a commit that ride in the next ledger write, of a backend that holds both. Opaque to all others.
///
/// Dropping it undoes the commit: it never happened.
pub struct Rider(pub Box<dyn Any + Send>);

impl fmt::Debug for Rider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rider")
    }
}

/// A commit that was accepted.
#[must_use = "a commit with a rider is nothing until a write carries it"]
#[derive(Debug)]
pub struct Committed {
    /// The version that it made.
    pub version: u64,
    /// What the caller hands to [`crate::Ledger::open`], [`crate::Ledger::record_all`] or [`Hot::flush`], which
    /// make it durable; `None` if it is stored. Whoever holds it keeps everybody else from the user's state: hand it on at once.
    pub rider: Option<Rider>,
}

/// Live challenges and guard cells.
///
/// Obligations: a commit is one atomic compare-and-set of one user; a load that starts after a commit (and
/// the ledger write that carries its rider) has finished sees it; nothing per user is loaded at start.
pub trait Hot: Send + Sync {
    /// What is stored of a user; the empty state if nothing is.
    fn load(&self, tenant: TenantId, user: UserId) -> BoxFuture<'_, Result<HotUser, StoreError>>;

    /// Replaces the state that `change.version` names.
    fn commit(&self, change: HotChange) -> BoxFuture<'_, Result<Committed, HotError>>;

    /// Stores a commit that no ledger write carries. On an error it never happened.
    fn flush(&self, rider: Rider) -> BoxFuture<'_, Result<(), StoreError>>;
}
