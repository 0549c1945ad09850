//! Folding the write-ahead log back into the database beside the writer: done by the writer at every thousand
//! pages it is the p99 of a commit (docs/performance.md).

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

/// Pages in the log at which the writer folds it itself: 40 MiB. A fold beside a writer that never rests doesn't
/// reach the end of the log, so the log couldn't start again and would grow without end.
pub(crate) const BOUND: &str = "10000";
/// Rest between two folds. What a busy writer adds meanwhile stays far below the bound.
const REST: Duration = Duration::from_millis(100);

/// Folds everything and empties the log.
pub(crate) async fn truncate(conn: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(conn).await?;
    Ok(())
}

/// Folds whenever something was committed, until `stop`; gives the connection back.
pub(crate) async fn keep_folding(
    mut conn: SqliteConnection,
    committed: Arc<Notify>,
    mut stop: oneshot::Receiver<()>,
) -> SqliteConnection {
    loop {
        tokio::select! {
            _ = &mut stop => return conn,
            () = committed.notified() => {}
        }
        // as much as readers allow; never waits for anybody
        let folded = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut conn).await;
        if let Err(error) = folded {
            tracing::warn!(%error, "the write-ahead log could not be folded");
        }
        tokio::select! {
            _ = &mut stop => return conn,
            () = sleep(REST) => {}
        }
    }
}
