//! Rows of the directory as domain values.

use std::time::Duration;

use domain::challenge::{Method, Methods, Purpose};
use domain::directory::{
    ApiKey, Device, Integration, Scope, SecondRequest, StoredCode, TakesTwo, Tenant, TotpFactor,
    User, UserRecord, Wait, WaitingFactor,
};
use domain::ticket::{Claim, Ticket, TicketState};
use futures_util::TryStreamExt as _;
use ports::KeyOwner;
use sqlx::sqlite::SqliteRow;
use sqlx::{Either, Executor as _, Row as _, SqliteConnection};
use statement::{
    Algorithm, DeviceId, FactorId, IntegrationId, PublicKey, TenantId, TicketId, Timestamp, UserId,
};

use crate::codec::{NoSuch, bytes, decode, id, time, uint};

fn maybe_time(row: &SqliteRow, column: &str) -> sqlx::Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(time))
}

fn all<T>(rows: &[SqliteRow], read: fn(&SqliteRow) -> sqlx::Result<T>) -> sqlx::Result<Vec<T>> {
    // what is read is kept in memory: `collect` would make room for four where there is one
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        all.push(read(row)?);
    }
    Ok(all)
}

fn public_key(row: &SqliteRow, algorithm: &str, key: &str) -> sqlx::Result<PublicKey> {
    let code: u8 = row.try_get(algorithm)?;
    let kind = Algorithm::from_code(code).ok_or_else(|| decode(algorithm, NoSuch("algorithm")))?;
    PublicKey::new(kind, row.try_get(key)?).map_err(|error| decode(key, error))
}

fn tenant(row: &SqliteRow) -> sqlx::Result<Tenant> {
    Ok(Tenant {
        id: id(row, "id", TenantId::from_slice)?,
        name: row.try_get("name")?,
        created: time(row.try_get("created")?),
    })
}

pub(crate) async fn tenants(conn: &mut SqliteConnection) -> sqlx::Result<Vec<Tenant>> {
    let rows =
        sqlx::query("SELECT id, name, created FROM tenants ORDER BY made").fetch_all(conn).await?;
    all(&rows, tenant)
}

fn integration(row: &SqliteRow) -> sqlx::Result<Integration> {
    let scopes: &str = row.try_get("scopes")?;
    let scope = |name| Scope::from_name(name).ok_or_else(|| decode("scopes", NoSuch("scope")));
    let purposes: &str = row.try_get("purposes")?;
    let purpose =
        |name| Purpose::from_name(name).ok_or_else(|| decode("purposes", NoSuch("purpose")));
    Ok(Integration {
        id: id(row, "id", IntegrationId::from_slice)?,
        tenant: id(row, "tenant", TenantId::from_slice)?,
        name: row.try_get("name")?,
        protocol: serde_json::from_str(row.try_get("protocol")?)
            .map_err(|error| decode("protocol", error))?,
        purposes: purposes.split_whitespace().map(purpose).collect::<Result<_, _>>()?,
        methods: Methods::from_bits(row.try_get("methods")?),
        scopes: scopes.split_whitespace().map(scope).collect::<Result<_, _>>()?,
        verifies_first_factor: row.try_get("verifies_first_factor")?,
        reveal_users: row.try_get("reveal_users")?,
        created: time(row.try_get("created")?),
    })
}

pub(crate) async fn integrations(
    conn: &mut SqliteConnection,
    tenant: TenantId,
) -> sqlx::Result<Vec<Integration>> {
    let rows = sqlx::query("SELECT * FROM integrations WHERE tenant = $1 ORDER BY made")
        .bind(tenant.as_bytes().as_slice())
        .fetch_all(conn)
        .await?;
    all(&rows, integration)
}

pub(crate) async fn integration_by_id(
    conn: &mut SqliteConnection,
    id: IntegrationId,
) -> sqlx::Result<Option<Integration>> {
    let row = sqlx::query("SELECT * FROM integrations WHERE id = $1")
        .bind(id.as_bytes().as_slice())
        .fetch_optional(conn)
        .await?;
    row.map(|row| integration(&row)).transpose()
}

fn api_key(row: &SqliteRow) -> sqlx::Result<ApiKey> {
    Ok(ApiKey {
        hash: bytes(row, "hash")?,
        integration: id(row, "integration", IntegrationId::from_slice)?,
        hint: row.try_get("hint")?,
        created: time(row.try_get("created")?),
        expires: maybe_time(row, "expires")?,
        revoked: maybe_time(row, "revoked")?,
    })
}

