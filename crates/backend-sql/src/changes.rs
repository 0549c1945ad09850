//! Changes of the directory: each checks its conditions and writes inside a savepoint, so that a refusal leaves
//! nothing behind and its neighbours in the batch untouched.

mod protocols;
mod waits;

pub(crate) use waits::hold_waits;

use std::time::Duration;

use domain::attempts::Counter;
use domain::directory::{
    ApiKey, Device, Integration, MAX_DEVICES, Scope, StoredCode, Tenant, TotpFactor, User, Wait,
};
use domain::ticket::{Claim, Ticket};
use ports::{Change, DirectoryError};
use sqlx::{Row as _, SqliteConnection};
use statement::{DeviceId, IntegrationId, TicketId, Timestamp, UserId};

use crate::attempts::forgive_totp;
use crate::audit::Prepared;
use crate::batch::Batch;
use crate::codec::{counter, id, int};
use crate::memory::Memory;
use crate::notices;
use crate::people::Stale;
use crate::rows::{CANCELLED, CLAIMED, OPEN, USED};
use crate::settle::raise_epoch;
use crate::writer::Job;

/// Live keys of an integration: the old one and its successor.
const MAX_KEYS: i64 = 2;

pub(crate) struct Apply {
    pub(crate) change: Change,
    pub(crate) audit: Vec<Prepared>,
}

impl Job for Apply {
    type Done = Result<Stale, DirectoryError>;

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<Self::Done> {
        // decisions depend on what changes here
        batch.flush_challenges().await?;
        let now = batch.now;
        let conn = batch.conn().await?;
        sqlx::query("SAVEPOINT change").execute(&mut *conn).await?;
        match apply(conn, &self.change, now).await {
            Ok(stale) => {
                sqlx::query("RELEASE change").execute(conn).await?;
                for entry in &self.audit {
                    batch.record(entry);
                }
                Ok(Ok(stale))
            }
            Err(Refused::Because(refusal)) => {
                sqlx::query("ROLLBACK TO change; RELEASE change").execute(conn).await?;
                Ok(Err(refusal))
            }
            Err(Refused::Sql(error)) => Err(error),
        }
    }

    fn committed(self, done: &Self::Done, memory: &Memory) {
        if let Ok(stale) = done {
            memory.people.forget(stale);
        }
    }
}

enum Refused {
    Because(DirectoryError),
    Sql(sqlx::Error),
}

impl From<DirectoryError> for Refused {
    fn from(refusal: DirectoryError) -> Self {
        Self::Because(refusal)
    }
}

impl From<sqlx::Error> for Refused {
    /// A name or id that is taken, and a parent that isn't there, are the caller's business.
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().map(sqlx::error::DatabaseError::kind) {
            Some(sqlx::error::ErrorKind::UniqueViolation) => {
                Self::Because(DirectoryError::NameTaken)
            }
            Some(sqlx::error::ErrorKind::ForeignKeyViolation) => {
                Self::Because(DirectoryError::NotFound)
            }
            _ => Self::Sql(error),
        }
    }
}

type Changed<T = Stale> = Result<T, Refused>;

