//! One transaction of the writer: the jobs in it, and the rows that go in many at a time at its end.

use std::collections::HashMap;
use std::sync::Arc;

use domain::challenge::Challenge;
use ports::SignedCheckpoint;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};
use statement::{EventId, TenantId, Timestamp};

use crate::audit::{CHECKPOINT_ROWS, ChainedRow, Lanes, Prepared, store_checkpoint};
use crate::codec::int;
use crate::slots::HotRow;
use crate::vault::Keyring;

/// Rows per statement: more gains nothing (docs/performance.md), and texts come in powers of two only.
const MAX_ROWS: usize = 64;

pub(crate) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// A challenge to be inserted, encoded by the caller.
pub(crate) struct OpenRow {
    pub(crate) challenge: Arc<Challenge>,
    pub(crate) record: Vec<u8>,
}

/// An insert of many rows.
struct Insert {
    head: &'static str,
    columns: usize,
    tail: &'static str,
}

const CHALLENGES: Insert = Insert {
    head: "INSERT INTO challenges (id, tenant, integration, user_id, session, expires, record, number, opened)",
    columns: 9,
    tail: "",
};
const HOT: Insert = Insert {
    head: "INSERT INTO hot (tenant, user_id, version, cell, live, op_id)",
    columns: 6,
    tail: " ON CONFLICT (tenant, user_id) DO UPDATE SET version = excluded.version, cell = excluded.cell, \
           live = excluded.live, op_id = excluded.op_id",
};
const AUDIT: Insert = Insert {
    head: "INSERT INTO audit (tenant, lane, seq, at, public, private, salt, commitment, hash)",
    columns: 9,
    tail: "",
};

/// The texts of inserts by table and number of rows, made once.
#[derive(Default)]
pub(crate) struct Texts(HashMap<(&'static str, usize), Arc<str>>);

impl Texts {
    fn of(&mut self, insert: &Insert, rows: usize) -> Arc<str> {
        let text = self.0.entry((insert.head, rows)).or_insert_with(|| {
            let row = |row: usize| {
                let first = row * insert.columns + 1;
                let columns: Vec<String> = (first..first + insert.columns)
                    .map(|n| format!("${n}"))
                    .collect();
                format!("({})", columns.join(", "))
            };
            let rows: Vec<String> = (0..rows).map(row).collect();
            format!("{} VALUES {}{}", insert.head, rows.join(", "), insert.tail).into()
        });
        Arc::clone(text)
    }
}

/// What jobs work on.
pub(crate) struct Batch<'c> {
    /// The writing connection, inside the transaction.
    pub(crate) conn: &'c mut SqliteConnection,
    /// The clock as it was read when the transaction began: it alone judges what has expired.
    pub(crate) now: Timestamp,
    pub(crate) keys: &'c Keyring,
    lanes: &'c mut Lanes,
    texts: &'c mut Texts,
    opens: Vec<(Arc<OpenRow>, EventId)>,
    hot: Vec<HotRow>,
    audit: Vec<ChainedRow>,
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
        let (opens, hot, audit) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            conn,
            now,
            keys,
            lanes,
            texts,
            opens,
            hot,
            audit,
        }
    }

    /// The place that the tenant's next audit row gets.
    pub(crate) fn next_event(&mut self, tenant: TenantId) -> EventId {
        self.lanes.next(tenant)
    }

    /// Writes an audit row.
    pub(crate) fn record(&mut self, entry: &Prepared) -> EventId {
        let row = self.lanes.push(entry, self.now);
        let id = EventId::new(row.lane, row.seq);
        self.audit.push(row);
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
        let signed = self
            .lanes
            .checkpoint(tenant, self.now, self.keys.audit_signer());
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
        let Self {
            conn,
            texts,
            opens,
            hot,
            audit,
            ..
        } = self;
        insert(conn, texts, &CHALLENGES, &opens, bind_open).await?;
        insert(conn, texts, &HOT, &hot, bind_hot).await?;
        insert(conn, texts, &AUDIT, &audit, bind_audit).await
    }
}

async fn insert<T: Sync>(
    conn: &mut SqliteConnection,
    texts: &mut Texts,
    into: &Insert,
    mut rows: &[T],
    bind: for<'q> fn(Query<'q>, &'q T) -> Query<'q>,
) -> sqlx::Result<()> {
    while !rows.is_empty() {
        let (now, later) = rows.split_at(1 << rows.len().min(MAX_ROWS).ilog2());
        // the text holds nothing but our own constants and numbered places
        let query = sqlx::query(AssertSqlSafe(texts.of(into, now.len())));
        now.iter().fold(query, bind).execute(&mut *conn).await?;
        rows = later;
    }
    Ok(())
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