pub(crate) async fn keys(
    conn: &mut SqliteConnection,
    integration: IntegrationId,
) -> sqlx::Result<Vec<ApiKey>> {
    let rows = sqlx::query("SELECT * FROM api_keys WHERE integration = $1 ORDER BY made")
        .bind(integration.as_bytes().as_slice())
        .fetch_all(conn)
        .await?;
    all(&rows, api_key)
}

pub(crate) async fn key_owner(
    conn: &mut SqliteConnection,
    hash: &[u8; 32],
) -> sqlx::Result<Option<KeyOwner>> {
    let row = sqlx::query("SELECT * FROM api_keys WHERE hash = $1")
        .bind(hash.as_slice())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let key = api_key(&row)?;
    let integration = integration_by_id(conn, key.integration).await?;
    Ok(integration.map(|integration| KeyOwner { integration, key }))
}

fn user(row: &SqliteRow) -> sqlx::Result<User> {
    Ok(User {
        id: id(row, "id", UserId::from_slice)?,
        tenant: id(row, "tenant", TenantId::from_slice)?,
        name: row.try_get("name")?,
        epoch: row.try_get("epoch")?,
        break_glass: row.try_get("break_glass")?,
        ttl: row.try_get::<Option<u32>, _>("ttl_s")?.map(|s| Duration::from_secs(s.into())),
        reset: maybe_time(row, "reset_at")?,
        created: time(row.try_get("created")?),
    })
}

pub(crate) async fn users(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    after: Option<[u8; 16]>,
    limit: u32,
) -> sqlx::Result<Vec<User>> {
    let rows = sqlx::query(
        "SELECT * FROM users WHERE tenant = $1
             AND made > COALESCE((SELECT made FROM users WHERE tenant = $1 AND id = $2), 0)
         ORDER BY made LIMIT $3",
    )
    .bind(tenant.as_bytes().as_slice())
    .bind(after.map(|after| after.to_vec()))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    all(&rows, user)
}

fn wait(row: &SqliteRow) -> sqlx::Result<Option<Wait>> {
    let by: Option<String> = row.try_get("wait_by")?;
    let until = maybe_time(row, "wait_until")?;
    Ok(by.map(|by| Wait { until, by }))
}

fn second_request(row: &SqliteRow) -> sqlx::Result<Option<SecondRequest>> {
    let Some(at) = maybe_time(row, "asked_at")? else { return Ok(None) };
    let what = match row.try_get::<u8, _>("asked_for")? {
        1 => TakesTwo::Reset,
        2 => TakesTwo::BreakGlass,
        _ => return Err(decode("asked_for", NoSuch("change that takes two"))),
    };
    Ok(Some(SecondRequest { at, by: row.try_get("asked_by")?, what }))
}

/// How it is stored what takes a second person.
pub(crate) const fn takes_two_code(what: TakesTwo) -> u8 {
    match what {
        TakesTwo::Reset => 1,
        TakesTwo::BreakGlass => 2,
    }
}

fn device(row: &SqliteRow) -> sqlx::Result<Device> {
    Ok(Device {
        id: id(row, "id", DeviceId::from_slice)?,
        tenant: id(row, "tenant", TenantId::from_slice)?,
        user: id(row, "user_id", UserId::from_slice)?,
        name: row.try_get("name")?,
        key: public_key(row, "algorithm", "public")?,
        created: time(row.try_get("created")?),
        revoked: maybe_time(row, "revoked")?,
        wait: wait(row)?,
    })
}

fn totp(row: &SqliteRow) -> sqlx::Result<TotpFactor> {
    Ok(TotpFactor {
        id: id(row, "id", FactorId::from_slice)?,
        secret: row.try_get("secret")?,
        last_step: uint(row.try_get("last_step")?),
        locked: row.try_get("locked")?,
        created: time(row.try_get("created")?),
    })
}

fn recovery_code(row: &SqliteRow) -> sqlx::Result<StoredCode> {
    Ok(StoredCode {
        id: bytes(row, "id")?,
        factor: id(row, "factor", FactorId::from_slice)?,
        salt: bytes(row, "salt")?,
        hash: bytes(row, "hash")?,
        used: row.try_get("used")?,
    })
}

/// What waits among a user's secrets and codes.
fn waiting(secrets: &[SqliteRow], codes: &[SqliteRow]) -> sqlx::Result<Vec<WaitingFactor>> {
    let mut waiting = Vec::new();
    for row in secrets {
        if let Some(wait) = wait(row)? {
            let factor = id(row, "id", FactorId::from_slice)?;
            waiting.push(WaitingFactor { factor, method: Method::Totp, wait });
        }
    }
    for row in codes {
        if let Some(wait) = wait(row)? {
            let factor = id(row, "factor", FactorId::from_slice)?;
            waiting.push(WaitingFactor { factor, method: Method::RecoveryCode, wait });
            // the other codes of the set say the same
            break;
        }
    }
    Ok(waiting)
}

