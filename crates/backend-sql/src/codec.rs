//! Between domain values and columns.

use std::sync::Arc;

use domain::attempts::Counter;
use domain::challenge::{
    Challenge, Collect, Decided, Decision, Methods, Mode, Proof, Purpose, State,
};
use domain::cookie::CookieId;
use domain::guard::{Cell, Familiarity};
use ports::{LedgerRecord, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use statement::{ChallengeId, DeviceId, EventId, FactorId, IdError, Timestamp};

/// As a database integer. Values past `i64::MAX` saturate: times and counts never come near.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// From a database integer that is never negative.
pub(crate) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

pub(crate) fn time(value: i64) -> Timestamp {
    Timestamp::from_millis(uint(value))
}

/// A row that can't be: written by nobody that we know.
pub(crate) fn inconsistent(error: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent(error.to_string())
}

/// An error of the database as callers see it. Its text holds no values of rows.
pub(crate) fn unavailable(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::PoolTimedOut => StoreError::Overloaded,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => inconsistent(error),
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// An id out of a column.
pub(crate) fn id<T>(
    row: &SqliteRow,
    column: &str,
    from: impl Fn(&[u8]) -> Result<T, IdError>,
) -> sqlx::Result<T> {
    from(row.try_get(column)?).map_err(|error| decode(column, error))
}

/// Bytes of fixed length out of a column.
pub(crate) fn bytes<const N: usize>(row: &SqliteRow, column: &str) -> sqlx::Result<[u8; N]> {
    let value: &[u8] = row.try_get(column)?;
    value.try_into().map_err(|error| decode(column, error))
}

pub(crate) fn decode(
    column: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) }
}

/// A stored value that has no meaning.
#[derive(Debug, thiserror::Error)]
#[error("no such {0}")]
pub(crate) struct NoSuch(pub(crate) &'static str);

/// What is stored of a challenge beside its columns. A new shape is a new variant at the end.
#[derive(Serialize, Deserialize)]
enum Record {
    V1(RecordV1),
    /// One that returns.
    V2(RecordV1),
}

#[derive(Serialize, Deserialize)]
struct RecordV1 {
    request: [u8; 32],
    purpose: Purpose,
    methods: Methods,
    digits: u8,
    mode: Mode,
    created: Timestamp,
    document: Vec<u8>,
    signature: Vec<u8>,
    signing_key: u32,
    first_factor: bool,
    cookie: Option<CookieId>,
    familiarity: Familiarity,
}

/// The record column of a challenge.
pub(crate) fn record(challenge: &Challenge) -> Result<Vec<u8>, StoreError> {
    let record = RecordV1 {
        request: challenge.request,
        purpose: challenge.purpose,
        methods: challenge.methods,
        digits: challenge.digits,
        mode: challenge.mode,
        created: challenge.created,
        document: challenge.document.clone(),
        signature: challenge.signature.clone(),
        signing_key: challenge.signing_key,
        first_factor: challenge.first_factor,
        cookie: challenge.cookie,
        familiarity: challenge.familiarity,
    };
    let record = if challenge.returns { Record::V2(record) } else { Record::V1(record) };
    postcard::to_stdvec(&record).map_err(inconsistent)
}

/// The columns of a challenge; `lapsed` weighs in what happened to its device and user.
pub(crate) const CHALLENGE_COLUMNS: &str = "c.id, c.tenant, c.integration, c.user_id, c.session, \
    c.expires, c.record, c.number, c.opened, c.decision, c.decided, c.decided_at, c.proof_kind, c.proof_id, \
    COALESCE(c.redeemed_at, (SELECT a.at FROM audit a WHERE a.redeems = c.id)) AS redeemed_at, \
    (c.lapsed_at IS NOT NULL \
     OR (c.proof_kind IN (1, 4, 5) AND NOT EXISTS \
         (SELECT 1 FROM devices d WHERE d.id = substr(c.proof_id, 1, 16) AND d.revoked IS NULL)) \
     OR EXISTS (SELECT 1 FROM users u WHERE u.id = c.user_id AND u.reset_at >= c.decided_at)) AS lapsed";

/// A challenge out of a row; its number is empty once it is decided.
pub(crate) fn challenge(row: &SqliteRow) -> sqlx::Result<Challenge> {
    let record =
        postcard::from_bytes(row.try_get("record")?).map_err(|error| decode("record", error))?;
    let (record, returns) = match record {
        Record::V1(record) => (record, false),
        Record::V2(record) => (record, true),
    };
    Ok(Challenge {
        id: id(row, "id", ChallengeId::from_slice)?,
        tenant: id(row, "tenant", statement::TenantId::from_slice)?,
        integration: id(row, "integration", statement::IntegrationId::from_slice)?,
        user: id(row, "user_id", statement::UserId::from_slice)?,
        session: bytes(row, "session")?,
        request: record.request,
        purpose: record.purpose,
        methods: record.methods,
        digits: record.digits,
        mode: record.mode,
        created: record.created,
        expires: time(row.try_get("expires")?),
        number: row.try_get::<Option<Vec<u8>>, _>("number")?.unwrap_or_default(),
        document: record.document,
        signature: record.signature,
        signing_key: record.signing_key,
        first_factor: record.first_factor,
        cookie: record.cookie,
        familiarity: record.familiarity,
        returns,
    })
}

/// Where the challenge of a row stands.
pub(crate) fn state(row: &SqliteRow) -> sqlx::Result<State> {
    let code: u8 = row.try_get("decision")?;
    if code == 0 {
        return Ok(State::Pending);
    }
    let decision =
        Decision::from_code(code).ok_or_else(|| decode("decision", NoSuch("decision")))?;
    let redeemed: Option<i64> = row.try_get("redeemed_at")?;
    let collect = match (redeemed, row.try_get("lapsed")?) {
        (Some(_), _) => Collect::Redeemed,
        (None, true) => Collect::Lapsed,
        (None, false) => Collect::Open,
    };
    Ok(State::Decided(Decided {
        decision,
        at: time(row.try_get("decided_at")?),
        proof: proof(row)?,
        collect,
    }))
}

pub(crate) fn ledger_record(row: &SqliteRow) -> sqlx::Result<LedgerRecord> {
    Ok(LedgerRecord {
        challenge: Arc::new(challenge(row)?),
        state: state(row)?,
        opened: id(row, "opened", EventId::from_slice)?,
        decided: maybe_event(row, "decided")?,
    })
}

/// The audit row that a column names, if it names one.
pub(crate) fn maybe_event(row: &SqliteRow, column: &str) -> sqlx::Result<Option<EventId>> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    let event = bytes.map(EventId::from_slice).transpose();
    event.map_err(|error| decode(column, error))
}

