//! Enrolment under attack: who pesters a person may have called the help desk too. What is made while a user's
//! level is raised waits, and what the person has works on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use domain::audit::{Cause, Entry, Event};
use domain::directory::{Device, SecondRequest, TakesTwo, UserRecord, Wait};
use domain::guard::{self, EnrolmentDecision, Policy, Raised};
use ports::{Change, DirectoryError, Hint, Notice, NoticeKind, StoreError, UserRef};
use statement::{DeviceId, FactorId, TenantId, Timestamp, UserId};

use crate::guarding::{self, About};
use crate::{Actor, App, Call, Connected, Error};

/// How long a reset that was asked for may be agreed to: a shift that ended is asked again.
const REQUEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the audit says something waits for.
pub(crate) fn waits_for(wait: &Wait) -> Cause {
    if wait.until.is_some() { Cause::Time } else { Cause::SecondApprover }
}

/// That what waited for time waits for a second person, and why.
pub(crate) fn held_entry(tenant: TenantId, user: UserId, cause: Cause) -> Entry {
    Entry::new(tenant, Event::WaitHeld).with(|public| {
        public.user = Some(user);
        public.cause = Some(cause.into());
    })
}

/// When what was made now counts, if `by` let it be made.
pub(crate) fn wait(
    policy: &Policy,
    decision: EnrolmentDecision,
    by: &str,
    now: Timestamp,
) -> Option<Wait> {
    let life = Duration::from_secs(Policy::seconds(policy.enrolment_wait_s).into());
    let until = match decision {
        EnrolmentDecision::Allow => return None,
        EnrolmentDecision::Wait => Some(now.plus(life)),
        EnrolmentDecision::SecondApprover => None,
    };
    Some(Wait { until, by: by.to_owned() })
}

impl App {
    /// Whether a new device or factor of a user takes effect now.
    pub(crate) async fn judge_new(
        &self,
        call: &mut Call,
        record: &UserRecord,
    ) -> Result<(EnrolmentDecision, Vec<Raised>), StoreError> {
        if !record.is_bound() {
            return Ok((EnrolmentDecision::Allow, Vec::new()));
        }
        let (tenant, user) = (record.user.tenant, record.user.id);
        let hot = self.load_user(call, tenant, user).await?;
        let (policy, now) = (self.user_policy(tenant), guard::seconds(call.now));
        let memory = hot.cell.memory.at(policy, now);
        let (decision, alerts) = memory.judge_enrolment(policy, now);
        Ok((decision, memory.grounded(policy, alerts, now)))
    }

