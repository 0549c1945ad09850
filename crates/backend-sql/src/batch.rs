//! One transaction of the writer: the jobs in it, and the rows that go in many at a time at its end.

use std::sync::Arc;

use domain::challenge::Challenge;
use domain::notice::Tell;
use ports::SignedCheckpoint;
use sqlx::SqliteConnection;
use statement::{ChallengeId, DeviceId, EventId, TenantId, Timestamp};

use crate::audit::{CHECKPOINT_ROWS, ChainedRow, Lanes, Prepared, store_checkpoint};
use crate::many::Texts;
use crate::notices;
use crate::simple_writes::prune_replays;
use crate::slots::HotRow;
use crate::vault::Keyring;
use crate::working::{
    Challenged, SELECT_ACTIVE_DEVICES, SELECT_CHALLENGES, Wanted, Working, bind_challenge_id,
    bind_device_id,
};
use crate::writes::{self, Row};

/// A challenge to be inserted, encoded by the caller.
pub(crate) struct OpenRow {
    pub(crate) challenge: Arc<Challenge>,
    pub(crate) record: Vec<u8>,
}

/// What jobs work on.
pub(crate) struct Batch<'c> {
    conn: &'c mut SqliteConnection,
    /// How its transaction stands.
    stands: Stands,
    /// The clock as it was read when the batch began: it alone judges what has expired.
    pub(crate) now: Timestamp,
    pub(crate) keys: &'c Keyring,
    /// Idempotency keys that this batch took.
    pub(crate) new_replays: u32,
    lanes: &'c mut Lanes,
    texts: &'c mut Texts,
    working: &'c mut Working,
    opens: Vec<(Arc<OpenRow>, EventId)>,
    hot: Vec<HotRow>,
    audit: Vec<ChainedRow>,
    tell: Vec<Tell>,
}

