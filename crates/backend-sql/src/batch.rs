//! One transaction of the writer: the jobs in it, and the rows that go in many at a time at its end.

use std::sync::Arc;

use domain::challenge::Challenge;
use domain::notice::Tell;
use ports::SignedCheckpoint;
use sqlx::SqliteConnection;
use statement::{ChallengeId, DeviceId, EventId, TenantId, Timestamp};

use crate::audit::{CHECKPOINT_ROWS, ChainedRow, Lanes, Prepared, store_checkpoint};
use crate::codec::int;
use crate::many::{BEGIN, Many, Query, Texts};
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

static CHALLENGES: Many = Many {
    head: "INSERT INTO challenges (id, tenant, integration, user_id, session, expires, record, number, opened) \
           SELECT * FROM (",
    columns: 9,
    tail: ") WHERE column1 IS NOT NULL",
};
static HOT: Many = Many {
    head: "INSERT INTO hot (tenant, user_id, version, cell, live, op_id) SELECT * FROM (",
    columns: 6,
    tail: ") WHERE column1 IS NOT NULL ON CONFLICT (tenant, user_id) DO UPDATE SET version = excluded.version, cell = excluded.cell, \
           live = excluded.live, op_id = excluded.op_id",
};
static AUDIT: Many = Many {
    head: "INSERT INTO audit (tenant, lane, seq, at, public, private, salt, commitment, hash, redeems) \
           SELECT * FROM (",
    columns: 10,
    tail: ") WHERE column1 IS NOT NULL",
};

/// What jobs work on.
pub(crate) struct Batch<'c> {
    conn: &'c mut SqliteConnection,
    /// Whether the transaction has begun. A batch that reads nothing begins it in one text with its rows: each
    /// statement on its own is a way to the connection's thread and back.
    begun: bool,
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
            begun: false,
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
        if !self.begun {
            self.say(BEGIN).await?;
            self.begun = true;
        }
        Ok(self.conn)
    }

    async fn say(&mut self, what: &'static str) -> sqlx::Result<()> {
        sqlx::query(what).execute(&mut *self.conn).await.map(drop)
    }

    /// Makes durable what was written; whether there was a transaction.
    pub(crate) async fn commit(mut self) -> sqlx::Result<bool> {
        if self.begun {
            self.say("COMMIT").await?;
        }
        Ok(self.begun)
    }

    /// Undoes what was written.
    pub(crate) async fn rollback(mut self) -> sqlx::Result<()> {
        if !self.begun {
            return Ok(());
        }
        match self.say("ROLLBACK").await {
            // there is none: it didn't begin, or went with the error
            Err(error) if code(&error) == Some(ERROR) => Ok(()),
            undone => undone,
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
        let rows = Rows { changed: &changed, ..Rows::default() };
        rows.write(self.conn, self.texts, false).await?;
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
        let rows =
            Rows { changed: &changed, opens: &self.opens, hot: &self.hot, audit: &self.audit };
        let begins = !self.begun && !rows.is_empty();
        // where it fails there may be one
        self.begun |= begins;
        let written = rows.write(self.conn, self.texts, begins).await;
        if begins && written.as_ref().is_err_and(is_busy) {
            self.begun = false;
        }
        written?;
        for tell in &tell {
            notices::keep(self.conn, tell, self.now).await?;
        }
        Ok(())
    }
}

/// SQLite's primary result codes.
const ERROR: u32 = 1;
const BUSY: u32 = 5;

/// The primary code of an error: the low byte.
pub(crate) fn code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some(code & 0xff)
}

/// Whether somebody else writes. Only the begin of a transaction can say so: whoever has begun is alone.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    code(error) == Some(BUSY)
}

/// The rows that go in many at a time.
#[derive(Clone, Copy, Default)]
struct Rows<'b> {
    changed: &'b [Challenged],
    opens: &'b [(Arc<OpenRow>, EventId)],
    hot: &'b [HotRow],
    audit: &'b [ChainedRow],
}

impl Rows<'_> {
    const fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.opens.is_empty()
            && self.hot.is_empty()
            && self.audit.is_empty()
    }

    /// Writes all, as many in one text as may be; the first one begins the transaction, if it is to.
    async fn write(
        mut self,
        conn: &mut SqliteConnection,
        texts: &mut Texts,
        mut begins: bool,
    ) -> sqlx::Result<()> {
        while !self.is_empty() {
            let tables = [
                (&UPDATE_CHALLENGES, self.changed.len()),
                (&CHALLENGES, self.opens.len()),
                (&HOT, self.hot.len()),
                (&AUDIT, self.audit.len()),
            ];
            let write = texts
                .write(begins, tables)
                .bind(&UPDATE_CHALLENGES, &mut self.changed, bind_challenged)
                .bind(&CHALLENGES, &mut self.opens, bind_open)
                .bind(&HOT, &mut self.hot, bind_hot)
                .bind(&AUDIT, &mut self.audit, bind_audit);
            write.run(conn).await?;
            begins = false;
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
        .bind(row.redeems.as_ref().map(|id| id.as_bytes().as_slice()))
}