async fn apply(conn: &mut SqliteConnection, change: &Change, now: Timestamp) -> Changed {
    match change {
        Change::CreateTenant(tenant) => create_tenant(conn, tenant).await,
        Change::CreateIntegration(integration, key) => {
            create_integration(conn, integration).await?;
            create_key(conn, key, now).await
        }
        Change::CreateKey(key) => create_key(conn, key, now).await,
        Change::RevokeKey(integration, hint, at) => revoke_key(conn, *integration, hint, *at).await,
        Change::CreateUser(user) => create_user(conn, user).await,
        Change::SetBreakGlass(user, on) => set_break_glass(conn, *user, *on).await,
        Change::SetTtl(user, ttl) => set_ttl(conn, *user, *ttl).await,
        Change::CreateTicket(ticket) => create_ticket(conn, ticket).await,
        Change::ClaimTicket(ticket, claim) => claim_ticket(conn, *ticket, claim, now).await,
        Change::CancelTicket(ticket) => cancel_ticket(conn, *ticket).await,
        Change::Enrol { ticket, device, totp } => {
            enrol(conn, *ticket, device, now).await?;
            if let Some(totp) = totp {
                put_totp(conn, device.user, totp).await?;
            }
            Ok(Stale::User(device.user))
        }
        Change::AddTotp(user, totp, wait) => waits::add_totp(conn, *user, totp, wait, now).await,
        Change::AddRecoveryCodes(user, codes, wait) => {
            waits::add_codes(conn, *user, codes, wait, now).await
        }
        Change::EndWaits(user, at) => waits::end_all(conn, *user, *at).await,
        Change::HoldWaits(user) => {
            waits::hold_waits(conn, *user).await?;
            Ok(Stale::User(*user))
        }
        Change::EndDeviceWait(device) => waits::end_of_device(conn, *device).await,
        Change::EndFactorWait(user, factor) => waits::end_of_factor(conn, *user, *factor).await,
        Change::AskSecond(user, request) => waits::ask_second(conn, *user, request).await,
        Change::RevokeDevice(device, at) => revoke_device(conn, *device, *at).await,
        Change::PutTotp(user, totp) => put_totp(conn, *user, totp).await,
        Change::LockTotp(user) => lock_totp(conn, *user).await,
        Change::PutRecoveryCodes(user, codes) => put_codes(conn, *user, codes).await,
        // approvals are held against this time: the ledger's clock has the word, if it is ahead
        Change::ResetUser(user, at) => reset_user(conn, *user, (*at).max(now)).await,
        Change::AddTokenKey(key) => protocols::add_token_key(conn, key).await,
        Change::Link(integration, subject, user, at) => {
            protocols::link(conn, *integration, subject, *user, *at).await
        }
        Change::Unlink(integration, subject) => {
            protocols::unlink(conn, *integration, subject).await
        }
        Change::PutUserCode(user, hash) => {
            user_exists(conn, *user).await?;
            protocols::put_user_code(conn, *user, *hash).await?;
            Ok(Stale::Nothing)
        }
        Change::SeeNotices(device, up_to) => {
            notices::see(conn, *device, *up_to).await?;
            Ok(Stale::Nothing)
        }
        Change::EndCookies(user) => {
            raise_epoch(conn, *user).await?;
            Ok(Stale::User(*user))
        }
    }
}

/// One row must have changed, or there was no such thing in the right state.
fn exactly_one(done: &sqlx::sqlite::SqliteQueryResult) -> Changed<()> {
    if done.rows_affected() == 0 { Err(DirectoryError::NotFound.into()) } else { Ok(()) }
}

pub(crate) async fn insert_tenant(
    conn: &mut SqliteConnection,
    tenant: &Tenant,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO tenants (id, name, created) VALUES ($1, $2, $3)")
        .bind(tenant.id.as_bytes().as_slice())
        .bind(tenant.name.as_str())
        .bind(int(tenant.created.millis()))
        .execute(conn)
        .await?;
    Ok(())
}

async fn create_tenant(conn: &mut SqliteConnection, tenant: &Tenant) -> Changed {
    insert_tenant(conn, tenant).await?;
    Ok(Stale::Nothing)
}

async fn create_integration(conn: &mut SqliteConnection, integration: &Integration) -> Changed<()> {
    let purposes: Vec<&str> = integration.purposes.iter().map(|purpose| purpose.name()).collect();
    let scopes: Vec<&str> = integration.scopes.iter().map(|scope| Scope::name(*scope)).collect();
    let protocol = serde_json::to_string(&integration.protocol)
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "INSERT INTO integrations
             (id, tenant, name, purposes, methods, scopes, verifies_first_factor, reveal_users, created, protocol)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(integration.id.as_bytes().as_slice())
    .bind(integration.tenant.as_bytes().as_slice())
    .bind(integration.name.as_str())
    .bind(purposes.join(" "))
    .bind(integration.methods.bits())
    .bind(scopes.join(" "))
    .bind(integration.verifies_first_factor)
    .bind(integration.reveal_users)
    .bind(int(integration.created.millis()))
    .bind(protocol)
    .execute(conn)
    .await?;
    Ok(())
}

