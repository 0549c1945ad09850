//! Codes on a sign-in: TOTP and recovery codes. Counted durably before anything is compared; whatever goes
//! wrong reads the same from outside.

use std::sync::Arc;

use domain::attempts::{Attempts, Counter, Lane, Refusal};
use domain::audit::{Cause, Entry, Event, Shadow, Told};
use domain::challenge::{Challenge, Decision, Method, Proof, State};
use domain::directory::{TotpFactor, UserRecord};
use domain::guard::{self, Asker};
use domain::recovery::RecoveryCode;
use domain::totp;
use ports::{
    Change, Counted, DirectoryError, Effect, HotUser, NoticeKind, SealFor, Settle, Settled,
    StoreError, UserRef,
};
use statement::{ChallengeId, DeviceId, FactorId, TenantId, UserId};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::guarding::{self, About};
use crate::settle::decided_entry;
use crate::shadow::Differs;
use crate::{App, Call, Caller, ChallengeView, Error};

/// What the log says of a code that wasn't even compared.
const SPENT: Cause = Cause::BudgetSpent;

/// Whose the secret is that codes are held against where there is none.
pub(crate) const NOBODYS_TOTP: SealFor = SealFor::Totp(
    TenantId::from_bytes([0; TenantId::LEN]),
    UserId::from_bytes([0; UserId::LEN]),
    FactorId::from_bytes([0; FactorId::LEN]),
);

/// What a code proved, where its try was counted, and what accepting it uses up.
struct Passed {
    proof: Proof,
    counter: Counter,
    effect: Effect,
    /// Whether the shadow policy would not have compared it.
    shadow_refuses: bool,
}

/// Why a code didn't pass.
#[derive(Clone, Copy)]
struct Failed {
    cause: Cause,
    /// What was counted, if it was compared with a factor's.
    attempts: Option<Attempts>,
    /// Whether the shadow policy would not have compared it.
    shadow_refuses: bool,
}

impl Failed {
    const fn because(cause: Cause) -> Self {
        Self { cause, attempts: None, shadow_refuses: false }
    }
}

/// A sign-in that a code is tried on.
struct Tried<'a> {
    challenge: &'a Challenge,
    record: Option<&'a UserRecord>,
    /// Whether a right answer was withheld.
    withheld: bool,
    /// Whose answer that was, if that device still counts.
    by: Option<DeviceId>,
}

impl Tried<'_> {
    /// Which budget the code is counted in.
    fn lane(&self) -> Lane {
        self.challenge.familiarity.lane(self.withheld)
    }
}

impl App {
    /// Tries a code on a sign-in. A challenge that is decided already stays as it is and uses no code up.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::CodeWrong`] (also for a spent budget), [`Error::Store`].
    pub async fn submit_code(
        &self,
        call: &mut Call,
        caller: &Caller,
        id: ChallengeId,
        code: &str,
    ) -> Result<ChallengeView, Error> {
        let (challenge, view) = self.own_challenge(call, caller, id).await?;
        if view.state != State::Pending {
            return Ok(view);
        }
        let (tenant, user) = (challenge.tenant, UserRef::Id(challenge.user));
        let record = self.user_now(call, tenant, user).await?;
        let hot = self.hot.load(challenge.tenant, challenge.user).await?;
        let opened = hot.cell.opened(id);
        let withheld = opened.is_some_and(|opened| opened.withheld);
        let record = record.as_deref();
        let by = opened.and_then(|opened| withheld_by(opened, record));
        let tried = Tried { challenge: &challenge, record, withheld, by };
        let passed = match Typed::read(code) {
            Some(Typed::Totp(code)) if challenge.methods.has(Method::Totp) => {
                self.try_totp(call, &tried, &code).await?
            }
            Some(Typed::Recovery(code)) if challenge.methods.has(Method::RecoveryCode) => {
                let asker = opened.map(|opened| opened.asker).unwrap_or_default();
                self.try_recovery(call, &tried, &asker, code).await?
            }
            _ => return Err(Error::CodeWrong),
        };
        let Some(Passed { proof, counter, effect, shadow_refuses }) = passed else {
            return Err(Error::CodeWrong);
        };
        let alerts = self.use_alerts(call, &hot, record, &challenge);
        let shadow = shadow_refuses.then(|| Shadow { refused: Some(true), ..Shadow::default() });
        let settle = |proof| {
            let mut settle = approval(&challenge, proof, effect, alerts.clone());
            settle.audit.public.shadow = shadow.clone();
            vec![(Arc::clone(&challenge), settle)]
        };
        let mut answers = self.settle_and_tell(call, settle(proof)).await?;
        // the device went after it was looked at: the code stands alone, and the receipt says so
        if let (Some(Settled::DeviceRevoked), Some(alone)) = (answers.first(), proof.alone()) {
            answers = self.settle_and_tell(call, settle(alone)).await?;
        }
        match answers.first() {
            Some(Settled::Locked | Settled::Replayed | Settled::Spent) => {
                let cause = Cause::UsedBefore;
                self.ledger.record(failed_entry(&challenge, proof.method(), cause)).await?;
                return Err(Error::CodeWrong);
            }
            // a right code that was of no use costs nothing
            Some(Settled::Already(_)) => self.uncount(tenant, counter).await?,
            // by the ledger's clock it is over: say so, not that it is pending
            Some(Settled::Late) => {
                self.uncount(tenant, counter).await?;
                self.expire(call, &challenge).await?;
            }
            Some(Settled::Settled(_)) => {
                if shadow_refuses {
                    self.shadowed.note(Differs::Code);
                }
                if proof.method() == Method::RecoveryCode {
                    self.hint_notices(tenant, challenge.user);
                }
                self.tell_digest(call, tenant, challenge.user).await;
            }
            _ => {}
        }
        self.challenge(call, caller, id).await
    }