/// The two columns of a proof; the second is empty if there is none.
pub(crate) fn proof_columns(proof: Option<Proof>) -> (u8, Vec<u8>) {
    match proof {
        None => (0, Vec::new()),
        Some(Proof::Push(device)) => (1, device.as_bytes().to_vec()),
        Some(Proof::Totp(factor)) => (2, factor.as_bytes().to_vec()),
        Some(Proof::RecoveryCode(factor)) => (3, factor.as_bytes().to_vec()),
        Some(Proof::Both(device, factor)) => (4, two_ids(device, factor)),
        Some(Proof::BothByRecoveryCode(device, factor)) => (5, two_ids(device, factor)),
    }
}

fn two_ids(device: DeviceId, factor: FactorId) -> Vec<u8> {
    [device.as_bytes().as_slice(), factor.as_bytes()].concat()
}

fn device_and_factor(row: &SqliteRow) -> sqlx::Result<(DeviceId, FactorId)> {
    let ids: [u8; DeviceId::LEN + FactorId::LEN] = bytes(row, "proof_id")?;
    let (device, factor) = ids.split_at(DeviceId::LEN);
    let wrong = |error| decode("proof_id", error);
    let device = DeviceId::from_slice(device).map_err(wrong)?;
    Ok((device, FactorId::from_slice(factor).map_err(wrong)?))
}

fn proof(row: &SqliteRow) -> sqlx::Result<Option<Proof>> {
    Ok(match row.try_get::<u8, _>("proof_kind")? {
        0 => None,
        1 => Some(Proof::Push(id(row, "proof_id", DeviceId::from_slice)?)),
        2 => Some(Proof::Totp(id(row, "proof_id", FactorId::from_slice)?)),
        3 => Some(Proof::RecoveryCode(id(row, "proof_id", FactorId::from_slice)?)),
        4 => {
            let (device, factor) = device_and_factor(row)?;
            Some(Proof::Both(device, factor))
        }
        5 => {
            let (device, factor) = device_and_factor(row)?;
            Some(Proof::BothByRecoveryCode(device, factor))
        }
        _ => return Err(decode("proof_kind", NoSuch("kind of proof"))),
    })
}

/// A counter's key: its kind, whose it is, and what of theirs, so that all of one user's lie together.
pub(crate) fn counter(counter: Counter) -> Vec<u8> {
    match counter {
        Counter::Totp(user, lane) => [&[1], user.as_bytes().as_slice(), &[lane.code()]].concat(),
        Counter::RecoveryCode(user, code) => [&[2], user.as_bytes().as_slice(), &code].concat(),
        Counter::Device(device) => [&[3], device.as_bytes().as_slice()].concat(),
        Counter::UserCode(user) => [&[4], user.as_bytes().as_slice()].concat(),
    }
}

/// A guard cell as it is stored. A new shape is a new variant at the end.
#[derive(Serialize, Deserialize)]
enum StoredCell {
    V1(Cell),
}

pub(crate) fn cell_to_bytes(cell: &Cell) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(&StoredCell::V1(cell.clone())).map_err(inconsistent)
}

pub(crate) fn cell_from_bytes(bytes: &[u8]) -> sqlx::Result<Cell> {
    let StoredCell::V1(cell) =
        postcard::from_bytes(bytes).map_err(|error| decode("cell", error))?;
    Ok(cell)
}