impl<'c> Batch<'c> {
    pub(crate) fn new(
        conn: &'c mut SqliteConnection,
        now: Timestamp,
        keys: &'c Keyring,
        lanes: &'c mut Lanes,
        texts: &'c mut Texts,
        working: &'c mut Working,
    ) -> Self {
        lanes.reset();
        let (opens, hot, audit, tell) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            conn,
            stands: Stands::None,
            now,
            keys,
            new_replays: 0,
            lanes,
            texts,
            working,
            opens,
            hot,
            audit,
            tell,
        }
    }

    /// The writing connection, inside the transaction.
    pub(crate) async fn conn(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        if self.stands == Stands::None {
            self.say("BEGIN IMMEDIATE").await?;
            self.stands = Stands::Begun;
        }
        Ok(self.conn)
    }

    async fn say(&mut self, what: &'static str) -> sqlx::Result<()> {
        sqlx::query(what).execute(&mut *self.conn).await.map(drop)
    }

    /// Makes durable what was written; whether there was anything.
    pub(crate) async fn commit(mut self) -> sqlx::Result<bool> {
        if self.stands == Stands::Begun {
            self.say("COMMIT").await?;
        }
        Ok(self.stands != Stands::None)
    }

    /// Undoes what was written, after an error; whether what failed may have been the commit.
    pub(crate) async fn rollback(mut self, error: &sqlx::Error) -> sqlx::Result<bool> {
        match self.stands {
            Stands::None => Ok(false),
            // SQLite has undone it; only a rule of the tables that is broken is somebody's rows for sure
            Stands::AtOnce => Ok(code(error) != Some(CONSTRAINT)),
            Stands::Begun => match self.say("ROLLBACK").await {
                // there is none: it went with the error
                Err(error) if code(&error) == Some(ERROR) => Ok(false),
                undone => undone.map(|()| false),
            },
        }
    }

    /// Reads what jobs are going to judge.
    pub(crate) async fn prefetch(&mut self, wanted: Wanted) -> sqlx::Result<()> {
        let wanted = self.working.missing(wanted);
        let Wanted { challenges, devices } = &wanted;
        if challenges.is_empty() && devices.is_empty() {
            return Ok(());
        }
        self.conn().await?;
        let texts = &mut *self.texts;
        let found =
            texts.read(self.conn, &SELECT_CHALLENGES, challenges, bind_challenge_id).await?;
        let active = texts.read(self.conn, &SELECT_ACTIVE_DEVICES, devices, bind_device_id).await?;
        self.working.learn(&wanted, &found, &active)
    }

    /// A challenge as this batch has it.
    pub(crate) async fn challenge(&mut self, id: ChallengeId) -> sqlx::Result<Option<Challenged>> {
        if let Some(known) = self.working.challenge(id) {
            return Ok(known);
        }
        let (challenges, devices) = (vec![id], Vec::new());
        self.prefetch(Wanted { challenges, devices }).await?;
        Ok(self.working.challenge(id).flatten())
    }

    /// Whether a device may answer.
    pub(crate) async fn is_active(&mut self, device: DeviceId) -> sqlx::Result<bool> {
        if let Some(known) = self.working.is_active(device) {
            return Ok(known);
        }
        let (challenges, devices) = (Vec::new(), vec![device]);
        self.prefetch(Wanted { challenges, devices }).await?;
        Ok(self.working.is_active(device).unwrap_or(false))
    }

    /// Writes a challenge that was changed.
    pub(crate) fn put_challenge(&mut self, challenged: Challenged) {
        self.working.put(challenged);
    }

    /// Stores changed challenges and forgets what is known: it is about to change.
    pub(crate) async fn flush_challenges(&mut self) -> sqlx::Result<()> {
        self.conn().await?;
        let changed = self.working.take_changed();
        let rows: Vec<_> = changed.iter().map(Row::Changed).collect();
        writes::write(self.conn, self.texts, &rows).await?;
        self.working.clear();
        Ok(())
    }

    /// Writes an audit row, and the notice that it carries.
    pub(crate) fn record(&mut self, entry: &Prepared) -> EventId {
        let row = self.lanes.push(entry, self.now);
        let id = EventId::new(row.lane, row.seq);
        self.audit.push(row);
        self.tell.extend(entry.tell.clone());
        id
    }

    /// Writes the audit row of a redeem: it is the redeem.
    pub(crate) fn redeem(&mut self, entry: &Prepared, challenge: ChallengeId) {
        let mut row = self.lanes.push(entry, self.now);
        row.redeems = Some(challenge);
        self.audit.push(row);
    }

    /// Writes a challenge. Nobody else knows its id before the batch is committed, so it can wait for the end.
    pub(crate) fn open(&mut self, row: &Arc<OpenRow>, opened: EventId) {
        self.working.put(Challenged::opened(&row.challenge));
        self.opens.push((Arc::clone(row), opened));
    }

    /// Writes a hot row. Its slot is held, so there is one per user at most.
    pub(crate) fn put_hot(&mut self, row: &HotRow) {
        self.hot.push(row.clone());
    }

    /// Signs and stores a checkpoint of a tenant, everything before it in this batch included.
    pub(crate) async fn checkpoint(&mut self, tenant: TenantId) -> sqlx::Result<SignedCheckpoint> {
        let signed = self.lanes.checkpoint(tenant, self.now, self.keys.audit_signer());
        store_checkpoint(self.conn().await?, &signed).await?;
        Ok(signed)
    }

    /// Tenants with at least `rows` rows that no checkpoint covers.
    pub(crate) fn unanchored(&self, rows: u64) -> Vec<TenantId> {
        self.lanes.unanchored(rows)
    }

    /// Writes what has gathered.
    pub(crate) async fn finish(&mut self) -> sqlx::Result<()> {
        for tenant in self.unanchored(CHECKPOINT_ROWS) {
            self.checkpoint(tenant).await?;
        }
        if self.new_replays > 0 {
            let (new, now) = (self.new_replays, self.now);
            prune_replays(self.conn().await?, new, now).await?;
        }
        let tell = std::mem::take(&mut self.tell);
        if !tell.is_empty() {
            self.conn().await?;
        }
        let changed = self.working.take_changed();
        self.working.shrink();
        let count = changed.len() + self.opens.len() + self.hot.len() + self.audit.len();
        if count > writes::MOST {
            self.conn().await?;
        } else if count > 0 && self.stands == Stands::None {
            self.stands = Stands::AtOnce;
        }
        let mut rows = Vec::with_capacity(count);
        rows.extend(changed.iter().map(Row::Changed));
        rows.extend(self.opens.iter().map(|(row, opened)| Row::Opened(row, opened)));
        rows.extend(self.hot.iter().map(Row::Hot));
        rows.extend(self.audit.iter().map(Row::Audit));
        writes::write(self.conn, self.texts, &rows).await?;
        for tell in &tell {
            notices::keep(self.conn, tell, self.now).await?;
        }
        Ok(())
    }
}

/// A batch's transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// There is none yet.
    None,
    /// It has begun.
    Begun,
    /// One statement is all of it.
    AtOnce,
}

/// SQLite's primary result codes.
const ERROR: u32 = 1;
const BUSY: u32 = 5;
const CONSTRAINT: u32 = 19;

/// The primary code of an error: the low byte.
pub(crate) fn code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some(code & 0xff)
}

/// Whether somebody else writes. Only the begin of a transaction can say so: whoever has begun is alone.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    code(error) == Some(BUSY)
}
