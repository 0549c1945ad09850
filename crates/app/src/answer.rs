//! A device's answer: verified, read, judged, settled, told.

use std::sync::Arc;
use std::time::Duration;

use domain::answer::{Crossed, Meaning};
use domain::attempts::Counter;
use domain::audit::{Cause, Entry, Event, Shadow, Told};
use domain::challenge::{Challenge, Collect, Decided, Decision, Method, Proof, State};
use domain::directory::{Device, UserRecord};
use domain::guard::{
    self, Alert, AlertKind, Charge, Familiarity, Raised, Reason, Release, Severity,
};
use ports::{Change, DirectoryError, Effect, HotUser, Settle, Settled, StoreError, UserRef};
use statement::{AnswerDecision, ChallengeId};

use crate::guarding::{self, About};
use crate::settle::decided_entry;
use crate::shadow::Differs;
use crate::waiting::held_entry;
use crate::{App, Call, Connected};

/// An answer as it came from a device.
#[derive(Clone)]
pub struct Answer {
    /// Which challenge.
    pub challenge: ChallengeId,
    /// What the person chose.
    pub decision: AnswerDecision,
    /// The digits that they typed.
    pub number: String,
    /// Whether the device checked its owner.
    pub user_verified: bool,
    /// The device's counter.
    pub counter: u64,
    /// The signature over the answer statement.
    pub signature: Vec<u8>,
}

/// How long after a decision "not me" still makes the guard act: a day's history on the device.
const LATE_REPORT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What became of the answer.
    pub result: AnswerResult,
    /// Whether the device should ask for a new TOTP secret.
    pub totp_rebind: bool,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerResult {
    /// Decided, by this answer or an earlier one.
    Settled(State),
    /// Right, but not released.
    Withheld,
    /// The challenge expired first.
    Late,
    /// Unknown, not this user's, or the signature doesn't verify: all alike.
    Refused,
}

/// What a right answer was weighed by.
struct Weighed {
    told: Told,
    /// What the shadow policy says, where that is something else.
    shadow: Option<Shadow>,
}

const fn only(result: AnswerResult) -> Answered {
    Answered { result, totp_rebind: false }
}

impl App {
    /// Decides a challenge by a device's answer. A second answer is told the stored decision.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was decided then, and the device may send the answer again.
    pub async fn answer(
        &self,
        call: &mut Call,
        connected: &Connected,
        answer: Answer,
    ) -> Result<Answered, StoreError> {
        let record = self.ledger.lookup(answer.challenge).await?;
        let own = record.filter(|record| {
            let challenge = &record.challenge;
            challenge.tenant == connected.tenant
                && challenge.user == connected.user
                && challenge.reaches_devices()
        });
        let Some(record) = own else {
            return self.refuse(connected, answer.challenge, Cause::Foreign).await;
        };
        let user = self.user_now(call, connected.tenant, UserRef::Id(connected.user)).await?;
        let device = user
            .as_ref()
            .and_then(|user| user.enrolled_devices().find(|device| device.id == connected.device));
        let (Some(user), Some(device)) = (&user, device) else {
            return self.refuse(connected, answer.challenge, Cause::Revoked).await;
        };
        if device.wait.is_some() {
            return self.refuse(connected, answer.challenge, Cause::Waiting).await;
        }
        if !verifies(&answer, device, &record.challenge) {
            return self.refuse(connected, answer.challenge, Cause::Forged).await;
        }
        match record.state {
            State::Pending => {
                self.decide(call, connected, user, device, record.challenge, answer).await
            }
            State::Decided(decided) => {
                let reported = answer.decision == AnswerDecision::Report
                    && decided.decision != Decision::Reported
                    && call.now.since(decided.at) < LATE_REPORT;
                if reported {
                    let lapses = decided.decision == Decision::Approved
                        && decided.collect != Collect::Lapsed;
                    let told =
                        lapses && self.lapse_reported(call, &record.challenge, device).await?;
                    self.contain_reported(call, &record.challenge, told).await?;
                    self.hold_waits(user).await?;
                }
                Ok(only(AnswerResult::Settled(record.state)))
            }
        }
    }

    async fn refuse(
        &self,
        connected: &Connected,
        challenge: ChallengeId,
        cause: Cause,
    ) -> Result<Answered, StoreError> {
        let entry = Entry::new(connected.tenant, Event::AnswerRefused).with(|public| {
            public.challenge = Some(challenge);
            public.user = Some(connected.user);
            public.device = Some(connected.device);
            public.cause = Some(cause.into());
        });
        self.ledger.record(entry).await?;
        Ok(only(AnswerResult::Refused))
    }

