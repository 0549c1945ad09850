//! The directory: reads, from memory where nothing changed.

use std::sync::Arc;

use domain::audit::Entry;
use domain::directory::{ApiKey, Integration, Tenant, User, UserRecord};
use domain::notice::Notice;
use domain::ticket::Ticket;
use ports::{
    BoxFuture, Change, Directory, DirectoryError, KeyOwner, Listed, Page, StoreError, UserRef,
};
use sqlx::{Connection as _, Row as _};
use statement::{DeviceId, IntegrationId, TenantId, TicketId, UserId};

use crate::Inner;
use crate::audit::Prepared;
use crate::changes::Apply;
use crate::codec::{id, unavailable};
use crate::notices;
use crate::rows;
use crate::tickets::TryCode;

/// Longest page of a list.
const MAX_PAGE: u32 = 1_000;

impl Inner {
    /// A user by id, of whichever tenant.
    pub(crate) async fn user_by_id(
        &self,
        id: UserId,
    ) -> Result<Option<Arc<UserRecord>>, StoreError> {
        if let Some(known) = self.memory.people.user(id) {
            return Ok(known);
        }
        let generation = self.memory.people.generation();
        let record = Box::pin(self.read_user(id)).await.map_err(unavailable)?.map(Arc::new);
        match &record {
            Some(record) => self.memory.people.learn_user(generation, record),
            None => self.memory.people.learn_no_user(generation, id),
        }
        Ok(record)
    }

    async fn read_user(&self, id: UserId) -> sqlx::Result<Option<UserRecord>> {
        let mut conn = self.reads.acquire().await?;
        // one snapshot over all tables
        let mut snapshot = conn.begin().await?;
        let record = rows::user_record(&mut snapshot, id).await?;
        // not left to be dropped: an end that nobody waits for may fail unseen, and the connection keeps its snapshot
        snapshot.commit().await?;
        Ok(record)
    }

    async fn user_by_name(
        &self,
        tenant: TenantId,
        name: String,
    ) -> Result<Option<Arc<UserRecord>>, StoreError> {
        let key = (tenant, name);
        let user = match self.memory.people.name(&key) {
            Some(known) => known,
            None => {
                let generation = self.memory.people.generation();
                let mut conn = self.reader().await?;
                let row = sqlx::query("SELECT id FROM users WHERE tenant = $1 AND name = $2")
                    .bind(tenant.as_bytes().as_slice())
                    .bind(key.1.as_str())
                    .fetch_optional(&mut *conn)
                    .await
                    .map_err(unavailable)?;
                let user = row.map(|row| id(&row, "id", UserId::from_slice)).transpose();
                let user = user.map_err(unavailable)?;
                if user.is_none() {
                    self.memory.people.learn_no_name(generation, key);
                }
                user
            }
        };
        match user {
            Some(user) => self.user_by_id(user).await,
            None => Ok(None),
        }
    }

    async fn device_user(&self, device: DeviceId) -> Result<Option<UserId>, StoreError> {
        if let Some(user) = self.memory.people.device(device) {
            return Ok(Some(user));
        }
        let mut conn = self.reader().await?;
        let row = sqlx::query("SELECT user_id FROM devices WHERE id = $1")
            .bind(device.as_bytes().as_slice())
            .fetch_optional(&mut *conn)
            .await
            .map_err(unavailable)?;
        row.map(|row| id(&row, "user_id", UserId::from_slice)).transpose().map_err(unavailable)
    }

    /// The owner of a device, read for a login or for somebody who manages it.
    async fn owner_of(&self, device: DeviceId) -> Result<Option<Arc<UserRecord>>, StoreError> {
        if let Some(owner) = self.memory.people.owner(device) {
            return Ok(Some(owner));
        }
        let generation = self.memory.people.generation();
        let Some(user) = self.device_user(device).await? else { return Ok(None) };
        let record = Box::pin(self.read_user(user)).await.map_err(unavailable)?.map(Arc::new);
        if let Some(record) = &record {
            self.memory.people.learn_owner(generation, device, record);
        }
        Ok(record)
    }

    async fn find_key(&self, hash: [u8; 32]) -> Result<Option<Arc<KeyOwner>>, StoreError> {
        if let Some(owner) = self.memory.people.key(&hash) {
            return Ok(Some(owner));
        }
        let generation = self.memory.people.generation();
        let mut conn = self.reader().await?;
        let owner = rows::key_owner(&mut conn, &hash).await.map_err(unavailable)?.map(Arc::new);
        if let Some(owner) = &owner {
            self.memory.people.learn_key(generation, owner);
        }
        Ok(owner)
    }

    async fn find_integration(
        &self,
        id: IntegrationId,
    ) -> Result<Option<Arc<Integration>>, StoreError> {
        if let Some(integration) = self.memory.people.integration(id) {
            return Ok(Some(integration));
        }
        let generation = self.memory.people.generation();
        let mut conn = self.reader().await?;
        let found = rows::integration_by_id(&mut conn, id).await.map_err(unavailable)?;
        let found = found.map(Arc::new);
        if let Some(integration) = &found {
            self.memory.people.learn_integration(generation, integration);
        }
        Ok(found)
    }

