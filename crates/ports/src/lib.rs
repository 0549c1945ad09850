//! The five contracts between use cases and backends.
//!
//! Comments state obligations: what is atomic, what is durable when a future resolves, who judges time.
//! Each port has one conformance suite in testkit, and every backend passes it.
//!
//! Architecture invariant: there is no audit port. Every durable write takes its audit entry as an argument.

mod courier;
mod directory;
mod hot;
mod ledger;
mod vault;

use std::future::Future;
use std::pin::Pin;

pub use courier::{Courier, Hint, MAX_MAILBOX, Mailbox};
pub use directory::{Change, Directory, DirectoryError, KeyOwner, Listed, Page, UserRef};
pub use domain::notice::{Notice, NoticeKind};
pub use hot::{Committed, Conflict, Hot, HotChange, HotError, HotUser, Rider};
pub use ledger::{
    AuditFilter, AuditRow, Counted, Effect, Ledger, LedgerRecord, Open, Opened, Redeem, Redeemed,
    Replay, ReplayKey, Settle, Settled, SignedCheckpoint,
};
pub use vault::{Certified, MacKey, NewTokenKey, SealError, SealFor, TokenKey, Vault};

/// What ports return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store that didn't do what it was asked. Nothing was changed, unless it says that it can't know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached or doesn't take writes; the cause is for the log alone.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// Its queue is full.
    #[error("store overloaded")]
    Overloaded,
    /// A row that can't be.
    #[error("store inconsistent: {0}")]
    Inconsistent(String),
}
