//! Folding the write-ahead log back into the database, off the writer's path: a checkpoint inside a commit is
//! what makes a p99 of 12 ms out of one of 2 ms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

/// How often the log is folded.
const PERIOD: Duration = Duration::from_secs(1);
/// Pages in the log above which the writer helps: 16 MiB.
const LONG: i64 = 4_096;

/// Folds as much as readers allow. Pages in the log, and those of them that are folded.
pub(crate) async fn fold(conn: &mut SqliteConnection) -> sqlx::Result<(i64, i64)> {
    let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
        .fetch_one(conn)
        .await?;
    Ok((row.try_get(1)?, row.try_get(2)?))
}

/// Folds everything and empties the log.
pub(crate) async fn truncate(conn: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(conn)
        .await?;
    Ok(())
}

/// Folds until `stop`; gives the connection back.
pub(crate) async fn keep_folding(
    mut conn: SqliteConnection,
    help: Arc<AtomicBool>,
    mut stop: oneshot::Receiver<()>,
) -> SqliteConnection {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut stop => return conn,
            _ = ticks.tick() => {}
        }
        match fold(&mut conn).await {
            Ok((pages, folded)) => help.store(pages > LONG && folded < pages, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "the write-ahead log could not be folded"),
        }
    }
}
