//! What a batch writes, in one statement.
//!
//! Through sqlx each statement is a way to the connection's thread and back, and each result wakes the writer; a
//! transaction of four statements is six of them. So rows of all tables go into one view, whose triggers put each
//! where it belongs: one way, and a statement on its own is its own transaction.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Executor as _, SqliteConnection};
use statement::{ChallengeId, EventId, IntegrationId, TenantId, Timestamp, UserId};

use crate::audit::ChainedRow;
use crate::batch::OpenRow;
use crate::codec::{int, proof_columns};
use crate::many::{Query, Texts};
use crate::slots::HotRow;
use crate::working::Challenged;

/// Rows of one statement at most.
pub(crate) const MOST: usize = 384;
/// How many rows a statement has places for: those left over are of no kind, and passed over. A text for each
/// number of rows would be more than can be kept prepared.
const SIZES: [usize; 17] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, MOST];
/// The view's columns: the kind, the row's bytes, and as many of its numbers as the widest row has.
const COLUMNS: usize = 7;
const HEAD: &str = "INSERT INTO writes";

/// Makes the view. It is the connection's own: nobody else writes.
///
/// All bytes of a row come as one value, which the triggers take apart: each blob that is bound costs two allocations
/// here and one in SQLite, and is freed by another thread. What has a length of its own comes last.
///
/// Only decided challenges change, and their number goes with the decision. One that was there a moment ago and
/// isn't now fails the statement.
const VIEW: &str = "
CREATE TEMP VIEW writes (kind, bytes, a, b, c, d, e) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL;

CREATE TEMP TRIGGER change_challenge INSTEAD OF INSERT ON writes WHEN NEW.kind = 1 BEGIN
    UPDATE challenges SET decision = NEW.a, decided = nullif(substr(NEW.bytes, 25, 16), zeroblob(16)), decided_at = NEW.b,
        proof_kind = NEW.c, proof_id = nullif(substr(NEW.bytes, 41), x''), lapsed_at = NEW.d,
        wrong_sessions = NEW.e, number = NULL WHERE id = substr(NEW.bytes, 1, 24);
    SELECT RAISE(ABORT, 'a challenge that was to change is gone') WHERE changes() = 0;
END;

CREATE TEMP TRIGGER open_challenge INSTEAD OF INSERT ON writes WHEN NEW.kind = 2 BEGIN
    INSERT INTO challenges (id, tenant, integration, user_id, session, opened, number, record, expires)
    VALUES (substr(NEW.bytes, 1, 24), substr(NEW.bytes, 25, 16), substr(NEW.bytes, 41, 16),
        substr(NEW.bytes, 57, 16), substr(NEW.bytes, 73, 32), substr(NEW.bytes, 105, 16),
        substr(NEW.bytes, 121, NEW.b), substr(NEW.bytes, 121 + NEW.b), NEW.a);
END;

CREATE TEMP TRIGGER put_hot INSTEAD OF INSERT ON writes WHEN NEW.kind = 3 BEGIN
    INSERT INTO hot (tenant, user_id, op_id, live, cell, version)
    VALUES (substr(NEW.bytes, 1, 16), substr(NEW.bytes, 17, 16), substr(NEW.bytes, 33, 16),
        substr(NEW.bytes, 49, NEW.b), substr(NEW.bytes, 49 + NEW.b), NEW.a)
    ON CONFLICT (tenant, user_id) DO UPDATE SET version = excluded.version, cell = excluded.cell,
        live = excluded.live, op_id = excluded.op_id;
END;

CREATE TEMP TRIGGER add_audit INSTEAD OF INSERT ON writes WHEN NEW.kind = 4 BEGIN
    INSERT INTO audit (tenant, salt, commitment, hash, redeems, public, private, lane, seq, at)
    VALUES (substr(NEW.bytes, 1, 16), substr(NEW.bytes, 17, 16), substr(NEW.bytes, 33, 32),
        substr(NEW.bytes, 65, 32), nullif(substr(NEW.bytes, 97, NEW.d), x''),
        substr(NEW.bytes, 97 + NEW.d, NEW.e), substr(NEW.bytes, 97 + NEW.d + NEW.e), NEW.a, NEW.b, NEW.c);
END;
";

// the triggers count on these
const _: () = assert!(ChallengeId::LEN == 24 && TenantId::LEN == 16 && UserId::LEN == 16);
const _: () = assert!(IntegrationId::LEN == 16 && EventId::LEN == 16);

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

impl Row<'_> {
    fn bind(self, query: Query<'_>) -> Query<'_> {
        let (kind, (bytes, numbers)) = match self {
            Self::Changed(row) => (1, changed(row)),
            Self::Opened(row, opened) => (2, open(row, opened)),
            Self::Hot(row) => (3, hot(row)),
            Self::Audit(row) => (4, audit(row)),
        };
        numbers.into_iter().fold(query.bind(kind).bind(bytes), |query, number| query.bind(number))
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

/// A row's bytes and its numbers, as the triggers read them.
type Packed = (Vec<u8>, [Option<i64>; COLUMNS - 2]);

fn len(bytes: &[u8]) -> Option<i64> {
    Some(int(bytes.len() as u64))
}

fn changed(row: &Challenged) -> Packed {
    let decided = row.decided();
    let (kind, proof) = proof_columns(decided.and_then(|decided| decided.proof));
    let event = row.event.map_or([0; EventId::LEN], |event| *event.as_bytes());
    let moment = |at: Option<Timestamp>| at.map(|at| int(at.millis()));
    (
        [row.id.as_bytes().as_slice(), &event, &proof].concat(),
        [
            Some(decided.map_or(0, |decided| decided.decision.code().into())),
            moment(decided.map(|decided| decided.at)),
            Some(kind.into()),
            moment(row.lapsed_at),
            Some(row.wrong_sessions.into()),
        ],
    )
}

fn open(row: &OpenRow, opened: &EventId) -> Packed {
    let challenge = &row.challenge;
    (
        [
            challenge.id.as_bytes().as_slice(),
            challenge.tenant.as_bytes(),
            challenge.integration.as_bytes(),
            challenge.user.as_bytes(),
            &challenge.session,
            opened.as_bytes(),
            &challenge.number,
            &row.record,
        ]
        .concat(),
        [Some(int(challenge.expires.millis())), len(&challenge.number), None, None, None],
    )
}

fn hot(row: &HotRow) -> Packed {
    (
        [row.tenant.as_bytes().as_slice(), row.user.as_bytes(), &row.op_id, &row.live, &row.cell]
            .concat(),
        [Some(int(row.version)), len(&row.live), None, None, None],
    )
}

fn audit(row: &ChainedRow) -> Packed {
    let (private, salt, commitment) = row.private();
    let redeems = row.redeems.as_ref().map_or(&[][..], |id| id.as_bytes());
    (
        [
            row.tenant.as_bytes().as_slice(),
            salt,
            commitment,
            &row.hash,
            redeems,
            row.public(),
            private,
        ]
        .concat(),
        [
            Some(int(row.lane)),
            Some(int(row.seq)),
            Some(int(row.at.millis())),
            len(redeems),
            len(row.public()),
        ],
    )
}