/// Those that count.
fn counting(rows: Vec<SqliteRow>) -> sqlx::Result<Vec<SqliteRow>> {
    let mut counting = Vec::with_capacity(rows.len());
    for row in rows {
        if wait(&row)?.is_none() {
            counting.push(row);
        }
    }
    Ok(counting)
}

/// A user's rows, table by table. In one text: it goes to the connection's thread and back once.
const USER_ROWS: &str = "
SELECT * FROM users WHERE id = $1;
SELECT * FROM devices WHERE user_id = $1 ORDER BY made;
SELECT * FROM totp WHERE user_id = $1;
SELECT * FROM recovery_codes WHERE user_id = $1 ORDER BY id;
SELECT cookie FROM killed_cookies WHERE user_id = $1";

/// A user with everything that bears on a sign-in. Wants to run inside one snapshot.
pub(crate) async fn user_record(
    conn: &mut SqliteConnection,
    id: UserId,
) -> sqlx::Result<Option<UserRecord>> {
    let mut tables: [Vec<SqliteRow>; 5] = Default::default();
    let query = sqlx::query(USER_ROWS).bind(id.as_bytes().as_slice());
    let mut answers = conn.fetch_many(query);
    for rows in &mut tables {
        // each statement ends with its result; without one the rest would look empty
        while let Either::Right(row) =
            answers.try_next().await?.ok_or(sqlx::Error::WorkerCrashed)?
        {
            rows.push(row);
        }
    }
    drop(answers);
    let [found, devices, secrets, codes, cookies] = tables;
    // only now: of nobody it takes as long
    let Some(found) = found.first() else { return Ok(None) };
    Ok(Some(UserRecord {
        user: user(found)?,
        devices: all(&devices, device)?,
        waiting: waiting(&secrets, &codes)?,
        totp: counting(secrets)?.first().map(totp).transpose()?,
        recovery: all(&counting(codes)?, recovery_code)?,
        second_request: second_request(found)?,
        killed_cookies: all(&cookies, |row| bytes(row, "cookie"))?,
    }))
}

/// State codes of tickets.
pub(crate) const OPEN: u8 = 0;
pub(crate) const CLAIMED: u8 = 1;
pub(crate) const USED: u8 = 2;
pub(crate) const CANCELLED: u8 = 3;

pub(crate) fn ticket(row: &SqliteRow) -> sqlx::Result<Ticket> {
    let state = match row.try_get::<u8, _>("state")? {
        OPEN => TicketState::Open,
        CLAIMED => TicketState::Claimed(Claim {
            key: public_key(row, "claim_algorithm", "claim_key")?,
            device_name: row.try_get("claim_name")?,
            number: row.try_get("claim_number")?,
        }),
        USED => TicketState::Used,
        CANCELLED => TicketState::Cancelled,
        _ => return Err(decode("state", NoSuch("state of a ticket"))),
    };
    Ok(Ticket {
        id: id(row, "id", TicketId::from_slice)?,
        tenant: id(row, "tenant", TenantId::from_slice)?,
        user: id(row, "user_id", UserId::from_slice)?,
        secret_hash: bytes(row, "secret_hash")?,
        code_hash: bytes(row, "code_hash")?,
        confirm: row.try_get("confirm")?,
        first: row.try_get("first")?,
        by: row.try_get("made_by")?,
        created: time(row.try_get("created")?),
        expires: time(row.try_get("expires")?),
        code_tries: row.try_get("code_tries")?,
        state,
    })
}

pub(crate) async fn ticket_by_id(
    conn: &mut SqliteConnection,
    id: TicketId,
) -> sqlx::Result<Option<Ticket>> {
    let row = sqlx::query("SELECT * FROM tickets WHERE id = $1")
        .bind(id.as_bytes().as_slice())
        .fetch_optional(conn)
        .await?;
    row.map(|row| ticket(&row)).transpose()
}

pub(crate) async fn ticket_by_secret(
    conn: &mut SqliteConnection,
    hash: &[u8; 32],
) -> sqlx::Result<Option<Ticket>> {
    let row = sqlx::query("SELECT * FROM tickets WHERE secret_hash = $1")
        .bind(hash.as_slice())
        .fetch_optional(conn)
        .await?;
    row.map(|row| ticket(&row)).transpose()
}
