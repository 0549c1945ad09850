//! Between requests and the guard: where they come from, what spans users, and what is told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::audit::{Entry, Event, Judgement};
use domain::challenge::{Challenge, Decided, Method, Mode};
use domain::create::{self, Plan, Slot};
use domain::directory::UserRecord;
use domain::guard::{
    self, Alert, Asker, Facts, Opened, Origin, Place, Policy, Raised, Reserved, Sources, Verdict,
    seconds,
};
use ports::{HotUser, MacKey, StoreError};
use statement::{IntegrationId, TenantId, Timestamp, UserId};

use crate::places::ClientPlace;
use crate::{App, Caller};

/// What spans the users of each tenant. In memory alone: a restart forgets it, and nothing per user is in it.
#[derive(Default)]
pub(crate) struct Tenants(Mutex<HashMap<TenantId, Sources>>);

impl Tenants {
    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Sources>> {
        // counts are worth keeping even if somebody panicked between two of them
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's place among all others, from the moment it is planned. Whoever drops it gives it up.
pub(crate) struct Seat<'a> {
    app: &'a App,
    tenant: TenantId,
    policy: &'a Policy,
    asker: Asker,
    taken: Option<(Reserved, guard::Seconds)>,
    alerts: Vec<Raised>,
}

impl Seat<'_> {
    /// What its request raised about many users.
    pub(crate) fn alerts(&mut self) -> Vec<Raised> {
        std::mem::take(&mut self.alerts)
    }

    /// Runs the write that makes its request durable. The place is given up only if that says that nothing was
    /// written: whoever hangs up meanwhile stays counted.
    pub(crate) async fn keep(
        mut self,
        write: impl Future<Output = Result<ports::Opened, StoreError>>,
    ) -> Result<ports::Opened, StoreError> {
        let taken = self.taken.take();
        let written = write.await;
        if written != Ok(ports::Opened::Opened) {
            self.taken = taken;
        }
        written
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some((reserved, at)) = self.taken.take()
            && let Some(sources) = self.app.tenants.lock().get_mut(&self.tenant)
        {
            sources.take_back(self.policy, &self.asker, &reserved, at);
        }
    }
}

/// About whom an alert is.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) integration: Option<IntegrationId>,
    pub(crate) challenge: Option<statement::ChallengeId>,
    pub(crate) device: Option<statement::DeviceId>,
}

impl About {
    pub(crate) const fn challenge(challenge: &Challenge) -> Self {
        Self {
            tenant: challenge.tenant,
            user: challenge.user,
            integration: Some(challenge.integration),
            challenge: Some(challenge.id),
            device: None,
        }
    }

    pub(crate) const fn user(tenant: TenantId, user: UserId) -> Self {
        Self { tenant, user, integration: None, challenge: None, device: None }
    }
}

