//! The directory: tenants, integrations, users, devices, factors, tickets.

use std::sync::Arc;
use std::time::Duration;

use domain::audit::Entry;
use domain::directory::{
    ApiKey, Device, Integration, SecondRequest, StoredCode, Tenant, TotpFactor, User, UserRecord,
    Wait,
};
use domain::notice::Notice;
use domain::ticket::{Claim, Ticket};
use statement::{DeviceId, FactorId, IntegrationId, TenantId, TicketId, Timestamp, UserId};

use crate::{BoxFuture, NewTokenKey, StoreError};

/// How somebody names a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserRef {
    /// By id.
    Id(UserId),
    /// By the name under which integrations know them.
    Name(String),
}

/// An integration with the key that proved it.
#[derive(Clone, Debug)]
pub struct KeyOwner {
    /// The integration.
    pub integration: Integration,
    /// The key.
    pub key: ApiKey,
}

/// One change, stored with its audit entries in one transaction.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new organisation; its name must be free.
    CreateTenant(Tenant),
    /// A new integration with its first key; its name must be free in the tenant.
    CreateIntegration(Integration, ApiKey),
    /// Another key of an integration, which must have fewer than two live ones.
    CreateKey(ApiKey),
    /// Ends a key, named by integration and hint.
    RevokeKey(IntegrationId, String, Timestamp),
    /// A new user; the name must be free in the tenant.
    CreateUser(User),
    /// Whether a user is for emergencies. What was asked for of theirs that takes a second person is done.
    SetBreakGlass(UserId, bool),
    /// How long a user's hosted sign-ins wait; whole seconds.
    SetTtl(UserId, Duration),
    /// A new ticket; open and claimed ones of the same user are cancelled.
    CreateTicket(Ticket),
    /// A device claims an open ticket that hasn't expired.
    ClaimTicket(TicketId, Claim),
    /// Ends an open or claimed ticket.
    CancelTicket(TicketId),
    /// Uses a claimed ticket: the device is enrolled, with a TOTP secret if one comes along.
    Enrol {
        /// The ticket, which must be claimed by the device's key; one for a user without any factor
        /// ([`Ticket::first`]) enrols nothing once there is a factor.
        ticket: TicketId,
        /// The device; its user must have fewer than [`domain::directory::MAX_DEVICES`] active ones.
        device: Device,
        /// The TOTP secret that comes with it.
        totp: Option<TotpFactor>,
    },
    /// Ends a device and raises its user's epoch.
    RevokeDevice(DeviceId, Timestamp),
    /// A TOTP secret in place of the one before and of one that waits, counter reset.
    PutTotp(UserId, TotpFactor),
    /// A TOTP secret that waits, in place of another one that waits; the one that works stays until then.
    AddTotp(UserId, TotpFactor, Wait),
    /// Locks a TOTP factor whose cap is reached.
    LockTotp(UserId),
    /// A set of recovery codes in place of the one before and of one that waits.
    PutRecoveryCodes(UserId, Vec<StoredCode>),
    /// A set of recovery codes that waits, in place of another one that waits; those that work stay until then.
    AddRecoveryCodes(UserId, Vec<StoredCode>, Wait),
    /// What has waited until then counts from now on, in place of what it was made to replace.
    EndWaits(UserId, Timestamp),
    /// What waits for time waits for a second person from now on.
    HoldWaits(UserId),
    /// A device that waits counts from now on.
    EndDeviceWait(DeviceId),
    /// A TOTP secret or set of codes that waits counts from now on.
    EndFactorWait(UserId, FactorId),
    /// Notes that something was asked for that takes a second person.
    AskSecond(UserId, SecondRequest),
    /// Removes all factors and the user code, revokes all devices, cancels all tickets, raises the epoch.
    ResetUser(UserId, Timestamp),
    /// Another key that signs tokens; its number must be free.
    AddTokenKey(NewTokenKey),
    /// Who of a relying party's people a user is, in place of who it was before. Both must be of one tenant.
    Link(IntegrationId, String, UserId, Timestamp),
    /// Ends that.
    Unlink(IntegrationId, String),
    /// The keyed hash of a user's code, in place of the one before, or none; its counter reset.
    PutUserCode(UserId, Option<[u8; 32]>),
    /// Raises a user's epoch: their device cookies end.
    EndCookies(UserId),
    /// A device has had its user's notices up to this one.
    SeeNotices(DeviceId, u64),
}

