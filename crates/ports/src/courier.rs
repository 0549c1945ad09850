//! The courier: wakes devices and waiters. A hint is only a hint; the pending set is the truth.

use std::sync::Arc;
use std::task::{Context, Poll};

use domain::challenge::{Challenge, State};
use domain::notice::Notice;
use statement::{ChallengeId, DeviceId, TenantId, UserId};

use crate::BoxFuture;

/// Hints that a mailbox holds before it asks its device to read the pending set anew: the most live
/// challenges of a user, and a few notices.
pub const MAX_MAILBOX: usize = 16;

/// What a connected device is told.
#[derive(Clone, Debug)]
pub enum Hint {
    /// A challenge that rings.
    Prompt(Arc<Challenge>),
    /// A card goes away.
    Settled(ChallengeId, State),
    /// Something to tell the person that isn't kept.
    Notice(Notice),
    /// Something to tell the person is kept: read [`crate::Directory::notices`].
    Notices,
    /// Too much happened: read the pending set and the notices, and take away the cards that ended.
    Resync,
    /// A newer connection of the device took over.
    Replaced,
    /// The device was revoked.
    Revoked,
}

/// The receiving end of one connected device. Dropping it disconnects, unless a newer one took over.
pub trait Mailbox: Send {
    /// The next hint, in order; wakes the task of the last call.
    fn poll_hint(&mut self, cx: &mut Context<'_>) -> Poll<Hint>;
}

/// Wakes devices and waiters on whichever node they are.
///
/// Obligations: never blocks, never fails: what can't be delivered is dropped, because the pending set and the
/// notices are read on connect and after any gap. At most [`MAX_MAILBOX`] hints wait per device.
pub trait Courier: Send + Sync {
    /// Connects a device; the mailbox it had before gets [`Hint::Replaced`].
    fn connect(&self, tenant: TenantId, user: UserId, device: DeviceId) -> Box<dyn Mailbox>;

    /// Tells all connected devices of a user.
    fn tell_user(&self, tenant: TenantId, user: UserId, hint: Hint);

    /// Tells one device, if it is connected.
    fn tell_device(&self, device: DeviceId, hint: Hint);

    /// Resolves when [`Courier::wake`] is called for the challenge after this call. `None` if too many
    /// wait already. The caller bounds the time.
    fn wait(&self, challenge: ChallengeId) -> Option<BoxFuture<'static, ()>>;

    /// Wakes everybody who waits for the challenge.
    fn wake(&self, challenge: ChallengeId);

    /// Whether a user's device is connected here.
    fn reaches(&self, tenant: TenantId, user: UserId) -> bool;

    /// How many devices are connected here.
    fn connected(&self) -> usize;
}
