//! Reading the audit: rows in lane order, filtered as they come.

use std::time::Duration;

use ports::{AuditFilter, AuditRow, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use statement::{ChallengeId, EventId, TenantId};

use crate::codec::{decode, id, int, time, uint, unavailable};

/// Rows taken from the disk at once.
const CHUNK: u32 = 500;

/// How far the clock may have been set back between a challenge's id and its first row.
const CLOCK_STEP: Duration = Duration::from_secs(60);

/// Rows that match, at most `filter.limit`. The index is the order alone: what is looked for lies in the
/// public part, and a second index would cost every ceremony more than a search costs now and then. The
/// database drops rows whose public part doesn't hold the wanted texts; what is left is judged here.
pub(crate) async fn read(
    conn: &mut SqliteConnection,
    filter: &AuditFilter,
) -> Result<Vec<AuditRow>, StoreError> {
    let mut found = Vec::new();
    let mut after = filter.after.map_or((0, 0), |after| after.position());
    // nothing is said about a challenge before it was made
    let made = |challenge: ChallengeId| challenge.created().minus(CLOCK_STEP);
    let made = filter.challenge.map(made);
    let since = int(filter.since.max(made).map_or(0, |since| since.millis()));
    let needles = needles(filter);
    while (found.len() as u64) < u64::from(filter.limit) {
        let rows = sqlx::query(
            "SELECT tenant, lane, seq, at, public, private FROM audit
             WHERE tenant = $1 AND (lane, seq) > ($2, $3) AND at >= $4
                 AND instr(public, $6) > 0 AND instr(public, $7) > 0
                 AND instr(public, $8) > 0 AND instr(public, $9) > 0
             ORDER BY lane, seq LIMIT $5",
        )
        .bind(filter.tenant.as_bytes().as_slice())
        .bind(int(after.0))
        .bind(int(after.1))
        .bind(since)
        .bind(CHUNK)
        .bind(needles[0].as_bytes())
        .bind(needles[1].as_bytes())
        .bind(needles[2].as_bytes())
        .bind(needles[3].as_bytes())
        .fetch_all(&mut *conn)
        .await
        .map_err(unavailable)?;
        for row in &rows {
            let row = audit_row(row).map_err(unavailable)?;
            after = row.id.position();
            if matches(filter, &row) {
                found.push(row);
            }
        }
        if rows.len() < CHUNK as usize {
            break;
        }
    }
    found.truncate(filter.limit as usize);
    Ok(found)
}

/// Texts that the public part of a matching row holds for sure; a brace is in every one.
fn needles(filter: &AuditFilter) -> [String; 4] {
    let any = |id: Option<String>| id.unwrap_or_else(|| "{".to_owned());
    [
        any(filter.event.map(|event| event.name().to_owned())),
        any(filter.user.map(|user| user.to_string())),
        any(filter.integration.map(|integration| integration.to_string())),
        any(filter.challenge.map(|challenge| challenge.to_string())),
    ]
}

fn matches(filter: &AuditFilter, row: &AuditRow) -> bool {
    let public = &row.public;
    filter.event.is_none_or(|event| public.event == event)
        && (filter.user.is_none() || public.user == filter.user)
        && (filter.integration.is_none() || public.integration == filter.integration)
        && (filter.challenge.is_none() || public.challenge == filter.challenge)
}

pub(crate) fn audit_row(row: &SqliteRow) -> sqlx::Result<AuditRow> {
    let private: Option<&[u8]> = row.try_get("private")?;
    let private = match private {
        None => None,
        Some([]) => Some(domain::audit::Private::default()),
        Some(json) => Some(serde_json::from_slice(json).map_err(|error| decode("private", error))?),
    };
    Ok(AuditRow {
        id: EventId::new(uint(row.try_get("lane")?), uint(row.try_get("seq")?)),
        tenant: id(row, "tenant", TenantId::from_slice)?,
        at: time(row.try_get("at")?),
        public: serde_json::from_slice(row.try_get("public")?)
            .map_err(|error| decode("public", error))?,
        private,
    })
}