impl App {
    /// Where a request comes from: as the user's memory has it, and as counted over users.
    pub(crate) fn origin(
        &self,
        caller: &Caller,
        user: UserId,
        place: &Place,
        cookie: Option<&[u8]>,
    ) -> (Origin, Asker) {
        let tenant = caller.tenant();
        let integration = caller.integration().id;
        let mac = |parts: &[&[u8]]| {
            let mac = self.vault.mac(MacKey::Place, parts);
            u64::from_be_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], mac[6], mac[7]])
        };
        let origin = Origin::new(place, cookie, |kind, bytes| {
            let whose: [&[u8]; 5] = [
                kind.as_bytes(),
                tenant.as_bytes(),
                user.as_bytes(),
                integration.as_bytes(),
                bytes,
            ];
            short(mac(&whose))
        });
        let shared = |bytes: [u8; 9]| mac(&[b"source", tenant.as_bytes(), &bytes]);
        let id = integration.as_bytes();
        let asker = Asker {
            address: place.address().map(shared),
            network: place.network().map(shared),
            integration: u64::from_be_bytes([
                id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7],
            ]),
            user: short(mac(&[b"user", tenant.as_bytes(), user.as_bytes()])),
        };
        (origin, asker)
    }

    /// Plans a request by what is known beyond the user, and counts it at once among what the next one sees:
    /// requests that come together must not find each other absent.
    pub(crate) fn plan(
        &self,
        caller: &Caller,
        (hot, slot): (&HotUser, &Slot),
        (mut facts, asker): (Facts, Asker),
        now: Timestamp,
    ) -> (Plan, Facts, Seat<'_>) {
        let tenant = caller.tenant();
        let policy = self.policy(tenant, caller.integration().id);
        let at = seconds(now);
        let mut tenants = self.tenants.lock();
        let sources = tenants.entry(tenant).or_default();
        facts.around = sources.around(policy, &asker, at);
        let plan = create::plan(policy, &hot.cell, &hot.live, slot, &facts, now);
        let mut seat = Seat { app: self, tenant, policy, asker, taken: None, alerts: Vec::new() };
        if let Plan::New { verdict, .. } = &plan
            && verdict.mode != Mode::Decoy
            && facts.first_factor
        {
            let rang = verdict.mode == Mode::Ring;
            let (reserved, alerts) = sources.reserve(policy, &asker, verdict.familiarity, rang, at);
            seat.alerts = grounded(sources, policy, &asker, alerts, at);
            seat.taken = Some((reserved, at));
        }
        (plan, facts, seat)
    }

    /// Whether prompts of a tenant time out everywhere.
    pub(crate) fn is_outage(&self, tenant: TenantId, at: Timestamp) -> bool {
        let tenants = self.tenants.lock();
        tenants.get(&tenant).is_some_and(|sources| sources.is_outage(seconds(at)))
    }

    /// Notes how a challenge ended, for what spans users.
    pub(crate) fn note_outcome(
        &self,
        tenant: TenantId,
        policy: &Policy,
        opened: &Opened,
        decided: &Decided,
    ) -> Vec<Raised> {
        let (charge, asker) = (&opened.charge, &opened.asker);
        let now = seconds(decided.at);
        let mut tenants = self.tenants.lock();
        let sources = tenants.entry(tenant).or_default();
        let alerts = sources.ended(policy, asker, charge, decided.decision, now);
        grounded(sources, policy, asker, alerts, now)
    }

    /// Whether a source may still send recovery codes that nobody has.
    pub(crate) fn may_send_junk(
        &self,
        policy: &Policy,
        tenant: TenantId,
        asker: &Asker,
        now: Timestamp,
    ) -> bool {
        let mut tenants = self.tenants.lock();
        tenants.entry(tenant).or_default().junk(policy, asker, seconds(now))
    }
}

/// What is told when a challenge of a break-glass user passes, unless it was told when it was asked for.
pub(crate) fn untold_use(user: &UserRecord, challenge: &Challenge) -> Option<Alert> {
    let told = guard::told_when_asked(challenge.first_factor, challenge.mode);
    (user.user.break_glass && !told).then_some(Alert::BREAK_GLASS)
}

/// Alerts about many users, with what they stand on.
fn grounded(
    sources: &mut Sources,
    policy: &Policy,
    asker: &Asker,
    alerts: Vec<Alert>,
    now: guard::Seconds,
) -> Vec<Raised> {
    let ground = |alert| (alert, sources.evidence(policy, alert, asker, now));
    alerts.into_iter().map(ground).collect()
}

/// Alerts as security staff and webhooks read them. They are written with what raised them: one write more would
/// tell whoever measures it how alarmed the guard is.
pub(crate) fn raise(about: About, alerts: Vec<Raised>, client: Option<&ClientPlace>) -> Vec<Entry> {
    let entry = |(alert, evidence): Raised| {
        tracing::warn!(
            kind = alert.kind.name(),
            severity = alert.severity.name(),
            "the guard raises an alert"
        );
        let entry = Entry::new(about.tenant, Event::Alert).with(|public| {
            public.challenge = about.challenge;
            public.device = about.device;
            public.integration = about.integration;
            // what is about many users points at none
            if alert.scope == guard::Scope::User {
                public.user = Some(about.user);
            }
            public.alert = Some(alert);
            public.evidence = Some(evidence);
        });
        entry.privately(|private| {
            if let Some(client) = client {
                client.note(private);
            }
        })
    };
    alerts.into_iter().map(entry).collect()
}

/// What an audit row says of a decision of the guard.
pub(crate) fn judgement(facts: &Facts, verdict: &Verdict, ttl: std::time::Duration) -> Judgement {
    Judgement {
        origin: facts.origin,
        familiarity: verdict.familiarity,
        around: facts.around,
        level: verdict.level,
        score: verdict.score,
        first_factor: facts.first_factor,
        ttl_s: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
        session: facts.session,
        push: facts.methods.has(Method::Push),
        break_glass: facts.break_glass,
    }
}

/// A short tag that is never zero, which stands for nobody.
#[expect(clippy::cast_possible_truncation, reason = "the low half of a MAC is as good as any")]
const fn short(mac: u64) -> u32 {
    let tag = mac as u32;
    if tag == 0 { 1 } else { tag }
}