    /// What is told of a code that passes: each use of a break-glass user is.
    fn use_alerts(
        &self,
        call: &Call,
        hot: &HotUser,
        record: Option<&UserRecord>,
        challenge: &Challenge,
    ) -> Vec<Entry> {
        let policy = self.policy(challenge.tenant, challenge.integration);
        let now = guard::seconds(call.now);
        let untold = record.and_then(|record| guarding::untold_use(record, challenge));
        let memory = hot.cell.memory.at(policy, now);
        let alerts = memory.grounded(policy, untold.into_iter().collect(), now);
        guarding::raise(About::challenge(challenge), alerts, None)
    }

    async fn try_totp(
        &self,
        call: &mut Call,
        tried: &Tried<'_>,
        code: &str,
    ) -> Result<Option<Passed>, Error> {
        let Tried { challenge, record, by, .. } = *tried;
        let (lane, budgets) = (tried.lane(), self.budgets(challenge.tenant));
        let counter = Counter::Totp(challenge.user, lane);
        let factor = record.and_then(|r| r.totp.as_ref()).filter(|totp| !totp.locked);
        let attempts = match self.ledger.count_attempt(counter, budgets).await? {
            Counted::Counted(attempts) => attempts,
            Counted::Refused(refusal) => {
                // whoever reached the cap may not have come to lock: unlocked it could never be bound anew
                if refusal == Refusal::Locked && lane == Lane::Own && factor.is_some() {
                    self.lock_totp(challenge).await?;
                }
                self.check_totp(call, challenge, None, code)?;
                self.note_failure(call, tried, Method::Totp, Failed::because(SPENT)).await?;
                return Ok(None);
            }
        };
        let tenant = challenge.tenant;
        let shadow_refuses = self.shadow_refuses(tenant, lane, attempts, call.now);
        let step = self.check_totp(call, challenge, factor, code)?;
        if let (Some(factor), Some(step)) = (factor, step) {
            let proof = match by {
                Some(device) => Proof::Both(device, factor.id),
                None => Proof::Totp(factor.id),
            };
            let effect = Effect::BurnStep { factor: factor.id, step, lane, budgets };
            return Ok(Some(Passed { proof, counter, effect, shadow_refuses }));
        }
        let failed = Failed { cause: Cause::Wrong, attempts: Some(attempts), shadow_refuses };
        self.note_failure(call, tried, Method::Totp, failed).await?;
        let counter = Counter::Totp(challenge.user, lane);
        if factor.is_some() && lane == Lane::Own && attempts.is_locked(counter, &budgets) {
            self.lock_totp(challenge).await?;
        }
        Ok(None)
    }

