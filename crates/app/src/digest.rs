//! One card after an attack: what was kept silent, and what to do. It never rings.

use domain::guard;
use ports::{NoticeKind, StoreError};
use statement::{TenantId, UserId};

use crate::{App, Call, Connected};

impl App {
    /// The person has opened the app: they are told what was kept silent, at most once a day.
    pub async fn pulled(&self, call: &mut Call, connected: &Connected) {
        if !connected.waits {
            self.tell_digest(call, connected.tenant, connected.user).await;
        }
    }

    /// Tells a user, who is there right now, how many requests were kept silent. What can't be told now is told
    /// another time.
    pub(crate) async fn tell_digest(&self, call: &mut Call, tenant: TenantId, user: UserId) {
        if !self.courier.reaches(tenant, user) {
            return;
        }
        match self.take_digest(call, tenant, user).await {
            Ok(None) => {}
            Ok(Some(count)) => {
                let requests = match count {
                    1 => "1 sign-in request was".to_owned(),
                    count => format!("{count} sign-in requests were"),
                };
                let text = format!(
                    "{requests} kept silent lately. Unless you know what that was, somebody knows your \
                     password: change it."
                );
                self.notify(call, tenant, user, NoticeKind::Digest, &text);
            }
            Err(error) => tracing::warn!(%error, "a digest is told another time"),
        }
    }

    /// How many requests to tell of, counted anew from now on.
    async fn take_digest(
        &self,
        call: &mut Call,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Option<u16>, StoreError> {
        let (policy, now) = (self.user_policy(tenant), guard::seconds(call.now));
        let digest = |cell: &mut guard::Cell| {
            let count = cell.memory.digest(policy, now);
            (count, count.map(|_| Vec::new()))
        };
        self.change_cell(call, tenant, user, digest).await
    }
}
