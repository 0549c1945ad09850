//! Hot state behind its port.

use ports::{BoxFuture, Committed, Conflict, Hot, HotChange, HotError, HotUser, Rider, StoreError};
use statement::{TenantId, UserId};

use crate::Inner;
use crate::codec::unavailable;
use crate::simple_writes::Flush;
use crate::slots::{self, Held, HotState, HotWrite, Known, hot_write};

impl Inner {
    /// A user's slot, read from the disk if it wasn't yet.
    async fn hold(&self, tenant: TenantId, user: UserId) -> Result<(Held, HotState), StoreError> {
        let mut held = self.slots.hold(tenant, user, (self.clock)()).await?;
        if let Some(state) = held.state() {
            return Ok((held, state));
        }
        let mut conn = self.reader().await?;
        let state = slots::read(&mut conn, tenant, user).await.map_err(unavailable)?;
        *held = Known::of(state.clone());
        Ok((held, state))
    }

    async fn change_hot(&self, change: HotChange) -> Result<Committed, HotError> {
        let (tenant, user) = (change.tenant, change.user);
        let (mut held, state) = self.hold(tenant, user).await?;
        let is_done = |state: &HotState| state.version > 0 && state.op_id == change.op_id;
        if is_done(&state) {
            return Ok(Committed { version: state.version, rider: None });
        }
        if state.version != change.version {
            return Err(Conflict.into());
        }
        let next = state.with(&change);
        let version = next.version;
        if change.derived {
            *held = Known::of(next);
            return Ok(Committed { version, rider: None });
        }
        let write = HotWrite::new(tenant, user, held, next)?;
        Ok(Committed { version, rider: Some(Rider(Box::new(write))) })
    }
}

impl Hot for Inner {
    fn load(&self, tenant: TenantId, user: UserId) -> BoxFuture<'_, Result<HotUser, StoreError>> {
        Box::pin(async move {
            let (_held, state) = self.hold(tenant, user).await?;
            Ok(HotUser { version: state.version, cell: state.cell, live: state.live })
        })
    }

    fn commit(&self, change: HotChange) -> BoxFuture<'_, Result<Committed, HotError>> {
        Box::pin(self.change_hot(change))
    }

    fn flush(&self, rider: Rider) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            match hot_write(Some(rider))? {
                Some(write) => self.writer.write(Flush(write)).await,
                None => Ok(()),
            }
        })
    }
}