    async fn uncount(&self, tenant: TenantId, counter: Counter) -> Result<(), StoreError> {
        self.ledger.uncount_attempt(counter, self.budgets(tenant)).await
    }

    async fn lock_totp(&self, challenge: &Challenge) -> Result<(), Error> {
        let entry = Entry::new(challenge.tenant, Event::FactorLocked).with(|public| {
            public.user = Some(challenge.user);
            public.factor = Some(Method::Totp);
            public.cause = Some(Cause::HardCap.into());
        });
        match self.directory.apply(Change::LockTotp(challenge.user), vec![entry]).await {
            // locked already, or gone: the code is wrong all the same
            Err(DirectoryError::NotFound) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Tells the guard of a code that didn't pass, and writes it down; tells the owner of failures that add up (OWASP: a
    /// failed second factor after a right password is worth knowing). Names that nobody has cost the same, and so
    /// does a budget that is spent: nobody can measure which it was.
    async fn note_failure(
        &self,
        call: &mut Call,
        tried: &Tried<'_>,
        method: Method,
        Failed { cause, attempts, shadow_refuses }: Failed,
    ) -> Result<(), Error> {
        let Tried { challenge, record, .. } = *tried;
        let policy = self.policy(challenge.tenant, challenge.integration);
        let now = guard::seconds(call.now);
        let spent = cause == SPENT;
        let mut entry = failed_entry(challenge, method, cause)
            .with(|public| public.told = Some(Told { spent, ..Told::at(now) }));
        let tells_owner = attempts.is_some_and(Attempts::tells_owner);
        if let (true, Some(Attempts { failures, .. })) = (tells_owner, attempts) {
            let text = format!(
                "{failures} wrong codes in a row were tried for your account. If it wasn't you, somebody \
                 knows your password."
            );
            entry = entry.telling(challenge.user, NoticeKind::RepeatedFailures, text);
        }
        let fail = |cell: &mut guard::Cell| {
            let before = cell.memory;
            cell.memory.bring_to(policy, now);
            let origin = cell.opened(challenge.id).map(|opened| opened.charge.origin);
            let origin = origin.unwrap_or_default();
            let mut alerts = cell.memory.code_failed(policy, &origin, spent, now);
            let told = (spent, shadow_refuses);
            let shadow = self.shadow_code(challenge, (&before, &origin), told, &alerts, now);
            let differs = shadow.is_some();
            alerts.retain(|_| record.is_some());
            let alerts = cell.memory.grounded(policy, alerts, now);
            let mut entries = vec![entry.clone().with(|public| public.shadow = shadow)];
            entries.extend(guarding::raise(About::challenge(challenge), alerts, None));
            (differs, Some(entries))
        };
        let differs = self.change_cell(call, challenge.tenant, challenge.user, fail).await?;
        if tells_owner {
            self.hint_notices(challenge.tenant, challenge.user);
        }
        if differs {
            self.shadowed.note(Differs::Code);
        }
        Ok(())
    }

    async fn try_recovery(
        &self,
        call: &mut Call,
        tried: &Tried<'_>,
        asker: &Asker,
        code: RecoveryCode,
    ) -> Result<Option<Passed>, Error> {
        let Tried { challenge, record, by, .. } = *tried;
        let stored = record
            .and_then(|record| record.recovery.iter().find(|stored| stored.id == code.id))
            .filter(|stored| !stored.used);
        let Some(stored) = stored else {
            // no hash is computed for a code that nobody has
            let policy = self.policy(challenge.tenant, challenge.integration);
            let may = self.may_send_junk(policy, challenge.tenant, asker, call.now);
            let cause = if may { Cause::UnknownCode } else { SPENT };
            self.note_failure(call, tried, Method::RecoveryCode, Failed::because(cause)).await?;
            return Ok(None);
        };
        let counter = Counter::RecoveryCode(challenge.user, code.id);
        let budgets = self.budgets(challenge.tenant);
        let counted = self.ledger.count_attempt(counter, budgets).await?;
        let Counted::Counted(attempts) = counted else {
            self.note_failure(call, tried, Method::RecoveryCode, Failed::because(SPENT)).await?;
            return Ok(None);
        };
        let secret = Zeroizing::new(code.secret.to_vec());
        let hash = self.vault.stretch(secret, stored.salt).await?;
        if !bool::from(hash.ct_eq(&stored.hash)) {
            let failed = Failed { attempts: Some(attempts), ..Failed::because(Cause::Wrong) };
            self.note_failure(call, tried, Method::RecoveryCode, failed).await?;
            return Ok(None);
        }
        let effect = Effect::SpendCode { code: code.id };
        let proof = match by {
            Some(device) => Proof::BothByRecoveryCode(device, stored.factor),
            None => Proof::RecoveryCode(stored.factor),
        };
        Ok(Some(Passed { proof, counter, effect, shadow_refuses: false }))
    }

    /// Which step of the user's secret a code is of. Without a secret, or without a budget to compare it, the code
    /// is held against one that no code matches, to take as long.
    fn check_totp(
        &self,
        call: &Call,
        challenge: &Challenge,
        factor: Option<&TotpFactor>,
        code: &str,
    ) -> Result<Option<u64>, StoreError> {
        let (purpose, sealed, last_step) = match factor {
            Some(TotpFactor { id, secret, last_step, .. }) => {
                (SealFor::Totp(challenge.tenant, challenge.user, *id), secret, *last_step)
            }
            None => (NOBODYS_TOTP, &self.nobodys_totp, u64::MAX),
        };
        let secret = self.open_totp(purpose, sealed)?;
        Ok(totp::check(&secret, code, last_step, call.now))
    }

    /// Opens a sealed TOTP secret.
    pub(crate) fn open_totp(
        &self,
        purpose: SealFor,
        sealed: &[u8],
    ) -> Result<totp::Secret, StoreError> {
        let wrong = || StoreError::Inconsistent("a TOTP secret doesn't open".into());
        let plain = self.vault.open(purpose, sealed).map_err(|_| wrong())?;
        let mut secret = Zeroizing::new([0; totp::SECRET_LEN]);
        if plain.len() != secret.len() {
            return Err(wrong());
        }
        secret.copy_from_slice(&plain);
        Ok(secret)
    }
}

/// Which device gave a right answer that was withheld, if it still counts.
fn withheld_by(opened: &guard::Opened, record: Option<&UserRecord>) -> Option<DeviceId> {
    let by = opened.by.filter(|_| opened.withheld)?;
    let mut devices = record?.active_devices().map(|device| device.id);
    devices.find(|id| guard::device_tag(*id) == by)
}

/// What was typed.
enum Typed {
    Totp(Zeroizing<String>),
    Recovery(RecoveryCode),
}

impl Typed {
    fn read(code: &str) -> Option<Self> {
        let compact: String = code.chars().filter(|c| !c.is_whitespace()).take(64).collect();
        let compact = Zeroizing::new(compact);
        let is_totp = compact.len() == usize::from(totp::DIGITS)
            && compact.bytes().all(|byte| byte.is_ascii_digit());
        if is_totp {
            return Some(Self::Totp(compact));
        }
        RecoveryCode::parse(&compact).map(Self::Recovery)
    }
}

/// An approval by a code. A device that has a part in it must be active.
fn approval(challenge: &Challenge, proof: Proof, effect: Effect, alerts: Vec<Entry>) -> Settle {
    let mut audit = decided_entry(challenge, Decision::Approved, Some(proof));
    if proof.method() == Method::RecoveryCode {
        let text =
            "A recovery code was used to sign in. If it wasn't you, tell your administrator now.";
        audit = audit.telling(challenge.user, NoticeKind::RecoveryCodeUsed, text);
    }
    Settle {
        challenge: challenge.id,
        decision: Decision::Approved,
        proof: Some(proof),
        after_expiry: false,
        device: proof.device(),
        effects: vec![effect],
        audit,
        alerts,
    }
}

fn failed_entry(challenge: &Challenge, method: Method, cause: Cause) -> Entry {
    Entry::new(challenge.tenant, Event::CodeFailed).with(|public| {
        public.challenge = Some(challenge.id);
        public.user = Some(challenge.user);
        public.integration = Some(challenge.integration);
        public.factor = Some(method);
        public.cause = Some(cause.into());
    })
}
