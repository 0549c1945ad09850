//! What users are told beside challenges. What matters is kept with its audit entry until each device has had it;
//! connected devices get a hint that there is something to read.

use ports::{Change, DirectoryError, Hint, Notice, NoticeKind, StoreError};
use statement::{TenantId, UserId};

use crate::{App, Call, Connected};

/// Notices that are read at once.
const PAGE: u32 = 32;

impl App {
    /// What a device wasn't told yet and comes after `after`, oldest first: some of it, or nothing if that is all.
    /// Nothing to a device that waits: whoever holds it may not be the user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn notices(
        &self,
        call: &Call,
        connected: &Connected,
        after: u64,
    ) -> Result<Vec<Notice>, StoreError> {
        if self.waiting_notice(call, connected).await?.is_some() {
            return Ok(Vec::new());
        }
        self.directory.notices(connected.device, after, PAGE).await
    }

    /// A device has shown its notices up to this one: they don't come again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn notices_seen(&self, connected: &Connected, up_to: u64) -> Result<(), StoreError> {
        let change = Change::SeeNotices(connected.device, up_to);
        match self.directory.apply(change, Vec::new()).await {
            Err(DirectoryError::Store(error)) => Err(error),
            // the port says that there is nothing to refuse
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Has a user's connected devices read what was kept for them.
    pub(crate) fn hint_notices(&self, tenant: TenantId, user: UserId) {
        self.courier.tell_user(tenant, user, Hint::Notices);
    }

    /// Tells whoever is connected something that isn't kept.
    pub(crate) fn notify(
        &self,
        call: &Call,
        tenant: TenantId,
        user: UserId,
        kind: NoticeKind,
        text: &str,
    ) {
        let notice = Notice { id: None, kind, at: call.now, text: text.to_owned() };
        self.courier.tell_user(tenant, user, Hint::Notice(notice));
    }
}
