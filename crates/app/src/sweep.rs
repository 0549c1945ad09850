//! Expiry: every pending challenge reaches its end, whether or not anybody looks.

use std::sync::Arc;

use domain::challenge::Challenge;
use ports::{SignedCheckpoint, StoreError};
use statement::TenantId;

use crate::{App, Call};

/// Challenges per sweep: a batch that commits in a few milliseconds.
const BATCH: u32 = 512;

impl App {
    /// Settles what is past its time, and says whether more may be waiting.
    ///
    /// # Errors
    /// [`StoreError`]; the next sweep tries again.
    pub async fn expire_due(&self, call: &mut Call) -> Result<bool, StoreError> {
        let due = self.ledger.due(BATCH).await?;
        let more = due.len() == BATCH as usize;
        let with_expiry = |challenge: Arc<Challenge>| {
            let item = self.expiry(&challenge);
            (challenge, item)
        };
        let items: Vec<_> = due.into_iter().map(with_expiry).collect();
        if !items.is_empty() {
            self.settle_and_tell(call, items).await?;
        }
        Ok(more)
    }

    /// Signs a checkpoint of the audit where one is due; returns how many tenants got one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint(&self) -> Result<usize, StoreError> {
        self.ledger.checkpoint().await
    }

    /// The newest checkpoint of a tenant.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_checkpoint(
        &self,
        tenant: TenantId,
    ) -> Result<Option<SignedCheckpoint>, StoreError> {
        self.ledger.last_checkpoint(tenant).await
    }
}
