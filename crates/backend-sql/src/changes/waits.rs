//! What doesn't count yet, and how that ends.

use domain::attempts::Counter;
use domain::directory::{SecondRequest, StoredCode, TotpFactor, Wait};
use ports::DirectoryError;
use sqlx::{Row as _, SqliteConnection};
use statement::{DeviceId, FactorId, Timestamp, UserId};

use super::{Changed, exactly_one, insert_codes, insert_totp, user_exists};
use crate::attempts::forgive_totp;
use crate::codec::{counter, id, int};
use crate::people::Stale;
use crate::rows;

pub(super) async fn add_totp(
    conn: &mut SqliteConnection,
    user: UserId,
    totp: &TotpFactor,
    wait: &Wait,
    now: Timestamp,
) -> Changed {
    user_exists(conn, user).await?;
    // what has waited long enough isn't lost to what waits next
    end_all(conn, user, now).await?;
    sqlx::query("DELETE FROM totp WHERE user_id = $1 AND waits = 1")
        .bind(user.as_bytes().as_slice())
        .execute(&mut *conn)
        .await?;
    insert_totp(conn, user, totp, Some(wait)).await?;
    Ok(Stale::User(user))
}

pub(super) async fn add_codes(
    conn: &mut SqliteConnection,
    user: UserId,
    codes: &[StoredCode],
    wait: &Wait,
    now: Timestamp,
) -> Changed {
    user_exists(conn, user).await?;
    end_all(conn, user, now).await?;
    sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1 AND wait_by IS NOT NULL")
        .bind(user.as_bytes().as_slice())
        .execute(&mut *conn)
        .await?;
    insert_codes(conn, user, codes, Some(wait)).await?;
    Ok(Stale::User(user))
}

/// Ends every wait of a user whose time has come.
pub(super) async fn end_all(conn: &mut SqliteConnection, user: UserId, at: Timestamp) -> Changed {
    sqlx::query(
        "UPDATE devices SET wait_until = NULL, wait_by = NULL WHERE user_id = $1 AND wait_until <= $2",
    )
    .bind(user.as_bytes().as_slice())
    .bind(int(at.millis()))
    .execute(&mut *conn)
    .await?;
    let secret = sqlx::query("SELECT 1 FROM totp WHERE user_id = $1 AND wait_until <= $2")
        .bind(user.as_bytes().as_slice())
        .bind(int(at.millis()))
        .fetch_optional(&mut *conn)
        .await?;
    if secret.is_some() {
        replace_totp(conn, user).await?;
    }
    let codes = sqlx::query("SELECT 1 FROM recovery_codes WHERE user_id = $1 AND wait_until <= $2")
        .bind(user.as_bytes().as_slice())
        .bind(int(at.millis()))
        .fetch_optional(&mut *conn)
        .await?;
    if codes.is_some() {
        replace_codes(conn, user).await?;
    }
    Ok(Stale::User(user))
}

/// Lets what waits for time wait for a second person.
pub(crate) async fn hold_waits(conn: &mut SqliteConnection, user: UserId) -> sqlx::Result<()> {
    for sql in [
        "UPDATE devices SET wait_until = NULL WHERE user_id = $1 AND wait_until IS NOT NULL",
        "UPDATE totp SET wait_until = NULL WHERE user_id = $1 AND wait_until IS NOT NULL",
        "UPDATE recovery_codes SET wait_until = NULL WHERE user_id = $1 AND wait_until IS NOT NULL",
    ] {
        sqlx::query(sql).bind(user.as_bytes().as_slice()).execute(&mut *conn).await?;
    }
    Ok(())
}

pub(super) async fn end_of_device(conn: &mut SqliteConnection, device: DeviceId) -> Changed {
    let row = sqlx::query(
        "UPDATE devices SET wait_until = NULL, wait_by = NULL
         WHERE id = $1 AND revoked IS NULL AND wait_by IS NOT NULL RETURNING user_id",
    )
    .bind(device.as_bytes().as_slice())
    .fetch_optional(conn)
    .await?;
    let row = row.ok_or(DirectoryError::NotFound)?;
    Ok(Stale::User(id(&row, "user_id", UserId::from_slice)?))
}

pub(super) async fn end_of_factor(
    conn: &mut SqliteConnection,
    user: UserId,
    factor: FactorId,
) -> Changed {
    for (table, column) in [(Table::Totp, "id"), (Table::Codes, "factor")] {
        let row = sqlx::query(table.waiting())
            .bind(user.as_bytes().as_slice())
            .fetch_optional(&mut *conn)
            .await?;
        let waiting = row.map(|row| row.try_get::<Vec<u8>, _>(column)).transpose()?;
        if waiting.as_deref() == Some(factor.as_bytes().as_slice()) {
            match table {
                Table::Totp => replace_totp(conn, user).await?,
                Table::Codes => replace_codes(conn, user).await?,
            }
            return Ok(Stale::User(user));
        }
    }
    Err(DirectoryError::NotFound.into())
}

#[derive(Clone, Copy)]
enum Table {
    Totp,
    Codes,
}

impl Table {
    const fn waiting(self) -> &'static str {
        match self {
            Self::Totp => "SELECT id FROM totp WHERE user_id = $1 AND waits = 1",
            Self::Codes => {
                "SELECT factor FROM recovery_codes WHERE user_id = $1 AND wait_by IS NOT NULL LIMIT 1"
            }
        }
    }
}

/// Puts the secret that waits in the place of the one before; its caps start anew.
async fn replace_totp(conn: &mut SqliteConnection, user: UserId) -> Changed<()> {
    for sql in [
        "DELETE FROM totp WHERE user_id = $1 AND waits = 0",
        "UPDATE totp SET waits = 0, wait_until = NULL, wait_by = NULL WHERE user_id = $1",
    ] {
        sqlx::query(sql).bind(user.as_bytes().as_slice()).execute(&mut *conn).await?;
    }
    forgive_totp(conn, user).await?;
    Ok(())
}

/// Puts the codes that wait in the place of those before. What was counted was counted against those: nothing
/// is counted against a code that waits.
async fn replace_codes(conn: &mut SqliteConnection, user: UserId) -> Changed<()> {
    sqlx::query("DELETE FROM attempts WHERE counter BETWEEN $1 AND $2")
        .bind(counter(Counter::RecoveryCode(user, [0; 5])))
        .bind(counter(Counter::RecoveryCode(user, [0xff; 5])))
        .execute(&mut *conn)
        .await?;
    for sql in [
        "DELETE FROM recovery_codes WHERE user_id = $1 AND wait_by IS NULL",
        "UPDATE recovery_codes SET wait_until = NULL, wait_by = NULL WHERE user_id = $1",
    ] {
        sqlx::query(sql).bind(user.as_bytes().as_slice()).execute(&mut *conn).await?;
    }
    Ok(())
}

pub(super) async fn ask_second(
    conn: &mut SqliteConnection,
    user: UserId,
    request: &SecondRequest,
) -> Changed {
    let done =
        sqlx::query("UPDATE users SET asked_at = $2, asked_by = $3, asked_for = $4 WHERE id = $1")
            .bind(user.as_bytes().as_slice())
            .bind(int(request.at.millis()))
            .bind(request.by.as_str())
            .bind(rows::takes_two_code(request.what))
            .execute(conn)
            .await?;
    exactly_one(&done)?;
    Ok(Stale::User(user))
}
