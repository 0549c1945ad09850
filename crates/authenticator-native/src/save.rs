//! Where a session keeps its account.

use std::future::{Future, ready};
use std::pin::Pin;

use authenticator::Account;

/// The account couldn't be made durable.
#[derive(Debug, thiserror::Error)]
#[error("the account could not be saved: {0}")]
pub struct SaveError(pub String);

/// Keeps an account. What a session sends after a save relies on it.
pub trait Save: Send + Sync {
    /// Returns once the account is durable.
    fn save<'a>(
        &'a self,
        account: &'a Account,
    ) -> Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send + 'a>>;
}

/// Keeps nothing: for tests and load, whose devices live no longer than their process.
#[derive(Clone, Copy, Debug, Default)]
pub struct InMemory;

impl Save for InMemory {
    fn save<'a>(
        &'a self,
        _account: &'a Account,
    ) -> Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send + 'a>> {
        Box::pin(ready(Ok(())))
    }
}