async fn create_key(conn: &mut SqliteConnection, key: &ApiKey, now: Timestamp) -> Changed {
    let live: i64 = sqlx::query(
        "SELECT COUNT(*) FROM api_keys
         WHERE integration = $1 AND revoked IS NULL AND (expires IS NULL OR expires > $2)",
    )
    .bind(key.integration.as_bytes().as_slice())
    .bind(int(now.millis()))
    .fetch_one(&mut *conn)
    .await?
    .try_get(0)?;
    if live >= MAX_KEYS {
        return Err(DirectoryError::Limit.into());
    }
    sqlx::query(
        "INSERT INTO api_keys (hash, integration, hint, created, expires, revoked)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(key.hash.as_slice())
    .bind(key.integration.as_bytes().as_slice())
    .bind(key.hint.as_str())
    .bind(int(key.created.millis()))
    .bind(key.expires.map(|at| int(at.millis())))
    .bind(key.revoked.map(|at| int(at.millis())))
    .execute(conn)
    .await?;
    Ok(Stale::Keys)
}

async fn revoke_key(
    conn: &mut SqliteConnection,
    integration: IntegrationId,
    hint: &str,
    at: Timestamp,
) -> Changed {
    let done = sqlx::query(
        "UPDATE api_keys SET revoked = $3
         WHERE integration = $1 AND hint = $2 AND revoked IS NULL",
    )
    .bind(integration.as_bytes().as_slice())
    .bind(hint)
    .bind(int(at.millis()))
    .execute(conn)
    .await?;
    exactly_one(&done)?;
    Ok(Stale::Keys)
}

async fn create_user(conn: &mut SqliteConnection, user: &User) -> Changed {
    sqlx::query(
        "INSERT INTO users (id, tenant, name, epoch, reset_at, created, break_glass, ttl_s)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(user.id.as_bytes().as_slice())
    .bind(user.tenant.as_bytes().as_slice())
    .bind(user.name.as_str())
    .bind(user.epoch)
    .bind(user.reset.map(|at| int(at.millis())))
    .bind(int(user.created.millis()))
    .bind(user.break_glass)
    .bind(user.ttl.map(|ttl| int(ttl.as_secs())))
    .execute(conn)
    .await?;
    Ok(Stale::Name(user.tenant, user.name.clone()))
}

async fn set_break_glass(conn: &mut SqliteConnection, user: UserId, on: bool) -> Changed {
    let done = sqlx::query(
        "UPDATE users SET break_glass = $2, asked_at = NULL, asked_by = NULL, asked_for = NULL
         WHERE id = $1",
    )
    .bind(user.as_bytes().as_slice())
    .bind(on)
    .execute(conn)
    .await?;
    exactly_one(&done)?;
    Ok(Stale::User(user))
}

async fn set_ttl(conn: &mut SqliteConnection, user: UserId, ttl: Duration) -> Changed {
    let done = sqlx::query("UPDATE users SET ttl_s = $2 WHERE id = $1")
        .bind(user.as_bytes().as_slice())
        .bind(int(ttl.as_secs()))
        .execute(conn)
        .await?;
    exactly_one(&done)?;
    Ok(Stale::User(user))
}

async fn create_ticket(conn: &mut SqliteConnection, ticket: &Ticket) -> Changed {
    user_exists(conn, ticket.user).await?;
    sqlx::query(END_TICKETS)
        .bind(ticket.user.as_bytes().as_slice())
        .bind(CANCELLED)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO tickets
             (id, tenant, user_id, secret_hash, code_hash, confirm, created, expires, code_tries, state, made_by,
              first)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(ticket.id.as_bytes().as_slice())
    .bind(ticket.tenant.as_bytes().as_slice())
    .bind(ticket.user.as_bytes().as_slice())
    .bind(ticket.secret_hash.as_slice())
    .bind(ticket.code_hash.as_slice())
    .bind(ticket.confirm)
    .bind(int(ticket.created.millis()))
    .bind(int(ticket.expires.millis()))
    .bind(ticket.code_tries)
    .bind(OPEN)
    .bind(ticket.by.as_str())
    .bind(ticket.first)
    .execute(conn)
    .await?;
    Ok(Stale::Nothing)
}

async fn claim_ticket(
    conn: &mut SqliteConnection,
    ticket: TicketId,
    claim: &Claim,
    now: Timestamp,
) -> Changed {
    let done = sqlx::query(
        "UPDATE tickets SET state = $3, claim_algorithm = $4, claim_key = $5, claim_name = $6, claim_number = $7
         WHERE id = $1 AND state = $2 AND expires > $8",
    )
    .bind(ticket.as_bytes().as_slice())
    .bind(OPEN)
    .bind(CLAIMED)
    .bind(claim.key.algorithm() as u8)
    .bind(claim.key.as_bytes())
    .bind(claim.device_name.as_str())
    .bind(claim.number.as_deref())
    .bind(int(now.millis()))
    .execute(conn)
    .await?;
    exactly_one(&done)?;
    Ok(Stale::Nothing)
}

/// Ends all tickets of a user that could still be used.
const END_TICKETS: &str = "UPDATE tickets SET state = $2, claim_algorithm = NULL, claim_key = NULL, \
    claim_name = NULL, claim_number = NULL WHERE user_id = $1 AND state < 2";

/// Ends a ticket; what its claim held is erased with it.
const END_TICKET: &str = "UPDATE tickets SET state = $2, claim_algorithm = NULL, claim_key = NULL, \
    claim_name = NULL, claim_number = NULL WHERE id = $1 AND state < 2";

async fn cancel_ticket(conn: &mut SqliteConnection, ticket: TicketId) -> Changed {
    let done = sqlx::query(END_TICKET)
        .bind(ticket.as_bytes().as_slice())
        .bind(CANCELLED)
        .execute(conn)
        .await?;
    exactly_one(&done)?;
    Ok(Stale::Nothing)
}

async fn enrol(
    conn: &mut SqliteConnection,
    ticket: TicketId,
    device: &Device,
    now: Timestamp,
) -> Changed<()> {
    let claimed = sqlx::query(
        "SELECT 1 FROM tickets t WHERE id = $1 AND state = $2 AND expires > $3
             AND tenant = $4 AND user_id = $5 AND claim_algorithm = $6 AND claim_key = $7
             AND NOT (first = 1 AND (
                 EXISTS (SELECT 1 FROM devices d WHERE d.user_id = t.user_id AND d.revoked IS NULL)
                 OR EXISTS (SELECT 1 FROM totp o WHERE o.user_id = t.user_id)
                 OR EXISTS (SELECT 1 FROM recovery_codes r WHERE r.user_id = t.user_id AND r.used = 0)))",
    )
    .bind(ticket.as_bytes().as_slice())
    .bind(CLAIMED)
    .bind(int(now.millis()))
    .bind(device.tenant.as_bytes().as_slice())
    .bind(device.user.as_bytes().as_slice())
    .bind(device.key.algorithm() as u8)
    .bind(device.key.as_bytes())
    .fetch_optional(&mut *conn)
    .await?;
    if claimed.is_none() {
        return Err(DirectoryError::NotFound.into());
    }
    let active: i64 =
        sqlx::query("SELECT COUNT(*) FROM devices WHERE user_id = $1 AND revoked IS NULL")
            .bind(device.user.as_bytes().as_slice())
            .fetch_one(&mut *conn)
            .await?
            .try_get(0)?;
    if usize::try_from(active).unwrap_or(usize::MAX) >= MAX_DEVICES {
        return Err(DirectoryError::Limit.into());
    }
    sqlx::query(END_TICKET)
        .bind(ticket.as_bytes().as_slice())
        .bind(USED)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO devices (id, tenant, user_id, name, algorithm, public, created, wait_until, wait_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(device.id.as_bytes().as_slice())
    .bind(device.tenant.as_bytes().as_slice())
    .bind(device.user.as_bytes().as_slice())
    .bind(device.name.as_str())
    .bind(device.key.algorithm() as u8)
    .bind(device.key.as_bytes())
    .bind(int(device.created.millis()))
    .bind(device.wait.as_ref().and_then(|wait| wait.until).map(|at| int(at.millis())))
    .bind(device.wait.as_ref().map(|wait| wait.by.as_str()))
    .execute(conn)
    .await?;
    Ok(())
}

async fn revoke_device(conn: &mut SqliteConnection, device: DeviceId, at: Timestamp) -> Changed {
    let row = sqlx::query(
        "UPDATE devices SET revoked = $2 WHERE id = $1 AND revoked IS NULL RETURNING user_id",
    )
    .bind(device.as_bytes().as_slice())
    .bind(int(at.millis()))
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else {
        return Err(DirectoryError::NotFound.into());
    };
    let user = id(&row, "user_id", UserId::from_slice)?;
    raise_epoch(conn, user).await?;
    Ok(Stale::User(user))
}

async fn put_totp(conn: &mut SqliteConnection, user: UserId, totp: &TotpFactor) -> Changed {
    user_exists(conn, user).await?;
    delete_totp(conn, user).await?;
    insert_totp(conn, user, totp, None).await?;
    forgive_totp(conn, user).await?;
    Ok(Stale::User(user))
}

/// Deletes a user's secrets, the one that waits too.
async fn delete_totp(conn: &mut SqliteConnection, user: UserId) -> Changed<()> {
    let user = user.as_bytes().as_slice();
    sqlx::query("DELETE FROM totp WHERE user_id = $1").bind(user).execute(conn).await?;
    Ok(())
}

async fn insert_totp(
    conn: &mut SqliteConnection,
    user: UserId,
    totp: &TotpFactor,
    wait: Option<&Wait>,
) -> Changed<()> {
    sqlx::query(
        "INSERT INTO totp (user_id, id, secret, last_step, locked, created, waits, wait_until, wait_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(user.as_bytes().as_slice())
    .bind(totp.id.as_bytes().as_slice())
    .bind(totp.secret.as_slice())
    .bind(int(totp.last_step))
    .bind(totp.locked)
    .bind(int(totp.created.millis()))
    .bind(wait.is_some())
    .bind(wait.and_then(|wait| wait.until).map(|at| int(at.millis())))
    .bind(wait.map(|wait| wait.by.as_str()))
    .execute(conn)
    .await?;
    Ok(())
}

async fn lock_totp(conn: &mut SqliteConnection, user: UserId) -> Changed {
    let done =
        sqlx::query("UPDATE totp SET locked = 1 WHERE user_id = $1 AND locked = 0 AND waits = 0")
            .bind(user.as_bytes().as_slice())
            .execute(conn)
            .await?;
    exactly_one(&done)?;
    Ok(Stale::User(user))
}

async fn put_codes(conn: &mut SqliteConnection, user: UserId, codes: &[StoredCode]) -> Changed {
    user_exists(conn, user).await?;
    delete_codes(conn, user).await?;
    insert_codes(conn, user, codes, None).await?;
    Ok(Stale::User(user))
}

async fn insert_codes(
    conn: &mut SqliteConnection,
    user: UserId,
    codes: &[StoredCode],
    wait: Option<&Wait>,
) -> Changed<()> {
    for code in codes {
        sqlx::query(
            "INSERT INTO recovery_codes (user_id, id, factor, salt, hash, used, wait_until, wait_by)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(user.as_bytes().as_slice())
        .bind(code.id.as_slice())
        .bind(code.factor.as_bytes().as_slice())
        .bind(code.salt.as_slice())
        .bind(code.hash.as_slice())
        .bind(code.used)
        .bind(wait.and_then(|wait| wait.until).map(|at| int(at.millis())))
        .bind(wait.map(|wait| wait.by.as_str()))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Deletes a user's codes, those that wait too, with what was counted against them.
async fn delete_codes(conn: &mut SqliteConnection, user: UserId) -> Changed<()> {
    sqlx::query("DELETE FROM attempts WHERE counter BETWEEN $1 AND $2")
        .bind(counter(Counter::RecoveryCode(user, [0; 5])))
        .bind(counter(Counter::RecoveryCode(user, [0xff; 5])))
        .execute(&mut *conn)
        .await?;
    sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1")
        .bind(user.as_bytes().as_slice())
        .execute(conn)
        .await?;
    Ok(())
}

async fn reset_user(conn: &mut SqliteConnection, user: UserId, at: Timestamp) -> Changed {
    let done = sqlx::query(
        "UPDATE users SET reset_at = $2, asked_at = NULL, asked_by = NULL, asked_for = NULL
         WHERE id = $1",
    )
    .bind(user.as_bytes().as_slice())
    .bind(int(at.millis()))
    .execute(&mut *conn)
    .await?;
    exactly_one(&done)?;
    raise_epoch(conn, user).await?;
    delete_codes(conn, user).await?;
    protocols::put_user_code(conn, user, None).await?;
    forgive_totp(conn, user).await?;
    delete_totp(conn, user).await?;
    sqlx::query("UPDATE devices SET revoked = $2 WHERE user_id = $1 AND revoked IS NULL")
        .bind(user.as_bytes().as_slice())
        .bind(int(at.millis()))
        .execute(&mut *conn)
        .await?;
    sqlx::query(END_TICKETS).bind(user.as_bytes().as_slice()).bind(CANCELLED).execute(conn).await?;
    Ok(Stale::User(user))
}

async fn user_exists(conn: &mut SqliteConnection, user: UserId) -> Changed<()> {
    let row = sqlx::query("SELECT 1 FROM users WHERE id = $1")
        .bind(user.as_bytes().as_slice())
        .fetch_optional(conn)
        .await?;
    row.map(|_| ()).ok_or_else(|| DirectoryError::NotFound.into())
}