    /// A user; what has waited long enough counts.
    pub(crate) async fn user_now(
        &self,
        call: &Call,
        tenant: TenantId,
        user: UserRef,
    ) -> Result<Option<Arc<UserRecord>>, StoreError> {
        match self.directory.user(tenant, user).await? {
            Some(record) => self.end_waits(call, record).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same user, once what has waited long enough counts. Where the user's level is as high by then that it
    /// would have had to wait for a second person, it waits for one.
    pub(crate) async fn end_waits(
        &self,
        call: &Call,
        record: Arc<UserRecord>,
    ) -> Result<Arc<UserRecord>, StoreError> {
        if !record.has_waited(call.now) {
            return Ok(record);
        }
        let (tenant, user) = (record.user.tenant, record.user.id);
        let (policy, now) = (self.user_policy(tenant), guard::seconds(call.now));
        let hot = self.hot.load(tenant, user).await?;
        let (decision, _) = hot.cell.memory.at(policy, now).judge_enrolment(policy, now);
        let (change, audit) = if decision == EnrolmentDecision::SecondApprover {
            (Change::HoldWaits(user), vec![held_entry(tenant, user, Cause::Raised)])
        } else {
            // that it would end then is in the log already
            (Change::EndWaits(user, call.now), Vec::new())
        };
        let ended = self.directory.apply(change, audit).await;
        if let Err(DirectoryError::Store(error)) = ended {
            return Err(error);
        }
        Ok(self.directory.user(tenant, UserRef::Id(user)).await?.unwrap_or(record))
    }

    /// What the person is told on a device that doesn't count yet; `None` once it does. Until then it is shown
    /// nothing of its user's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn waiting_notice(
        &self,
        call: &Call,
        connected: &Connected,
    ) -> Result<Option<Notice>, StoreError> {
        if !connected.waits {
            return Ok(None);
        }
        let user = self.user_now(call, connected.tenant, UserRef::Id(connected.user)).await?;
        let devices = user.iter().flat_map(|user| user.enrolled_devices());
        let wait =
            devices.filter(|device| device.id == connected.device).find_map(|d| d.wait.as_ref());
        Ok(wait.map(|wait| {
            let when = match wait.until {
                Some(until) => {
                    let hours = until.since(call.now).as_secs().div_ceil(3600);
                    format!("in {hours} h, or when your administrator agrees")
                }
                None => "when your administrator agrees".to_owned(),
            };
            let text = format!(
                "This device was added while somebody tried to sign in as you. It starts to work {when}."
            );
            Notice { id: None, kind: NoticeKind::DeviceWaiting, at: call.now, text }
        }))
    }

    /// Agrees to a device that waits: from now on it counts. One that doesn't wait stays as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::SecondApprover`] for whoever let it be enrolled, [`Error::Store`].
    pub async fn approve_device(
        &self,
        call: &Call,
        actor: &Actor,
        tenant: TenantId,
        id: DeviceId,
    ) -> Result<Device, Error> {
        let owner = self.directory.device_owner(id).await?.ok_or(Error::NotFound)?;
        let owner = self.end_waits(call, owner).await?;
        let device = owner.enrolled_devices().find(|device| device.id == id);
        let device = device.filter(|device| device.tenant == tenant).ok_or(Error::NotFound)?;
        let Some(wait) = &device.wait else { return Ok(device.clone()) };
        demand_another(actor, &wait.by)?;
        let user = device.user;
        let text = format!("\"{}\" works from now on: a second administrator agreed.", device.name);
        let entry = Entry::new(tenant, Event::DeviceApproved)
            .with(|public| {
                public.user = Some(user);
                public.device = Some(id);
            })
            .privately(|private| private.by = Some(actor.to_string()))
            .telling(user, NoticeKind::DeviceEnrolled, text);
        self.directory.apply(Change::EndDeviceWait(id), vec![entry]).await?;
        // it may be connected: it finds out what rings
        self.courier.tell_device(id, Hint::Resync);
        self.hint_notices(tenant, user);
        self.device(tenant, id).await
    }

    /// Agrees to a TOTP secret or a set of recovery codes that waits: it takes the place of the one before. One
    /// that doesn't wait stays as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::SecondApprover`] for whoever made it, [`Error::Store`].
    pub async fn approve_factor(
        &self,
        call: &Call,
        actor: &Actor,
        tenant: TenantId,
        user: UserRef,
        id: FactorId,
    ) -> Result<Arc<UserRecord>, Error> {
        let record = self.user_now(call, tenant, user).await?.ok_or(Error::NotFound)?;
        let user = record.user.id;
        let Some(waiting) = record.waiting.iter().find(|waiting| waiting.factor == id) else {
            let totp = record.totp.iter().map(|totp| totp.id);
            let mut counting = totp.chain(record.recovery.iter().map(|code| code.factor));
            let counts = counting.any(|factor| factor == id);
            return if counts { Ok(record) } else { Err(Error::NotFound) };
        };
        demand_another(actor, &waiting.wait.by)?;
        let entry = Entry::new(tenant, Event::FactorApproved)
            .with(|public| {
                public.user = Some(user);
                public.factor = Some(waiting.method);
            })
            .privately(|private| private.by = Some(actor.to_string()))
            .telling(
                user,
                NoticeKind::FactorCreated,
                "New codes work from now on: a second administrator agreed.",
            );
        self.directory.apply(Change::EndFactorWait(user, id), vec![entry]).await?;
        self.hint_notices(tenant, user);
        self.directory.user(tenant, UserRef::Id(user)).await?.ok_or(Error::NotFound)
    }

    /// Whether something may be done now. Under attack it takes two people: the first one's wish is noted.
    pub(crate) async fn demand_second(
        &self,
        call: &mut Call,
        actor: &Actor,
        record: &UserRecord,
        (what, why): (TakesTwo, Option<&str>),
    ) -> Result<(), Error> {
        let (tenant, user) = (record.user.tenant, record.user.id);
        let (decision, alerts) = self.judge_new(call, record).await?;
        if decision == EnrolmentDecision::Allow {
            return Ok(());
        }
        let by = actor.to_string();
        let open = record
            .second_request
            .as_ref()
            .filter(|request| request.what == what && call.now.since(request.at) < REQUEST_LIFE);
        match open {
            Some(request) if !is_same(actor, &request.by) => return Ok(()),
            Some(_) => {}
            None => {
                let event = match what {
                    TakesTwo::Reset => Event::ResetRequested,
                    TakesTwo::BreakGlass => Event::BreakGlassRequested,
                };
                let entry = Entry::new(tenant, event)
                    .with(|public| public.user = Some(user))
                    .privately(|private| {
                        private.by = Some(by.clone());
                        private.reason = why.map(str::to_owned);
                    });
                let request = SecondRequest { at: call.now, by, what };
                let mut audit = vec![entry];
                audit.extend(guarding::raise(About::user(tenant, user), alerts, None));
                self.directory.apply(Change::AskSecond(user, request), audit).await?;
            }
        }
        Err(Error::SecondApprover(
            "the user is under attack: somebody else has to ask for the same within 24 hours",
        ))
    }
}

/// Whether `by` says that it was this actor. All keys of an integration are in the same hands.
fn is_same(actor: &Actor, by: &str) -> bool {
    match actor {
        // no key's first characters hold a bracket
        Actor::Integration { name, .. } => {
            by.rsplit_once(" (").is_some_and(|(by, _)| by == name.as_str())
        }
        Actor::Operator { .. } | Actor::Owner | Actor::Rule => actor.to_string() == by,
    }
}

/// Whoever let something be made can't be the one who agrees to it.
fn demand_another(actor: &Actor, by: &str) -> Result<(), Error> {
    if is_same(actor, by) {
        let why = "whoever let it be made can't be the one who agrees: ask somebody else";
        return Err(Error::SecondApprover(why));
    }
    Ok(())
}
