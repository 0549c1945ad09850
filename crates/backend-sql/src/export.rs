//! The audit for somebody who only reads it: beside a running server, or without one.

use std::path::Path;

use ports::AuditRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};
use statement::{IntegrationId, TenantId};

use crate::OpenError;
use crate::codec::{id, int, uint};
use crate::events::audit_row;
use crate::open::read_options;

/// Rows taken from the disk at once.
const CHUNK: u32 = 1_000;

/// An organisation and its integrations, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantNames {
    /// Which.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Its integrations.
    pub integrations: Vec<(IntegrationId, String)>,
}

/// Reads all audit rows in the order in which they were written, tenant by tenant.
pub struct AuditReader {
    conn: SqliteConnection,
    after: (Vec<u8>, u64, u64),
}

impl AuditReader {
    /// Opens the database in `dir` for reading.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(dir: &Path) -> Result<Self, OpenError> {
        let conn = read_options(dir).connect().await?;
        Ok(Self { conn, after: (Vec::new(), 0, 0) })
    }

    /// Who there is.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn names(&mut self) -> Result<Vec<TenantNames>, OpenError> {
        let tenants = sqlx::query("SELECT id, name FROM tenants ORDER BY made")
            .fetch_all(&mut self.conn)
            .await?;
        let integrations = sqlx::query("SELECT id, tenant, name FROM integrations ORDER BY made")
            .fetch_all(&mut self.conn)
            .await?;
        let mut names = Vec::new();
        for row in &tenants {
            let (id, name) = (id(row, "id", TenantId::from_slice)?, row.try_get("name")?);
            names.push(TenantNames { id, name, integrations: Vec::new() });
        }
        for row in &integrations {
            let tenant = id(row, "tenant", TenantId::from_slice)?;
            let one = (id(row, "id", IntegrationId::from_slice)?, row.try_get("name")?);
            let owner = names.iter_mut().find(|other| other.id == tenant);
            if let Some(owner) = owner {
                owner.integrations.push(one);
            }
        }
        Ok(names)
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn next(&mut self) -> Result<Vec<AuditRow>, OpenError> {
        let (tenant, lane, seq) = &self.after;
        let rows = sqlx::query(
            "SELECT tenant, lane, seq, at, public, private FROM audit
             WHERE (tenant, lane, seq) > ($1, $2, $3) ORDER BY tenant, lane, seq LIMIT $4",
        )
        .bind(tenant.as_slice())
        .bind(int(*lane))
        .bind(int(*seq))
        .bind(CHUNK)
        .fetch_all(&mut self.conn)
        .await?;
        if let Some(last) = rows.last() {
            let position = |name| last.try_get::<i64, _>(name).map(uint);
            self.after = (last.try_get("tenant")?, position("lane")?, position("seq")?);
        }
        let read = |row: &SqliteRow| audit_row(row);
        Ok(rows.iter().map(read).collect::<sqlx::Result<_>>()?)
    }
}