    async fn decide(
        &self,
        call: &mut Call,
        connected: &Connected,
        user: &UserRecord,
        device: &Device,
        challenge: Arc<Challenge>,
        answer: Answer,
    ) -> Result<Answered, StoreError> {
        let hot = self.load_user(call, challenge.tenant, challenge.user).await?;
        let others = hot.live.iter().filter(|c| c.id != challenge.id && !c.is_past(call.now));
        let others = self.numbers_of(others);
        let number = self.number_of(&challenge)?;
        let meaning =
            domain::answer::read(&challenge, &number, answer.decision, &answer.number, &others);
        let mut items = settle_items(&challenge, device, &meaning, &others);
        let who = (user, device);
        let raised = self.raised_by(call, &hot.cell, who, &challenge, &meaning, answer.counter);
        if meaning.decision == Decision::Approved {
            let Some(weighed) = self.weigh(call, user, device, &challenge, hot).await? else {
                return Ok(only(AnswerResult::Withheld));
            };
            if let Some((_, item)) = items.first_mut() {
                let Weighed { told, shadow } = weighed;
                (item.audit.public.told, item.audit.public.shadow) = (Some(told), shadow);
            }
        }
        if let Some((_, item)) = items.first_mut() {
            let about = About { device: Some(device.id), ..About::challenge(&challenge) };
            item.alerts = guarding::raise(about, raised, None);
            if meaning.decision == Decision::Reported && user.waits_for_time() {
                item.alerts.push(held_entry(challenge.tenant, challenge.user, Cause::Reported));
            }
        }
        let answers = self.settle_and_tell(call, items).await?;
        let result = match answers.first() {
            Some(Settled::Settled(decided)) => {
                self.after_settled(call, user, device, &challenge, &meaning, answer.counter)
                    .await?;
                AnswerResult::Settled(State::Decided(*decided))
            }
            Some(Settled::Already(decided)) => AnswerResult::Settled(State::Decided(*decided)),
            Some(Settled::Late) => AnswerResult::Late,
            _ => return self.refuse(connected, challenge.id, Cause::Revoked).await,
        };
        let approved = matches!(
            result,
            AnswerResult::Settled(State::Decided(d)) if d.decision == Decision::Approved
        );
        if approved {
            self.tell_digest(call, challenge.tenant, challenge.user).await;
        }
        Ok(Answered { result, totp_rebind: approved && needs_totp(user) })
    }

    /// A late "not me": the decision stays, the guard acts. `told` says that an alert was raised already.
    async fn contain_reported(
        &self,
        call: &mut Call,
        challenge: &Challenge,
        told: bool,
    ) -> Result<(), StoreError> {
        let (tenant, user) = (challenge.tenant, challenge.user);
        let policy = self.policy(tenant, challenge.integration);
        let now = guard::seconds(call.now);
        let created = self.history(challenge).await?;
        let created = created.into_iter().find(|row| row.public.event == Event::ChallengeCreated);
        let origin = created.and_then(|row| row.public.guard).map(|guard| guard.origin);
        let entry = Entry::new(tenant, Event::LateReport).with(|public| {
            public.challenge = Some(challenge.id);
            public.user = Some(user);
            public.integration = Some(challenge.integration);
            public.told = Some(Told { origin, ..Told::at(now) });
        });
        let report = |cell: &mut guard::Cell| {
            cell.memory.bring_to(policy, now);
            let mut alerts = cell.memory.reported_late(policy, &origin.unwrap_or_default(), now);
            alerts.retain(|_| !told);
            let alerts = cell.memory.grounded(policy, alerts, now);
            let mut entries = vec![entry.clone()];
            entries.extend(guarding::raise(About::challenge(challenge), alerts, None));
            ((), Some(entries))
        };
        self.change_cell(call, tenant, user, report).await
    }

