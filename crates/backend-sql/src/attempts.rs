//! Counted tries.

use domain::attempts::{Attempts, Budgets, Counter, Lane};
use ports::Counted;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use statement::{Timestamp, UserId};

use crate::batch::Batch;
use crate::codec::{counter as key, int, time};
use crate::writer::Job;

/// Counts a try before anything is compared.
pub(crate) struct CountAttempt(pub(crate) Counter, pub(crate) Budgets);

impl Job for CountAttempt {
    type Done = Counted;

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<Counted> {
        let key = key(self.0);
        let attempts = read(batch.conn().await?, &key).await?.unwrap_or_default();
        match attempts.count(self.0, &self.1, batch.now) {
            Ok(counted) => {
                write(batch.conn().await?, &key, counted).await?;
                Ok(Counted::Counted(counted))
            }
            Err(refusal) => {
                // the same row again: a refusal costs what a count does
                write(batch.conn().await?, &key, attempts).await?;
                Ok(Counted::Refused(refusal))
            }
        }
    }
}

/// Takes back a counted try.
pub(crate) struct UncountAttempt(pub(crate) Counter, pub(crate) Budgets);

impl Job for UncountAttempt {
    type Done = ();

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<()> {
        let key = key(self.0);
        let Some(attempts) = read(batch.conn().await?, &key).await? else {
            return Ok(());
        };
        let now = batch.now;
        keep(batch.conn().await?, &key, attempts.uncount(self.0, &self.1), now).await
    }
}

/// After an accepted TOTP code: no failure in any lane is consecutive, and this lane's try is given back.
pub(crate) async fn after_totp(
    batch: &mut Batch<'_>,
    user: UserId,
    lane: Lane,
    budgets: &Budgets,
) -> sqlx::Result<()> {
    let (first, last) = lanes(user);
    let rows = sqlx::query("SELECT * FROM attempts WHERE counter BETWEEN $1 AND $2")
        .bind(first)
        .bind(last)
        .fetch_all(batch.conn().await?)
        .await?;
    let used = key(Counter::Totp(user, lane));
    for row in rows {
        let (key, mut attempts) = (row.try_get::<Vec<u8>, _>("counter")?, attempts(&row)?);
        if key == used {
            attempts = attempts.given_back(lane, budgets);
        }
        let now = batch.now;
        keep(batch.conn().await?, &key, attempts.forgiven(), now).await?;
    }
    Ok(())
}

/// After a TOTP secret was replaced or removed: the caps start anew. The buckets don't, so that no change of
/// secrets buys guesses.
pub(crate) async fn forgive_totp(conn: &mut SqliteConnection, user: UserId) -> sqlx::Result<()> {
    let (first, last) = lanes(user);
    sqlx::query("UPDATE attempts SET failures = 0 WHERE counter BETWEEN $1 AND $2")
        .bind(first)
        .bind(last)
        .execute(conn)
        .await?;
    Ok(())
}

/// Of a user whom nobody knows there is nothing to guess.
pub(crate) async fn forget_totp(conn: &mut SqliteConnection, user: UserId) -> sqlx::Result<()> {
    let (first, last) = lanes(user);
    sqlx::query("DELETE FROM attempts WHERE counter BETWEEN $1 AND $2")
        .bind(first)
        .bind(last)
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn forget(conn: &mut SqliteConnection, counter: Counter) -> sqlx::Result<()> {
    delete(conn, &key(counter)).await
}

/// The keys of a user's lanes, first and last.
fn lanes(user: UserId) -> (Vec<u8>, Vec<u8>) {
    let [first, .., last] = Lane::ALL.map(|lane| key(Counter::Totp(user, lane)));
    (first, last)
}

async fn read(conn: &mut SqliteConnection, key: &[u8]) -> sqlx::Result<Option<Attempts>> {
    let row = sqlx::query("SELECT * FROM attempts WHERE counter = $1")
        .bind(key)
        .fetch_optional(conn)
        .await?;
    row.map(|row| attempts(&row)).transpose()
}

fn attempts(row: &SqliteRow) -> sqlx::Result<Attempts> {
    Ok(Attempts {
        failures: row.try_get("failures")?,
        not_before: time(row.try_get("not_before")?),
        day: time(row.try_get("day")?),
        month: time(row.try_get("month")?),
    })
}

/// Stores what still says something.
async fn keep(
    conn: &mut SqliteConnection,
    key: &[u8],
    attempts: Attempts,
    now: Timestamp,
) -> sqlx::Result<()> {
    if attempts.is_idle(now) {
        return delete(conn, key).await;
    }
    write(conn, key, attempts).await
}

async fn write(conn: &mut SqliteConnection, key: &[u8], attempts: Attempts) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO attempts (counter, failures, not_before, day, month)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (counter) DO UPDATE SET failures = excluded.failures,
             not_before = excluded.not_before, day = excluded.day, month = excluded.month",
    )
    .bind(key)
    .bind(attempts.failures)
    .bind(int(attempts.not_before.millis()))
    .bind(int(attempts.day.millis()))
    .bind(int(attempts.month.millis()))
    .execute(conn)
    .await?;
    Ok(())
}

async fn delete(conn: &mut SqliteConnection, key: &[u8]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM attempts WHERE counter = $1").bind(key).execute(conn).await?;
    Ok(())
}
