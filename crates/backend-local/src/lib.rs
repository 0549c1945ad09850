//! The courier of a single node: mailboxes and waiters in this process.
//!
//! Architecture invariant: no lock is held while a waker runs, because a waker may drop a mailbox or a
//! waiter, which take locks themselves. Locks nest in one order only: device shard, user shard.

mod mailbox;
mod shards;
mod waiters;

use std::sync::Arc;

use ports::{BoxFuture, Courier, Hint, Mailbox};
use statement::{ChallengeId, DeviceId, TenantId, UserId};

use crate::mailbox::Mailboxes;
use crate::waiters::Waiters;
pub use crate::waiters::{MAX_WAITERS, MAX_WAITERS_PER_CHALLENGE};

/// The courier of a server that is alone: what is connected, is connected here.
#[derive(Default)]
pub struct LocalCourier {
    mailboxes: Arc<Mailboxes>,
    waiters: Arc<Waiters>,
}

impl LocalCourier {
    /// A courier to whom nobody is connected.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many long polls wait here.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.waiting()
    }
}

impl Courier for LocalCourier {
    fn connect(&self, tenant: TenantId, user: UserId, device: DeviceId) -> Box<dyn Mailbox> {
        Box::new(mailbox::connect(&self.mailboxes, (tenant, user), device))
    }

    fn tell_user(&self, tenant: TenantId, user: UserId, hint: Hint) {
        self.mailboxes.tell_user((tenant, user), hint);
    }

    fn tell_device(&self, device: DeviceId, hint: Hint) {
        self.mailboxes.tell_device(device, hint);
    }

    fn wait(&self, challenge: ChallengeId) -> Option<BoxFuture<'static, ()>> {
        waiters::wait(&self.waiters, challenge)
    }

    fn wake(&self, challenge: ChallengeId) {
        self.waiters.wake(challenge);
    }

    fn reaches(&self, tenant: TenantId, user: UserId) -> bool {
        self.mailboxes.reaches((tenant, user))
    }

    fn connected(&self) -> usize {
        self.mailboxes.connected()
    }
}