/// Why a change didn't happen. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The name is in use.
    #[error("the name is taken")]
    NameTaken,
    /// There is no such thing, or it isn't in a state that allows the change.
    #[error("not found, or not in a state that allows this")]
    NotFound,
    /// One more than is allowed.
    #[error("the limit is reached")]
    Limit,
    /// Not stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stretch of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// After this one: a cursor from the last page.
    pub after: Option<[u8; 16]>,
    /// At most so many.
    pub limit: u32,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The items, in the order in which they were made.
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<[u8; 16]>,
}

/// Who there is.
///
/// Obligations: reads are as fresh as the last change that this process made; another process's change is
/// seen within a second. A change and its audit entries are one durable transaction.
pub trait Directory: Send + Sync {
    /// The owner of a key by the key's SHA-256; dead keys too, so that the caller can say why.
    fn key_owner(&self, hash: [u8; 32])
    -> BoxFuture<'_, Result<Option<Arc<KeyOwner>>, StoreError>>;

    /// A user with everything that bears on a sign-in.
    fn user(
        &self,
        tenant: TenantId,
        user: UserRef,
    ) -> BoxFuture<'_, Result<Option<Arc<UserRecord>>, StoreError>>;

    /// The keyed hash of a user's code, if there is one.
    fn user_code(&self, user: UserId) -> BoxFuture<'_, Result<Option<[u8; 32]>, StoreError>>;

    /// The user who owns a device.
    fn device_owner(
        &self,
        device: DeviceId,
    ) -> BoxFuture<'_, Result<Option<Arc<UserRecord>>, StoreError>>;

    /// An integration by id.
    fn integration(
        &self,
        id: IntegrationId,
    ) -> BoxFuture<'_, Result<Option<Arc<Integration>>, StoreError>>;

    /// The user whom one of a relying party's people is, by the subject that the other side promises never to
    /// give to somebody else.
    fn linked(
        &self,
        integration: IntegrationId,
        subject: String,
    ) -> BoxFuture<'_, Result<Option<UserId>, StoreError>>;

    /// All subjects of an integration with their users.
    fn links(
        &self,
        integration: IntegrationId,
    ) -> BoxFuture<'_, Result<Vec<(String, UserId)>, StoreError>>;

    /// A ticket by id.
    fn ticket(&self, id: TicketId) -> BoxFuture<'_, Result<Option<Ticket>, StoreError>>;

    /// A ticket by the hash of its link's secret.
    fn ticket_by_secret(&self, hash: [u8; 32])
    -> BoxFuture<'_, Result<Option<Ticket>, StoreError>>;

    /// A ticket by typed code: the try is counted durably against the open tickets of that user before the
    /// hash is compared, and the last wrong one ends the code. The link stays: its secret can't be guessed,
    /// and a user's name is no secret.
    fn ticket_by_code(
        &self,
        user: String,
        hash: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<Ticket>, StoreError>>;

    /// All tenants, oldest first.
    fn tenants(&self) -> BoxFuture<'_, Result<Vec<Tenant>, StoreError>>;

    /// Integrations of a tenant.
    fn integrations(&self, tenant: TenantId)
    -> BoxFuture<'_, Result<Vec<Integration>, StoreError>>;

    /// Keys of an integration.
    fn keys(&self, id: IntegrationId) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>>;

    /// Users of a tenant.
    fn users(
        &self,
        tenant: TenantId,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<User>, StoreError>>;

    /// Notices that a device hasn't had yet, and that come after `after`, oldest first, at most so many. Notices
    /// are kept with the entries that carry them ([`Entry::tell`]), the newest
    /// [`domain::notice::KEPT_PER_KIND`] of each kind and user. A device is told what came after its own
    /// enrolment.
    fn notices(
        &self,
        device: DeviceId,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>>;

    /// Makes a change.
    fn apply(&self, change: Change, audit: Vec<Entry>)
    -> BoxFuture<'_, Result<(), DirectoryError>>;
}
