//! Ports that count their calls on the way to the real stores: what a caller could measure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use app::Ports;
use domain::attempts::{Budgets, Counter};
use domain::audit::Entry;
use domain::challenge::Challenge;
use domain::directory::{ApiKey, Integration, Tenant, User, UserRecord};
use domain::protocol::TokenAlgorithm;
use domain::ticket::Ticket;
use ports::{
    AuditFilter, AuditRow, BoxFuture, Certified, Change, Committed, Counted, Directory,
    DirectoryError, Effect, Hot, HotChange, HotError, HotUser, KeyOwner, Ledger, LedgerRecord,
    Listed, MacKey, NewTokenKey, Notice, Open, Opened, Page, Redeem, Redeemed, Replay, ReplayKey,
    Rider, SealError, SealFor, Settle, Settled, SignedCheckpoint, StoreError, TokenKey, UserRef,
    Vault,
};
use statement::{
    ChallengeId, DeviceId, IntegrationId, PublicKey, Signature, TenantId, TicketId, Timestamp,
    UserId,
};
use zeroize::Zeroizing;

/// How often each method of each store was called.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Calls {
    fn count(&self, method: &'static str) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(method).or_default() += 1;
    }

    /// What was called since the last look.
    pub(crate) fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same ports, counted. A courier is no store: nobody waits for it.
    pub(crate) fn of(&self, ports: Ports) -> Ports {
        Ports {
            hot: Arc::new(Counting { calls: self.clone(), inner: ports.hot }),
            ledger: Arc::new(Counting { calls: self.clone(), inner: ports.ledger }),
            directory: Arc::new(Counting { calls: self.clone(), inner: ports.directory }),
            vault: Arc::new(Counting { calls: self.clone(), inner: ports.vault }),
            courier: ports.courier,
        }
    }
}

struct Counting<T: ?Sized> {
    calls: Calls,
    inner: Arc<T>,
}

/// Passes each method on and counts it by its name.
macro_rules! counted {
    ($port:ident { $(own { $($own:tt)* })? $(fn $name:ident($($arg:ident: $of:ty),*) -> $result:ty;)* }) => {
        impl $port for Counting<dyn $port> {
            $($($own)*)?
            $(fn $name(&self, $($arg: $of),*) -> $result {
                self.calls.count(concat!(stringify!($port), "::", stringify!($name)));
                self.inner.$name($($arg),*)
            })*
        }
    };
}

const BY_ID: &str = "Directory::user by id";

type Stored<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

counted!(Hot {
    fn load(tenant: TenantId, user: UserId) -> Stored<'_, HotUser>;
    fn commit(change: HotChange) -> BoxFuture<'_, Result<Committed, HotError>>;
    fn flush(rider: Rider) -> Stored<'_, ()>;
});

counted!(Ledger {
    fn open(item: Open) -> Stored<'_, Opened>;
    fn settle(items: Vec<Settle>) -> Stored<'_, Vec<Settled>>;
    fn redeem(item: Redeem) -> Stored<'_, Redeemed>;
    fn lapse(challenge: ChallengeId, effects: Vec<Effect>, audit: Entry) -> Stored<'_, bool>;
    fn count_attempt(counter: Counter, budgets: Budgets) -> Stored<'_, Counted>;
    fn uncount_attempt(counter: Counter, budgets: Budgets) -> Stored<'_, ()>;
    fn due(limit: u32) -> Stored<'_, Vec<Arc<Challenge>>>;
    fn record_all(entries: Vec<Entry>, rider: Option<Rider>) -> Stored<'_, ()>;
    fn lookup(id: ChallengeId) -> Stored<'_, Option<LedgerRecord>>;
    fn recall(key: ReplayKey) -> Stored<'_, Option<Replay>>;
    fn remember(key: ReplayKey, status: u16, body: Option<String>) -> Stored<'_, ()>;
    fn read(filter: AuditFilter) -> Stored<'_, Vec<AuditRow>>;
    fn checkpoint() -> Stored<'_, usize>;
    fn last_checkpoint(tenant: TenantId) -> Stored<'_, Option<SignedCheckpoint>>;
});

counted!(Directory {
    own {
        // whoever is found by name is looked for twice, by name and then by id
        fn user(&self, tenant: TenantId, user: UserRef) -> Stored<'_, Option<Arc<UserRecord>>> {
            Box::pin(async move {
                let by_name = matches!(user, UserRef::Name(_));
                let found = self.inner.user(tenant, user).await?;
                self.calls.count(if by_name { "Directory::user by name" } else { BY_ID });
                if by_name && found.is_some() {
                    self.calls.count(BY_ID);
                }
                Ok(found)
            })
        }
    }
    fn key_owner(hash: [u8; 32]) -> Stored<'_, Option<Arc<KeyOwner>>>;
    fn user_code(user: UserId) -> Stored<'_, Option<[u8; 32]>>;
    fn device_owner(device: DeviceId) -> Stored<'_, Option<Arc<UserRecord>>>;
    fn integration(id: IntegrationId) -> Stored<'_, Option<Arc<Integration>>>;
    fn linked(integration: IntegrationId, subject: String) -> Stored<'_, Option<UserId>>;
    fn links(integration: IntegrationId) -> Stored<'_, Vec<(String, UserId)>>;
    fn ticket(id: TicketId) -> Stored<'_, Option<Ticket>>;
    fn ticket_by_secret(hash: [u8; 32]) -> Stored<'_, Option<Ticket>>;
    fn ticket_by_code(user: String, hash: [u8; 32]) -> Stored<'_, Option<Ticket>>;
    fn tenants() -> Stored<'_, Vec<Tenant>>;
    fn integrations(tenant: TenantId) -> Stored<'_, Vec<Integration>>;
    fn keys(id: IntegrationId) -> Stored<'_, Vec<ApiKey>>;
    fn users(tenant: TenantId, page: Page) -> Stored<'_, Listed<User>>;
    fn notices(device: DeviceId, after: u64, limit: u32) -> Stored<'_, Vec<Notice>>;
    fn apply(change: Change, audit: Vec<Entry>) -> BoxFuture<'_, Result<(), DirectoryError>>;
});

counted!(Vault {
    own {
        // not counted: one more or less, as for the id of a user who doesn't exist, is a microsecond
        fn mac(&self, key: MacKey, parts: &[&[u8]]) -> [u8; 32] {
            self.inner.mac(key, parts)
        }
    }
    fn seal(purpose: SealFor, plain: &[u8]) -> Vec<u8>;
    fn open(purpose: SealFor, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError>;
    fn identity() -> &PublicKey;
    fn certified() -> &[Certified];
    fn sign_challenge(document: &[u8]) -> (u32, Signature);
    fn sign_receipt(claims: &[u8]) -> String;
    fn receipt_jwks() -> String;
    fn draw_token_key(
        algorithm: TokenAlgorithm,
        now: Timestamp,
        signs_from: Timestamp
    ) -> Stored<'_, NewTokenKey>;
    fn adopt_token_key(key: &NewTokenKey) -> Result<(), SealError>;
    fn token_keys(now: Timestamp) -> Vec<TokenKey>;
    fn sign_token(algorithm: TokenAlgorithm, now: Timestamp, claims: &[u8]) -> Option<String>;
    fn token_jwks(algorithms: &[TokenAlgorithm], now: Timestamp) -> String;
    fn audit_key() -> &PublicKey;
    fn stretch(
        secret: Zeroizing<Vec<u8>>,
        salt: [u8; domain::recovery::SALT_LEN]
    ) -> Stored<'_, [u8; 32]>;
});
