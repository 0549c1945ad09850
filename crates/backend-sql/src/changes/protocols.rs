//! What integrations of hosted protocols need: keys that sign tokens, and whose people are which users.

use domain::attempts::Counter;
use ports::{DirectoryError, NewTokenKey};
use sqlx::SqliteConnection;
use statement::{IntegrationId, Timestamp, UserId};

use super::{Changed, exactly_one};
use crate::attempts::forget;
use crate::codec::int;
use crate::people::Stale;
use crate::vault::kind_of;

pub(super) async fn add_token_key(conn: &mut SqliteConnection, key: &NewTokenKey) -> Changed {
    sqlx::query(
        "INSERT INTO secrets (kind, number, created, sealed, public, not_before)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(kind_of(key.algorithm) as u8)
    .bind(key.number)
    .bind(int(key.created.millis()))
    .bind(key.sealed.as_slice())
    .bind(key.certificate.as_slice())
    .bind(int(key.signs_from.millis()))
    .execute(conn)
    .await?;
    Ok(Stale::Nothing)
}

pub(super) async fn put_user_code(
    conn: &mut SqliteConnection,
    user: UserId,
    hash: Option<[u8; 32]>,
) -> Changed<()> {
    forget(conn, Counter::UserCode(user)).await?;
    let query = match hash {
        Some(hash) => sqlx::query(
            "INSERT INTO user_codes (user_id, hash) VALUES ($1, $2)
             ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash",
        )
        .bind(user.as_bytes().as_slice())
        .bind(hash.to_vec()),
        None => sqlx::query("DELETE FROM user_codes WHERE user_id = $1")
            .bind(user.as_bytes().as_slice()),
    };
    query.execute(conn).await?;
    Ok(())
}

pub(super) async fn link(
    conn: &mut SqliteConnection,
    integration: IntegrationId,
    subject: &str,
    user: UserId,
    at: Timestamp,
) -> Changed {
    let done = sqlx::query(
        "INSERT INTO links (integration, subject, user_id, created)
         SELECT i.id, $2, u.id, $4 FROM integrations i JOIN users u ON u.tenant = i.tenant
         WHERE i.id = $1 AND u.id = $3
         ON CONFLICT (integration, subject) DO UPDATE
         SET user_id = excluded.user_id, created = excluded.created",
    )
    .bind(integration.as_bytes().as_slice())
    .bind(subject)
    .bind(user.as_bytes().as_slice())
    .bind(int(at.millis()))
    .execute(conn)
    .await?;
    if done.rows_affected() == 0 {
        return Err(DirectoryError::NotFound.into());
    }
    Ok(Stale::Nothing)
}

pub(super) async fn unlink(
    conn: &mut SqliteConnection,
    integration: IntegrationId,
    subject: &str,
) -> Changed {
    let done = sqlx::query("DELETE FROM links WHERE integration = $1 AND subject = $2")
        .bind(integration.as_bytes().as_slice())
        .bind(subject)
        .execute(conn)
        .await?;
    exactly_one(&done)?;
    Ok(Stale::Nothing)
}
