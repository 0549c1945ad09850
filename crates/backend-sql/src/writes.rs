//! What a batch writes, in one statement.
//!
//! Through sqlx each statement is a way to the connection's thread and back, and each result wakes the writer; a
//! transaction of four statements is six of them. So rows of all tables go into one view, whose triggers put each
//! where it belongs: one way, and a statement on its own is its own transaction.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Executor as _, SqliteConnection};
use statement::EventId;

use crate::audit::ChainedRow;
use crate::batch::OpenRow;
use crate::codec::int;
use crate::many::{Query, Texts};
use crate::slots::HotRow;
use crate::working::{Challenged, bind_challenged};

/// Rows of one statement at most.
pub(crate) const MOST: usize = 384;
/// How many rows a statement has places for: those left over are of no kind, and passed over. A text for each
/// number of rows would be more than can be kept prepared.
const SIZES: [usize; 17] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, MOST];
/// The view's columns: the kind, and as many as the widest row has.
const COLUMNS: usize = 11;
const HEAD: &str = "INSERT INTO writes";

/// Makes the view. It is the connection's own: nobody else writes.
///
/// Only decided challenges change, and their number goes with the decision. One that was there a moment ago and
/// isn't now fails the statement.
const VIEW: &str = "
CREATE TEMP VIEW writes (kind, a, b, c, d, e, f, g, h, i, j) AS
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;

CREATE TEMP TRIGGER change_challenge INSTEAD OF INSERT ON writes WHEN NEW.kind = 1 BEGIN
    UPDATE challenges SET decision = NEW.b, decided = NEW.c, decided_at = NEW.d, proof_kind = NEW.e,
        proof_id = NEW.f, lapsed_at = NEW.g, wrong_sessions = NEW.h, number = NULL WHERE id = NEW.a;
    SELECT RAISE(ABORT, 'a challenge that was to change is gone') WHERE changes() = 0;
END;

CREATE TEMP TRIGGER open_challenge INSTEAD OF INSERT ON writes WHEN NEW.kind = 2 BEGIN
    INSERT INTO challenges (id, tenant, integration, user_id, session, expires, record, number, opened)
    VALUES (NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f, NEW.g, NEW.h, NEW.i);
END;

CREATE TEMP TRIGGER put_hot INSTEAD OF INSERT ON writes WHEN NEW.kind = 3 BEGIN
    INSERT INTO hot (tenant, user_id, version, cell, live, op_id)
    VALUES (NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f)
    ON CONFLICT (tenant, user_id) DO UPDATE SET version = excluded.version, cell = excluded.cell,
        live = excluded.live, op_id = excluded.op_id;
END;

CREATE TEMP TRIGGER add_audit INSTEAD OF INSERT ON writes WHEN NEW.kind = 4 BEGIN
    INSERT INTO audit (tenant, lane, seq, at, public, private, salt, commitment, hash, redeems)
    VALUES (NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f, NEW.g, NEW.h, NEW.i, NEW.j);
END;
";

/// Makes a connection ready to write.
pub(crate) async fn prepare(conn: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(VIEW).execute(conn).await.map(drop)
}

/// A row of one of the tables.
#[derive(Clone, Copy)]
pub(crate) enum Row<'b> {
    Changed(&'b Challenged),
    Opened(&'b OpenRow, &'b EventId),
    Hot(&'b HotRow),
    Audit(&'b ChainedRow),
}

impl<'b> Row<'b> {
    fn bind(self, query: Query<'b>) -> Query<'b> {
        match self {
            Self::Changed(row) => none(bind_challenged(query.bind(1), row), 2),
            Self::Opened(row, opened) => none(bind_open(query.bind(2), row, opened), 1),
            Self::Hot(row) => none(bind_hot(query.bind(3), row), 4),
            Self::Audit(row) => bind_audit(query.bind(4), row),
        }
    }
}

/// Writes rows, at most [`MOST`] with one statement. Outside a transaction a single statement stores what it
/// writes before it ends; several need one around them.
pub(crate) async fn write(
    conn: &mut SqliteConnection,
    texts: &mut Texts,
    rows: &[Row<'_>],
) -> sqlx::Result<()> {
    for rows in rows.chunks(MOST) {
        let places = SIZES.into_iter().find(|size| *size >= rows.len()).unwrap_or(MOST);
        let text: Arc<str> = texts.of(HEAD, COLUMNS, places, "");
        // the text holds nothing but our own constants and places for values
        let query = sqlx::query(AssertSqlSafe(text));
        let query = rows.iter().fold(query, |query, row| row.bind(query));
        let query = none(query, (places - rows.len()) * COLUMNS);
        // its only result; to hear that there is no other would be another wake-up
        conn.fetch_many(query).try_next().await?.ok_or(sqlx::Error::WorkerCrashed)?;
    }
    Ok(())
}

/// Binds nothing to so many places.
fn none(query: Query<'_>, places: usize) -> Query<'_> {
    (0..places).fold(query, |query, _| query.bind(None::<i64>))
}

fn bind_open<'q>(query: Query<'q>, row: &'q OpenRow, opened: &'q EventId) -> Query<'q> {
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
