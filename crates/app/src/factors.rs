//! Factors and devices: made, reset, revoked; and how their owner hears of it.

use std::fmt;
use std::sync::Arc;

use domain::attempts::Counter;
use domain::audit::{Cause, Entry, Event};
use domain::challenge::{Decision, Method};
use domain::directory::{Device, StoredCode, TakesTwo, UserRecord, Wait};
use domain::recovery::{self, RecoveryCode};
use domain::totp;
use ports::{Change, Counted, Hint, NoticeKind, StoreError, UserRef};
use statement::{DeviceId, FactorId, TenantId, UserId};
use zeroize::Zeroizing;

use crate::gateway::factor_entry;
use crate::guarding::{self, About};
use crate::settle::plain;
use crate::tickets::reason;
use crate::waiting::{self, waits_for};
use crate::{Actor, App, Call, Error};

/// A new factor, as it is given out once. Redacted in `Debug`.
pub enum NewFactor {
    /// A TOTP secret.
    Totp {
        /// Its id.
        factor: FactorId,
        /// What authenticator apps scan.
        otpauth_uri: Zeroizing<String>,
        /// Why it doesn't work yet.
        wait: Option<Wait>,
    },
    /// Recovery codes to print.
    RecoveryCodes {
        /// The set's id.
        factor: FactorId,
        /// The codes.
        codes: Vec<Zeroizing<String>>,
        /// Why they don't work yet.
        wait: Option<Wait>,
    },
}

impl fmt::Debug for NewFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewFactor(redacted)")
    }
}

impl App {
    /// Makes a TOTP secret or a set of recovery codes, in place of the one before: at once, or under attack later.
    /// The owner is told.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] for push, [`Error::Store`].
    pub async fn create_factor(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        user: UserRef,
        method: Method,
    ) -> Result<NewFactor, Error> {
        let user = self.user_now(call, tenant, user).await?.ok_or(Error::NotFound)?;
        if method == Method::Push {
            return Err(Error::invalid("type", "a device is enrolled with a ticket"));
        }
        let (decision, alerts) = self.judge_new(call, &user).await?;
        let by = actor.to_string();
        let wait = waiting::wait(self.user_policy(tenant), decision, &by, call.now);
        let alerts = guarding::raise(About::user(tenant, user.user.id), alerts, None);
        let new = (wait, alerts);
        let factor = match method {
            Method::RecoveryCode => self.create_recovery_codes(call, actor, &user, new).await?,
            _ => self.create_totp(call, actor, &user, new).await?,
        };
        self.hint_notices(tenant, user.user.id);
        Ok(factor)
    }

    async fn create_totp(
        &self,
        call: &mut Call,
        actor: &Actor,
        user: &UserRecord,
        (wait, alerts): (Option<Wait>, Vec<Entry>),
    ) -> Result<NewFactor, Error> {
        let (tenant, id) = (user.user.tenant, user.user.id);
        let (secret, factor) = self.new_totp(call, tenant, id);
        let otpauth_uri = totp::uri(&secret, "Countersign", &user.user.name)
            .map_err(|_| Error::invalid("user", "needs a name that authenticator apps can show"))?;
        let cause = wait.as_ref().map(|wait| waits_for(wait).into());
        let text = "A new code generator was set up for your account.";
        let entry = factor_entry(tenant, id, actor).with(|public| public.cause = cause).telling(
            id,
            NoticeKind::FactorCreated,
            text,
        );
        let new = NewFactor::Totp { factor: factor.id, otpauth_uri, wait: wait.clone() };
        let change = match wait {
            Some(wait) => Change::AddTotp(id, factor, wait),
            None => Change::PutTotp(id, factor),
        };
        let audit = std::iter::once(entry).chain(alerts).collect();
        self.directory.apply(change, audit).await?;
        Ok(new)
    }

    async fn create_recovery_codes(
        &self,
        call: &mut Call,
        actor: &Actor,
        user: &UserRecord,
        (wait, alerts): (Option<Wait>, Vec<Entry>),
    ) -> Result<NewFactor, Error> {
        let (tenant, id) = (user.user.tenant, user.user.id);
        let factor = FactorId::from_bytes(call.random());
        let mut codes = Vec::with_capacity(recovery::CODES);
        let mut stored = Vec::with_capacity(recovery::CODES);
        for _ in 0..recovery::CODES {
            let code = RecoveryCode::draw(&mut *call.rng);
            let salt = call.random();
            let secret = Zeroizing::new(code.secret.to_vec());
            let hash = self.vault.stretch(secret, salt).await?;
            stored.push(StoredCode { id: code.id, factor, salt, hash, used: false });
            codes.push(code.print());
        }
        let text = "New recovery codes were made for your account.";
        let entry = factor_entry(tenant, id, actor)
            .with(|public| {
                public.factor = Some(Method::RecoveryCode);
                public.cause = wait.as_ref().map(|wait| waits_for(wait).into());
            })
            .telling(id, NoticeKind::FactorCreated, text);
        let change = match &wait {
            Some(wait) => Change::AddRecoveryCodes(id, stored, wait.clone()),
            None => Change::PutRecoveryCodes(id, stored),
        };
        let audit = std::iter::once(entry).chain(alerts).collect();
        self.directory.apply(change, audit).await?;
        Ok(NewFactor::RecoveryCodes { factor, codes, wait })
    }