    async fn change(&self, change: Change, audit: Vec<Entry>) -> Result<(), DirectoryError> {
        let audit = audit.iter().map(Prepared::new).collect::<Result<Vec<_>, _>>()?;
        self.writer.write(Apply { change, audit }).await?.map(|_| ())
    }
}

impl Directory for Inner {
    fn key_owner(
        &self,
        hash: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<Arc<KeyOwner>>, StoreError>> {
        Box::pin(self.find_key(hash))
    }

    fn user(
        &self,
        tenant: TenantId,
        user: UserRef,
    ) -> BoxFuture<'_, Result<Option<Arc<UserRecord>>, StoreError>> {
        Box::pin(async move {
            let found = match user {
                UserRef::Id(id) => self.user_by_id(id).await?,
                UserRef::Name(name) => self.user_by_name(tenant, name).await?,
            };
            Ok(found.filter(|record| record.user.tenant == tenant))
        })
    }

    fn device_owner(
        &self,
        device: DeviceId,
    ) -> BoxFuture<'_, Result<Option<Arc<UserRecord>>, StoreError>> {
        Box::pin(self.owner_of(device))
    }

    fn integration(
        &self,
        id: IntegrationId,
    ) -> BoxFuture<'_, Result<Option<Arc<Integration>>, StoreError>> {
        Box::pin(self.find_integration(id))
    }

    fn user_code(&self, user: UserId) -> BoxFuture<'_, Result<Option<[u8; 32]>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            let row = sqlx::query("SELECT hash FROM user_codes WHERE user_id = $1")
                .bind(user.as_bytes().as_slice())
                .fetch_optional(&mut *conn)
                .await
                .map_err(unavailable)?;
            let hash = row.map(|row| row.try_get::<Vec<u8>, _>("hash").map_err(unavailable));
            let whole = |hash: Vec<u8>| {
                let wrong = |_| StoreError::Inconsistent("a user code's hash".into());
                hash.try_into().map_err(wrong)
            };
            hash.transpose()?.map(whole).transpose()
        })
    }

    fn linked(
        &self,
        integration: IntegrationId,
        subject: String,
    ) -> BoxFuture<'_, Result<Option<UserId>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            let row =
                sqlx::query("SELECT user_id FROM links WHERE integration = $1 AND subject = $2")
                    .bind(integration.as_bytes().as_slice())
                    .bind(subject)
                    .fetch_optional(&mut *conn)
                    .await
                    .map_err(unavailable)?;
            row.map(|row| id(&row, "user_id", UserId::from_slice)).transpose().map_err(unavailable)
        })
    }

    fn links(
        &self,
        integration: IntegrationId,
    ) -> BoxFuture<'_, Result<Vec<(String, UserId)>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            let rows = sqlx::query(
                "SELECT subject, user_id FROM links WHERE integration = $1 ORDER BY created",
            )
            .bind(integration.as_bytes().as_slice())
            .fetch_all(&mut *conn)
            .await
            .map_err(unavailable)?;
            let link = |row: &sqlx::sqlite::SqliteRow| -> sqlx::Result<_> {
                Ok((row.try_get("subject")?, id(row, "user_id", UserId::from_slice)?))
            };
            rows.iter().map(link).collect::<sqlx::Result<_>>().map_err(unavailable)
        })
    }

    fn ticket(&self, id: TicketId) -> BoxFuture<'_, Result<Option<Ticket>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            rows::ticket_by_id(&mut conn, id).await.map_err(unavailable)
        })
    }

    fn ticket_by_secret(
        &self,
        hash: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<Ticket>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            rows::ticket_by_secret(&mut conn, &hash).await.map_err(unavailable)
        })
    }

    fn ticket_by_code(
        &self,
        user: String,
        hash: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<Ticket>, StoreError>> {
        Box::pin(self.writer.write(TryCode { user: user.trim().to_owned(), hash }))
    }

    fn tenants(&self) -> BoxFuture<'_, Result<Vec<Tenant>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            rows::tenants(&mut conn).await.map_err(unavailable)
        })
    }

    fn integrations(
        &self,
        tenant: TenantId,
    ) -> BoxFuture<'_, Result<Vec<Integration>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            rows::integrations(&mut conn, tenant).await.map_err(unavailable)
        })
    }

    fn keys(&self, id: IntegrationId) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            rows::keys(&mut conn, id).await.map_err(unavailable)
        })
    }

    fn users(
        &self,
        tenant: TenantId,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<User>, StoreError>> {
        Box::pin(async move {
            let limit = page.limit.clamp(1, MAX_PAGE);
            let mut conn = self.reader().await?;
            let mut items =
                rows::users(&mut conn, tenant, page.after, limit + 1).await.map_err(unavailable)?;
            let has_more = items.len() > limit as usize;
            items.truncate(limit as usize);
            let last = items.last().filter(|_| has_more);
            let next = last.map(|user| *user.id.as_bytes());
            Ok(Listed { items, next })
        })
    }

    fn notices(
        &self,
        device: DeviceId,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>> {
        Box::pin(async move {
            let mut conn = self.reader().await?;
            notices::unseen(&mut conn, device, after, limit).await.map_err(unavailable)
        })
    }

    fn apply(
        &self,
        change: Change,
        audit: Vec<Entry>,
    ) -> BoxFuture<'_, Result<(), DirectoryError>> {
        Box::pin(self.change(change, audit))
    }
}
