//! The ledger: the durable record of decisions, attempts and everything audited.

use std::sync::Arc;

use domain::attempts::{Attempts, Budgets, Counter, Lane, Refusal};
use domain::audit::{Entry, Private, Public};
use domain::challenge::{Challenge, Decided, Decision, Proof, State};
use domain::cookie::CookieId;
use domain::receipt;
use statement::{
    ChallengeId, Checkpoint, DeviceId, EventId, FactorId, IntegrationId, Signature, TenantId,
    Timestamp, UserId,
};

use crate::{BoxFuture, Rider, StoreError};

/// A challenge to be opened.
#[derive(Debug)]
pub struct Open {
    /// The challenge.
    pub challenge: Arc<Challenge>,
    /// Under which key the caller can ask for the same again.
    pub replay: Option<ReplayKey>,
    /// Its audit entry.
    pub audit: Entry,
    /// What the guard raised because of it, written if and only if it opens.
    pub alerts: Vec<Entry>,
    /// The hot commit that rides along.
    pub rider: Option<Rider>,
}

/// What became of [`Open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is durable.
    Opened,
    /// The replay key was taken meanwhile; nothing was stored.
    Replayed,
}

/// An `Idempotency-Key` of an integration, with the hash of the request that used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplayKey {
    /// Whose key.
    pub integration: IntegrationId,
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of method, path and body.
    pub request: [u8; 32],
}

/// What an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The challenge that was created under it.
    Challenge(ChallengeId),
    /// A stored reply.
    Reply {
        /// HTTP status.
        status: u16,
        /// Body; `None` if it held a secret and wasn't stored.
        body: Option<String>,
    },
    /// Something else: the request differs.
    OtherRequest,
}

/// What a decision does beside deciding, in the same transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Accepts a TOTP step: it must be newer than the last one, the factor must not be locked. No failure in
    /// any lane is consecutive any more, and the lane's own try is given back; its other tries stay spent.
    BurnStep {
        /// The factor.
        factor: FactorId,
        /// The step.
        step: u64,
        /// Where its try was counted.
        lane: Lane,
        /// By which numbers.
        budgets: Budgets,
    },
    /// Uses up a recovery code, which must be unused, and resets its counter.
    SpendCode {
        /// Its public id.
        code: [u8; 5],
    },
    /// Forgets all that was counted.
    Reset(Counter),
    /// Kills one device cookie.
    KillCookie(CookieId),
    /// Raises the user's epoch: ends all older device cookies.
    RaiseEpoch,
    /// What of the user's waits for time waits for a second person from now on.
    HoldWaits,
    /// Forgets the hot state and what was counted of a user of that tenant whom the directory doesn't know, if
    /// nothing of theirs is live any more: anybody can make names up.
    ForgetNobody(TenantId),
}

/// A decision to be settled.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Of which challenge.
    pub challenge: ChallengeId,
    /// How it ends.
    pub decision: Decision,
    /// By what.
    pub proof: Option<Proof>,
    /// Whether it still counts when the challenge has expired: only [`Decision::Expired`] itself does.
    /// The ledger's clock alone judges, at the moment of writing.
    pub after_expiry: bool,
    /// The device that must be active.
    pub device: Option<DeviceId>,
    /// What else happens.
    pub effects: Vec<Effect>,
    /// Its audit entry, written if and only if it settles.
    pub audit: Entry,
    /// What the guard raises because of it, written with that.
    pub alerts: Vec<Entry>,
}

/// What became of [`Settle`]. In every case but `Settled`, nothing of the item was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Decided thus, now.
    Settled(Decided),
    /// It was decided before, thus.
    Already(Decided),
    /// It expired first. The expiry itself is settled by whoever sweeps.
    Late,
    /// [`Decision::Expired`], but the ledger's clock says that it hasn't yet.
    Early,
    /// There is no such challenge.
    Unknown,
    /// The device isn't active.
    DeviceRevoked,
    /// The factor is locked or gone.
    Locked,
    /// The TOTP step was accepted before, or a newer one was.
    Replayed,
    /// The recovery code was used before.
    Spent,
}

/// A try to redeem an approval.
#[derive(Clone, Debug)]
pub struct Redeem {
    /// Of which challenge.
    pub challenge: ChallengeId,
    /// SHA-256 of the browser session that asks.
    pub session: [u8; 32],
    /// Written if it redeems.
    pub audit: Entry,
    /// Written if the session is the wrong one.
    pub audit_wrong: Entry,
}

