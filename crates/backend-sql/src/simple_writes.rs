//! The writes that judge little: open, record, remember, flush, checkpoint.

use std::sync::Arc;
use std::time::Duration;

use domain::challenge::State;
use ports::{LedgerRecord, Opened, ReplayKey};
use sqlx::SqliteConnection;
use statement::{EventId, TenantId, Timestamp};

use crate::audit::Prepared;
use crate::batch::{Batch, OpenRow};
use crate::codec::int;
use crate::memory::Memory;
use crate::slots::HotWrite;
use crate::writer::Job;

/// How long an idempotency key stands for what was first asked under it.
pub(crate) const REPLAY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Keys past their life that are deleted for each new one: more than one, so that they run out.
const PRUNED_REPLAYS: u32 = 2;

/// Opens a challenge.
pub(crate) struct OpenChallenge {
    pub(crate) row: Arc<OpenRow>,
    pub(crate) replay: Option<ReplayKey>,
    pub(crate) audit: Prepared,
    pub(crate) alerts: Vec<Prepared>,
    pub(crate) hot: Option<HotWrite>,
}

/// `None`: the replay key was taken.
type OpenedAt = Option<EventId>;

impl Job for OpenChallenge {
    type Done = OpenedAt;

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<OpenedAt> {
        if let Some(key) = self.replay {
            let challenge = Some(self.row.challenge.id.as_bytes().as_slice());
            if !take_replay(batch, key, challenge, None, None).await? {
                return Ok(None);
            }
        }
        let opened = batch.record(&self.audit);
        for alert in &self.alerts {
            batch.record(alert);
        }
        batch.open(&self.row, opened);
        if let Some(hot) = &self.hot {
            batch.put_hot(hot.row());
        }
        Ok(Some(opened))
    }

    fn committed(self, done: &OpenedAt, memory: &Memory) {
        // dropped otherwise, which leaves the user's state as it was
        if let Some(opened) = *done {
            memory.records.insert(LedgerRecord {
                challenge: Arc::clone(&self.row.challenge),
                state: State::Pending,
                opened,
                decided: None,
            });
            self.hot.into_iter().for_each(HotWrite::apply);
        }
    }
}

pub(crate) const fn opened(at: OpenedAt) -> Opened {
    match at {
        Some(_) => Opened::Opened,
        None => Opened::Replayed,
    }
}

/// Stores a hot commit that nothing else carries.
pub(crate) struct Flush(pub(crate) HotWrite);

impl Job for Flush {
    type Done = ();

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<()> {
        batch.put_hot(self.0.row());
        Ok(())
    }

    fn committed(self, (): &(), _memory: &Memory) {
        self.0.apply();
    }
}

/// Writes audit entries that stand for themselves, and a hot commit with them.
pub(crate) struct Record {
    pub(crate) entries: Vec<Prepared>,
    pub(crate) hot: Option<HotWrite>,
}

impl Job for Record {
    type Done = ();

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<()> {
        for entry in &self.entries {
            batch.record(entry);
        }
        if let Some(hot) = &self.hot {
            batch.put_hot(hot.row());
        }
        Ok(())
    }

    fn committed(self, (): &(), _memory: &Memory) {
        self.hot.into_iter().for_each(HotWrite::apply);
    }
}

/// Stores a reply under an idempotency key; the first one stays.
pub(crate) struct Remember {
    pub(crate) key: ReplayKey,
    pub(crate) status: u16,
    pub(crate) body: Option<String>,
}

impl Job for Remember {
    type Done = ();

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<()> {
        let body = self.body.as_deref();
        take_replay(batch, self.key, None, Some(self.status), body).await?;
        Ok(())
    }
}

/// Takes an idempotency key. `false` if it is taken and still in its life.
async fn take_replay(
    batch: &mut Batch<'_>,
    key: ReplayKey,
    challenge: Option<&[u8]>,
    status: Option<u16>,
    body: Option<&str>,
) -> sqlx::Result<bool> {
    let dead = int(batch.now.minus(REPLAY_LIFE).millis());
    let taken = sqlx::query(
        "INSERT INTO replays (integration, idempotency, request, challenge, status, body, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (integration, idempotency) DO UPDATE SET request = excluded.request,
             challenge = excluded.challenge, status = excluded.status, body = excluded.body, at = excluded.at
         WHERE replays.at <= $8",
    )
    .bind(key.integration.as_bytes().as_slice())
    .bind(key.key.as_slice())
    .bind(key.request.as_slice())
    .bind(challenge)
    .bind(status)
    .bind(body)
    .bind(int(batch.now.millis()))
    .bind(dead)
    .execute(batch.conn().await?)
    .await?;
    let is_taken = taken.rows_affected() > 0;
    batch.new_replays += u32::from(is_taken);
    Ok(is_taken)
}

/// Deletes idempotency keys past their life, at the end of a batch that took new ones.
pub(crate) async fn prune_replays(
    conn: &mut SqliteConnection,
    new: u32,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM replays WHERE (integration, idempotency) IN
             (SELECT integration, idempotency FROM replays WHERE at <= $1 ORDER BY at LIMIT $2)",
    )
    .bind(int(now.minus(REPLAY_LIFE).millis()))
    .bind(new * PRUNED_REPLAYS)
    .execute(conn)
    .await?;
    Ok(())
}

/// Signs a checkpoint for every tenant with rows since its last one.
pub(crate) struct Anchor;

impl Job for Anchor {
    type Done = usize;

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<usize> {
        let tenants: Vec<TenantId> = batch.unanchored(1);
        for tenant in &tenants {
            batch.checkpoint(*tenant).await?;
        }
        Ok(tenants.len())
    }
}