    /// Removes all factors and devices of a user. What is live is cancelled, what is approved lapses. Under attack
    /// it takes two people.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ReasonRequired`], [`Error::SecondApprover`], [`Error::Store`].
    pub async fn reset_user(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        user: UserRef,
        why: Option<String>,
    ) -> Result<(), Error> {
        let user = self.directory.user(tenant, user).await?.ok_or(Error::NotFound)?;
        let why = reason(why)?.ok_or(Error::ReasonRequired)?;
        let what = (TakesTwo::Reset, Some(why.as_str()));
        self.demand_second(call, actor, &user, what).await?;
        let id = user.user.id;
        let text = "All your factors and devices were removed by an administrator.";
        let entry = Entry::new(tenant, Event::FactorReset)
            .with(|public| public.user = Some(id))
            .privately(|private| {
                private.by = Some(actor.to_string());
                private.reason = Some(why);
            })
            .telling(id, NoticeKind::FactorReset, text);
        self.directory.apply(Change::ResetUser(id, call.now), vec![entry]).await?;
        self.hint_notices(tenant, id);
        for device in user.enrolled_devices() {
            self.courier.tell_device(device.id, Hint::Revoked);
        }
        self.cancel_unanswerable(call, tenant, id).await
    }

    /// Revokes a device: its socket closes, its unredeemed approvals lapse, and challenges that nothing else
    /// could answer are cancelled.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn revoke_device(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        id: DeviceId,
    ) -> Result<(), Error> {
        let owner = self.directory.device_owner(id).await?.ok_or(Error::NotFound)?;
        let device = owner.enrolled_devices().find(|device| device.id == id);
        let device = device.filter(|device| device.tenant == tenant).ok_or(Error::NotFound)?;
        self.revoke(call, actor, device, None).await
    }

    async fn revoke(
        &self,
        call: &mut Call,
        actor: &Actor,
        device: &Device,
        cause: Option<Cause>,
    ) -> Result<(), Error> {
        let (tenant, user) = (device.tenant, device.user);
        let text = format!("\"{}\" was removed from your account.", device.name);
        let entry = Entry::new(tenant, Event::DeviceRevoked)
            .with(|public| {
                public.user = Some(user);
                public.device = Some(device.id);
                public.cause = cause.map(String::from);
            })
            .privately(|private| private.by = Some(actor.to_string()))
            .telling(user, NoticeKind::DeviceRevoked, text);
        self.directory.apply(Change::RevokeDevice(device.id, call.now), vec![entry]).await?;
        self.courier.tell_device(device.id, Hint::Revoked);
        self.hint_notices(tenant, user);
        self.cancel_unanswerable(call, tenant, user).await
    }

    /// Cancels the user's live challenges that no device and no code could answer any more.
    async fn cancel_unanswerable(
        &self,
        call: &mut Call,
        tenant: TenantId,
        user: UserId,
    ) -> Result<(), Error> {
        let record = self.user_now(call, tenant, UserRef::Id(user)).await?;
        let left = record.map(|record| record.methods()).unwrap_or_default();
        let hot = self.load_user(call, tenant, user).await?;
        let unanswerable =
            hot.live.iter().filter(|c| !c.is_past(call.now) && c.methods.and(left).is_empty());
        let items: Vec<_> =
            unanswerable.map(|c| (Arc::clone(c), plain(c, Decision::Cancelled))).collect();
        if !items.is_empty() {
            self.settle_and_tell(call, items).await?;
        }
        Ok(())
    }

    /// Revokes a device that typed too many wrong numbers; its owner enrols it anew.
    pub(crate) async fn cap_device(
        &self,
        call: &mut Call,
        user: &UserRecord,
        device: &Device,
    ) -> Result<(), StoreError> {
        let counter = Counter::Device(device.id);
        let budgets = self.budgets(user.user.tenant);
        let refused = match self.ledger.count_attempt(counter, budgets).await? {
            Counted::Refused(refusal) => refusal == domain::attempts::Refusal::Locked,
            Counted::Counted(attempts) => attempts.is_locked(counter, &budgets),
        };
        if refused && user.active_devices().any(|active| active.id == device.id) {
            match self.revoke(call, &Actor::Rule, device, Some(Cause::HardCap)).await {
                Ok(()) | Err(Error::NotFound) => {}
                Err(Error::Store(error)) => return Err(error),
                Err(error) => return Err(StoreError::Inconsistent(error.to_string())),
            }
        }
        Ok(())
    }
}
