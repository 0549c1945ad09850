//! How much the writer has written: for metrics, and for tests that compare what two requests cost.

use ports::StoreError;

use crate::Store;
use crate::batch::Batch;
use crate::writer::Job;

/// What the store has written since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Transactions committed.
    pub commits: u64,
    /// Rows inserted, updated or deleted in them.
    pub rows: u64,
}

impl Store {
    /// What has been written so far, this question's own empty transaction included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn written(&self) -> Result<Written, StoreError> {
        let rows = self.0.writer.write(CountRows).await?;
        Ok(Written { commits: self.0.writer.commits(), rows })
    }
}

struct CountRows;

impl Job for CountRows {
    type Done = u64;

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<u64> {
        let rows = sqlx::query_scalar::<_, i64>("SELECT total_changes()");
        let rows = rows.fetch_one(batch.conn().await?).await?;
        Ok(u64::try_from(rows).unwrap_or_default())
    }
}