/// What became of [`Redeem`]. Its window ends [`domain::challenge::COLLECT_WINDOW`] after the decision; the
/// receipt that pays it out lives [`receipt::LIFE_S`] seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// Now, and never again.
    Redeemed(Decided),
    /// It isn't approved.
    NotApproved,
    /// It was redeemed before.
    Already,
    /// Too late, or reported, or its device was revoked or its user reset meanwhile.
    Lapsed,
    /// Another browser session; the fifth lapses it.
    WrongSession,
    /// There is no such challenge.
    Unknown,
}

const _: () = assert!(receipt::LIFE_S == 60, "the contract promises receipts of at most a minute");

/// A counted try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It may be compared; counted as a failure until something resets it.
    Counted(Attempts),
    /// It may not.
    Refused(Refusal),
}

/// A challenge as the ledger has it.
#[derive(Clone, Debug)]
pub struct LedgerRecord {
    /// The challenge.
    pub challenge: Arc<Challenge>,
    /// Where it stands; lapses by revocation and reset included, lapses by time not.
    pub state: State,
    /// Its first audit row.
    pub opened: EventId,
    /// The audit row of its decision.
    pub decided: Option<EventId>,
}

/// One stored audit row.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// Its place.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// When.
    pub at: Timestamp,
    /// The chained part.
    pub public: Public,
    /// The other part; `None` once it is erased.
    pub private: Option<Private>,
}

/// Which audit rows are wanted.
#[derive(Clone, Debug)]
pub struct AuditFilter {
    /// Of this tenant.
    pub tenant: TenantId,
    /// After this row.
    pub after: Option<EventId>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Of this kind.
    pub event: Option<domain::audit::Event>,
    /// About this user.
    pub user: Option<UserId>,
    /// From this integration.
    pub integration: Option<IntegrationId>,
    /// About this challenge.
    pub challenge: Option<ChallengeId>,
    /// At most so many.
    pub limit: u32,
}

/// A checkpoint with its signature by the audit key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The signature.
    pub signature: Signature,
}

/// The durable record.
///
/// Obligations: when a write's future resolves with success it survives `kill -9` and power loss. A change
/// and its audit entry are one transaction. The backend's own clock judges expiry at the moment of writing. An
/// error means that nothing was stored. Writers never wait for each other longer than a commit.
pub trait Ledger: Send + Sync {
    /// Opens a challenge with its audit row, its replay key and the hot commit that rides along.
    fn open(&self, item: Open) -> BoxFuture<'_, Result<Opened, StoreError>>;

    /// Settles decisions together, in order. Each is judged alone: one that fails doesn't
    /// keep the others back.
    fn settle(&self, items: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>>;

    /// Redeems an approval exactly once.
    fn redeem(&self, item: Redeem) -> BoxFuture<'_, Result<Redeemed, StoreError>>;

    /// Ends an approval that nobody redeemed, with the effects of that. `false` if there was none.
    fn lapse(
        &self,
        challenge: ChallengeId,
        effects: Vec<Effect>,
        audit: Entry,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Counts a try before anything is compared. A refusal changes nothing, and takes as long: whoever measures
    /// it must not learn that a budget is spent.
    fn count_attempt(
        &self,
        counter: Counter,
        budgets: Budgets,
    ) -> BoxFuture<'_, Result<Counted, StoreError>>;

    /// Takes back a counted try that turned out right and was of no use: the sign-in was decided or over.
    fn uncount_attempt(
        &self,
        counter: Counter,
        budgets: Budgets,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Open challenges that expired at or before the ledger's now, oldest first.
    fn due(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Arc<Challenge>>, StoreError>>;

    /// Writes an audit entry that stands for itself: a refusal, a lapse.
    fn record(&self, entry: Entry) -> BoxFuture<'_, Result<(), StoreError>> {
        self.record_all(vec![entry], None)
    }

    /// Writes entries that stand for themselves, in order, with the hot commit that rides along, all or none.
    fn record_all(
        &self,
        entries: Vec<Entry>,
        rider: Option<Rider>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A challenge by id.
    fn lookup(&self, id: ChallengeId) -> BoxFuture<'_, Result<Option<LedgerRecord>, StoreError>>;

    /// What an idempotency key of the last 24 hours stands for.
    fn recall(&self, key: ReplayKey) -> BoxFuture<'_, Result<Option<Replay>, StoreError>>;

    /// Stores a reply under an idempotency key.
    fn remember(
        &self,
        key: ReplayKey,
        status: u16,
        body: Option<String>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Audit rows in lane order.
    fn read(&self, filter: AuditFilter) -> BoxFuture<'_, Result<Vec<AuditRow>, StoreError>>;

    /// Signs and stores a checkpoint for every tenant with rows since its last one; returns how many.
    fn checkpoint(&self) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// The newest checkpoint of a tenant.
    fn last_checkpoint(
        &self,
        tenant: TenantId,
    ) -> BoxFuture<'_, Result<Option<SignedCheckpoint>, StoreError>>;
}
