//! Replies that are kept under a caller's idempotency key. Challenges keep their own: see `create`.

use ports::{Replay, ReplayKey};

use crate::{App, Error};

impl App {
    /// What an idempotency key stands for.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn recall(&self, key: ReplayKey) -> Result<Option<Replay>, Error> {
        Ok(self.ledger.recall(key).await?)
    }

    /// Keeps a reply under an idempotency key; without its body if that holds a secret.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn remember(
        &self,
        key: ReplayKey,
        status: u16,
        body: Option<String>,
    ) -> Result<(), Error> {
        Ok(self.ledger.remember(key, status, body).await?)
    }
}
