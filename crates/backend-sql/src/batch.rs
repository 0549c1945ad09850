//! One transaction of the writer: the jobs in it, and the rows that go in many at a time at its end.

use std::sync::Arc;

use domain::challenge::Challenge;
use domain::notice::Tell;
use ports::SignedCheckpoint;
use sqlx::SqliteConnection;
use statement::{ChallengeId, DeviceId, EventId, TenantId, Timestamp};

use crate::audit::{CHECKPOINT_ROWS, ChainedRow, Lanes, Prepared, store_checkpoint};
use crate::codec::int;
use crate::many::{Many, Query, Texts};
use crate::notices;
use crate::simple_writes::prune_replays;
use crate::slots::HotRow;
use crate::vault::Keyring;
use crate::working::{
    Challenged, SELECT_ACTIVE_DEVICES, SELECT_CHALLENGES, UPDATE_CHALLENGES, Wanted, Working,
    bind_challenge_id, bind_challenged, bind_device_id,
};

/// A challenge to be inserted, encoded by the caller.
pub(crate) struct OpenRow {
    pub(crate) challenge: Arc<Challenge>,
    pub(crate) record: Vec<u8>,
}

const CHALLENGES: Many = Many {
    head: "INSERT INTO challenges (id, tenant, integration, user_id, session, expires, record, number, opened)",
    columns: 9,
    tail: "",
};
const HOT: Many = Many {
    head: "INSERT INTO hot (tenant, user_id, version, cell, live, op_id)",
    columns: 6,
    tail: " ON CONFLICT (tenant, user_id) DO UPDATE SET version = excluded.version, cell = excluded.cell, \
           live = excluded.live, op_id = excluded.op_id",
};
const AUDIT: Many = Many {
    head: "INSERT INTO audit (tenant, lane, seq, at, public, private, salt, commitment, hash)",
    columns: 9,
    tail: "",
};

/// What jobs work on.
pub(crate) struct Batch<'c> {
    /// The writing connection, inside the transaction.
    pub(crate) conn: &'c mut SqliteConnection,
    /// The clock as it was read when the transaction began: it alone judges what has expired.
    pub(crate) now: Timestamp,
    pub(crate) keys: &'c Keyring,
    /// Idempotency keys that this batch took.
    pub(crate) new_replays: u32,
    lanes: &'c mut Lanes,
    texts: &'c mut Texts,
    working: Working,
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
    ) -> Self {
        lanes.reset();
        let (opens, hot, audit, tell) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            conn,
            now,
            keys,
            new_replays: 0,
            lanes,
            texts,
            working: Working::default(),
            opens,
            hot,
            audit,
            tell,
        }
    }

    /// Reads what jobs are going to judge.
    pub(crate) async fn prefetch(&mut self, wanted: Wanted) -> sqlx::Result<()> {
        let wanted = self.working.missing(wanted);
        let Wanted { challenges, devices } = &wanted;
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

    /// Stores changed challenges and forgets what was read: it is about to change.
    pub(crate) async fn flush_challenges(&mut self) -> sqlx::Result<()> {
        let changed = self.working.take();
        let texts = &mut *self.texts;
        let touched = texts.write(self.conn, &UPDATE_CHALLENGES, &changed, bind_challenged).await?;
        // a challenge that was there a moment ago and isn't now: undo everything
        if touched == changed.len() as u64 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
    }

    /// Writes an audit row, and the notice that it carries.
    pub(crate) fn record(&mut self, entry: &Prepared) -> EventId {
        let row = self.lanes.push(entry, self.now);
        let id = EventId::new(row.lane, row.seq);
        self.audit.push(row);
        self.tell.extend(entry.tell.clone());
        id
    }

    /// Writes a challenge. Nobody else knows its id before the batch is committed, so it can wait for the end.
    pub(crate) fn open(&mut self, row: &Arc<OpenRow>, opened: EventId) {
        self.opens.push((Arc::clone(row), opened));
    }

    /// Writes a hot row. Its slot is held, so there is one per user at most.
    pub(crate) fn put_hot(&mut self, row: &HotRow) {
        self.hot.push(row.clone());
    }

    /// Signs and stores a checkpoint of a tenant, everything before it in this batch included.
    pub(crate) async fn checkpoint(&mut self, tenant: TenantId) -> sqlx::Result<SignedCheckpoint> {
        let signed = self.lanes.checkpoint(tenant, self.now, self.keys.audit_signer());
        store_checkpoint(self.conn, &signed).await?;
        Ok(signed)
    }

    /// Tenants with at least `rows` rows that no checkpoint covers.
    pub(crate) fn unanchored(&self, rows: u64) -> Vec<TenantId> {
        self.lanes.unanchored(rows)
    }

    /// Writes what has gathered.
    pub(crate) async fn finish(mut self) -> sqlx::Result<()> {
        for tenant in self.unanchored(CHECKPOINT_ROWS) {
            self.checkpoint(tenant).await?;
        }
        if self.new_replays > 0 {
            prune_replays(self.conn, self.new_replays, self.now).await?;
        }
        self.flush_challenges().await?;
        let Self { conn, now, texts, opens, hot, audit, tell, .. } = self;
        texts.write(conn, &CHALLENGES, &opens, bind_open).await?;
        texts.write(conn, &HOT, &hot, bind_hot).await?;
        texts.write(conn, &AUDIT, &audit, bind_audit).await?;
        for tell in &tell {
            notices::keep(conn, tell, now).await?;
        }
        Ok(())
    }
}

fn bind_open<'q>(query: Query<'q>, (row, opened): &'q (Arc<OpenRow>, EventId)) -> Query<'q> {
    let challenge = &row.challenge;
    query
        .bind(challenge.id.as_bytes().as_slice())
        .bind(challenge.tenant.as_bytes().as_slice())
        .bind(challenge.integration.as_bytes().as_slice())
        .bind(challenge.user.as_bytes().as_slice())
        .bind(challenge.session.as_slice())
        .bind(int(challenge.expires.millis()))
        .bind(row.record.as_slice())
        .bind(challenge.number.as_slice())
        .bind(opened.as_bytes().as_slice())
}

fn bind_hot<'q>(query: Query<'q>, row: &'q HotRow) -> Query<'q> {
    query
        .bind(row.tenant.as_bytes().as_slice())
        .bind(row.user.as_bytes().as_slice())
        .bind(int(row.version))
        .bind(row.cell.as_slice())
        .bind(row.live.as_slice())
        .bind(row.op_id.as_slice())
}

fn bind_audit<'q>(query: Query<'q>, row: &'q ChainedRow) -> Query<'q> {
    let (private, salt, commitment) = row.private();
    query
        .bind(row.tenant.as_bytes().as_slice())
        .bind(int(row.lane))
        .bind(int(row.seq))
        .bind(int(row.at.millis()))
        .bind(row.public())
        .bind(private)
        .bind(salt.as_slice())
        .bind(commitment.as_slice())
        .bind(row.hash.as_slice())
}