    /// After a late report, what waits for time waits for a second person.
    async fn hold_waits(&self, user: &UserRecord) -> Result<(), StoreError> {
        if !user.waits_for_time() {
            return Ok(());
        }
        let (tenant, user) = (user.user.tenant, user.user.id);
        let audit = vec![held_entry(tenant, user, Cause::Reported)];
        match self.directory.apply(Change::HoldWaits(user), audit).await {
            Err(DirectoryError::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// What an answer will raise once it is settled.
    fn raised_by(
        &self,
        call: &Call,
        cell: &guard::Cell,
        (user, device): (&UserRecord, &Device),
        challenge: &Challenge,
        meaning: &Meaning,
        counter: u64,
    ) -> Vec<Raised> {
        let policy = self.policy(challenge.tenant, challenge.integration);
        let (decision, at, collect) = (meaning.decision, call.now, Collect::Open);
        let decided = Decided { decision, at, proof: Some(Proof::Push(device.id)), collect };
        let mut alerts = Vec::new();
        let mut memory = cell.memory;
        if let Some((cell, _, raised)) = cell.clone().settle(policy, challenge.id, &decided, false)
        {
            (alerts, memory) = (raised, cell.memory);
        }
        if meaning.crossed.is_some() {
            alerts.push(Alert::user(AlertKind::ConcurrentLogin, Severity::High));
        }
        alerts.extend(cell.clone().note_counter(device.id, counter));
        if meaning.decision == Decision::Approved {
            alerts.extend(guarding::untold_use(user, challenge));
        }
        memory.grounded(policy, alerts, guard::seconds(call.now))
    }

    /// Whether a right answer is released: `None` if it is withheld. Then the cell says so durably before anybody
    /// is told: from now on a code for this challenge is counted in a budget of its own.
    async fn weigh(
        &self,
        call: &mut Call,
        user: &UserRecord,
        device: &Device,
        challenge: &Challenge,
        mut hot: HotUser,
    ) -> Result<Option<Weighed>, StoreError> {
        let (tenant, integration) = (challenge.tenant, challenge.integration);
        let policy = self.policy(tenant, integration);
        let now = guard::seconds(call.now);
        // without a way to pass one on this challenge, a code can't be asked for
        let has_code = !needs_totp(user) && challenge.methods.has(Method::Totp);
        let break_glass = user.user.break_glass;
        let mut weighed = Weighed { told: Told { has_code, ..Told::at(now) }, shadow: None };
        for _ in 0..crate::live::MAX_TRIES {
            let mut cell = hot.cell.clone();
            cell.memory.bring_to(policy, now);
            let Some(opened) = cell.open.iter_mut().find(|open| open.id == challenge.id) else {
                // decided meanwhile, or one of a flood that gave way long ago: as from somewhere unknown
                let charge = Charge { familiarity: Familiarity::Unknown, ..Charge::default() };
                let reason = cell.memory.withholds(policy, &charge, has_code, break_glass, now);
                return Ok(reason.is_none().then_some(weighed));
            };
            let (memory, charge) = (&cell.memory, &opened.charge);
            let reason = memory.withholds(policy, charge, has_code, break_glass, now);
            let release = reason.map_or(Release::Released, |_| Release::Withheld);
            let (whose, about) = ((tenant, integration), (has_code, break_glass));
            weighed.shadow = self.shadow_approval(whose, (memory, charge), about, release, now);
            if let Some(reason) = reason {
                (opened.withheld, opened.by) = (true, Some(guard::device_tag(device.id)));
                let alerts = cell.memory.withheld(policy, now);
                let alerts = cell.memory.grounded(policy, alerts, now);
                let mut entries = vec![withheld_entry(challenge, device, &weighed, reason)];
                entries.extend(guarding::raise(About::challenge(challenge), alerts, None));
                let whose = (tenant, challenge.user, hot.version);
                if !self.store_cell(call, whose, cell, entries).await? {
                    hot = self.hot.load(tenant, challenge.user).await?;
                    continue;
                }
            }
            if weighed.shadow.is_some() {
                self.shadowed.note(Differs::Approval);
            }
            return Ok(reason.is_none().then_some(weighed));
        }
        Err(StoreError::Overloaded)
    }

    /// What follows from a settled answer and may fail without unsettling it: its counter, and a device that
    /// reached its cap.
    async fn after_settled(
        &self,
        call: &mut Call,
        user: &UserRecord,
        device: &Device,
        challenge: &Challenge,
        meaning: &Meaning,
        counter: u64,
    ) -> Result<(), StoreError> {
        let hot = self.hot.load(challenge.tenant, challenge.user).await?;
        self.note_counter(call, hot, challenge, device, counter).await?;
        if counts_against_device(challenge, meaning) {
            self.cap_device(call, user, device).await?;
        }
        Ok(())
    }

    /// A late "not me" on an approval: it lapses, or, if it was redeemed, somebody should look; the cookies end
    /// either way. Says whether the alert was raised.
    async fn lapse_reported(
        &self,
        call: &Call,
        challenge: &Challenge,
        device: &Device,
    ) -> Result<bool, StoreError> {
        let entry = Entry::new(challenge.tenant, Event::ChallengeLapsed).with(|public| {
            public.challenge = Some(challenge.id);
            public.user = Some(challenge.user);
            public.integration = Some(challenge.integration);
            public.device = Some(device.id);
            public.cause = Some(Cause::Reported.into());
        });
        let effects = vec![Effect::RaiseEpoch];
        if self.ledger.lapse(challenge.id, effects, entry).await? {
            self.courier.wake(challenge.id);
            return Ok(false);
        }
        let policy = self.policy(challenge.tenant, challenge.integration);
        let now = guard::seconds(call.now);
        let memory = self.hot.load(challenge.tenant, challenge.user).await?.cell.memory;
        let alert = vec![Alert::user(AlertKind::ReportedLate, Severity::High)];
        let alert = memory.at(policy, now).grounded(policy, alert, now);
        let about = About { device: Some(device.id), ..About::challenge(challenge) };
        let alert = guarding::raise(about, alert, None);
        match self.directory.apply(Change::EndCookies(challenge.user), alert).await {
            Err(DirectoryError::Store(error)) => Err(error),
            _ => Ok(true),
        }
    }
}

/// Whether the device signed exactly this over exactly these challenge bytes.
fn verifies(answer: &Answer, device: &Device, challenge: &Challenge) -> bool {
    let statement = statement::Answer {
        challenge: &challenge.document,
        device: device.id,
        decision: answer.decision,
        number: &answer.number,
        user_verified: answer.user_verified,
        counter: answer.counter,
    };
    statement.verify(&device.key, &answer.signature).is_ok()
}

/// Whether the user has no TOTP secret that works.
pub(crate) fn needs_totp(user: &UserRecord) -> bool {
    user.totp.as_ref().is_none_or(|totp| totp.locked)
}

fn withheld_entry(
    challenge: &Challenge,
    device: &Device,
    weighed: &Weighed,
    reason: Reason,
) -> Entry {
    decided_entry(challenge, Decision::Approved, None).with(|public| {
        public.event = Event::AnswerWithheld;
        public.decision = None;
        public.device = Some(device.id);
        public.reasons = vec![reason];
        (public.told, public.shadow) = (Some(weighed.told), weighed.shadow.clone());
    })
}

/// A wrong number counts against the device only where the context was familiar and no other sign-in's
/// number was typed: a stranger's prompt can't lock a device.
fn counts_against_device(challenge: &Challenge, meaning: &Meaning) -> bool {
    meaning.decision == Decision::Mismatch && meaning.crossed.is_none() && challenge.is_familiar()
}

fn settle_items(
    challenge: &Arc<Challenge>,
    device: &Device,
    meaning: &Meaning,
    others: &[(Arc<Challenge>, domain::number::Number)],
) -> Vec<(Arc<Challenge>, Settle)> {
    let proof = Some(Proof::Push(device.id));
    let mut effects = Vec::new();
    let strangers = matches!(meaning.decision, Decision::Denied | Decision::Reported);
    if let (true, Some(cookie)) = (strangers, challenge.cookie) {
        effects.push(Effect::KillCookie(cookie));
    }
    if meaning.decision == Decision::Reported {
        // whoever pesters the person may wait for a device of theirs as well
        effects.extend([Effect::RaiseEpoch, Effect::HoldWaits]);
    }
    if meaning.decision == Decision::Approved && challenge.is_familiar() {
        effects.push(Effect::Reset(Counter::Device(device.id)));
    }
    let item = |challenge: &Arc<Challenge>, decision, effects| {
        let settle = Settle {
            challenge: challenge.id,
            decision,
            proof,
            after_expiry: false,
            device: Some(device.id),
            effects,
            audit: decided_entry(challenge, decision, proof),
            alerts: Vec::new(),
        };
        (Arc::clone(challenge), settle)
    };
    let mut items = vec![item(challenge, meaning.decision, effects)];
    if let Some(Crossed { other, ends: true }) = meaning.crossed {
        let crossed = others.iter().find(|(challenge, _)| challenge.id == other);
        items.extend(crossed.map(|(other, _)| item(other, Decision::Mismatch, Vec::new())));
    }
    items
}

impl App {
    /// Notes a settled answer's counter in the user's cell.
    async fn note_counter(
        &self,
        call: &mut Call,
        mut hot: HotUser,
        challenge: &Challenge,
        device: &Device,
        counter: u64,
    ) -> Result<(), StoreError> {
        let (tenant, user) = (challenge.tenant, challenge.user);
        for _ in 0..crate::live::MAX_TRIES {
            let mut cell = hot.cell.clone();
            // that it isn't above the last one was told with the decision
            if cell.note_counter(device.id, counter).is_some()
                || self.commit_cell(call, tenant, user, hot.version, cell).await?
            {
                return Ok(());
            }
            hot = self.hot.load(tenant, user).await?;
        }
        Err(StoreError::Overloaded)
    }
}
