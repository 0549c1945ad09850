//! Users, their live challenges and time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use statement::Timestamp;

use super::cookies::Cookies;
use super::ids::{Ids, Known};
use super::names::{Map, asker, origin, session};
use super::{Caller, Judged, LabError, MAX_TTL_MS, Op, Raised, Said, Word};
use crate::attempts::{Attempts, Budgets, Lane};
use crate::challenge::{Decision, Method, Methods, Mode, Purpose};
use crate::guard::{
    Alert, Asker, Charge, EnrolmentDecision, Facts, Memory, Policy, Reason, Scope, Seconds,
    Sources, gives_way, judge_create, seconds,
};

/// Longest name or id, in bytes.
const MAX_NAME: usize = 256;

/// A live challenge.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) id: String,
    pub(super) caller: Caller,
    pub(super) asker: Asker,
    pub(super) purpose: Purpose,
    pub(super) expires: u64,
    pub(super) charge: Charge,
    pub(super) withheld: bool,
}

/// A user.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) factors: Methods,
    pub(super) break_glass: bool,
    pub(super) memory: Memory,
    pub(super) lanes: [Attempts; Lane::ALL.len()],
    pub(super) live: Vec<Live>,
    pub(super) cookies: Cookies,
}

impl Default for User {
    fn default() -> Self {
        Self {
            factors: Methods::PUSH.with(Method::Totp),
            break_glass: false,
            memory: Memory::default(),
            lanes: [Attempts::default(); Lane::ALL.len()],
            live: Vec::new(),
            cookies: Cookies::default(),
        }
    }
}

/// Whose rules hold where. What concerns a user at no integration goes by those of nobody's.
#[derive(Clone, Debug)]
pub(super) struct Book {
    base: Policy,
    integrations: Vec<(String, Policy)>,
}

impl Book {
    pub(super) fn of(&self, integration: &str) -> &Policy {
        let own = self.integrations.iter().find(|(name, _)| name == integration);
        own.map_or(&self.base, |(_, policy)| policy)
    }
}

/// The guard alone.
#[derive(Clone, Debug)]
pub struct Lab {
    pub(super) book: Book,
    pub(super) budgets: Budgets,
    pub(super) sources: Sources,
    pub(super) users: Map<User>,
    pub(super) ids: Ids,
    expiries: BinaryHeap<Reverse<(u64, u64, String)>>,
    opened: u64,
    pub(super) last: u64,
    /// What was raised while no line asked.
    untold: Vec<Raised>,
}

impl Lab {
    /// A fresh one.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            book: Book { base: policy, integrations: Vec::new() },
            budgets: Budgets::default(),
            sources: Sources::default(),
            users: Map::default(),
            ids: Ids::default(),
            expiries: BinaryHeap::new(),
            opened: 0,
            last: 0,
            untold: Vec::new(),
        }
    }

    /// With other budgets for codes.
    #[must_use]
    pub fn with_budgets(self, budgets: Budgets) -> Self {
        Self { budgets, ..self }
    }

    /// With rules of their own for the integrations of these names.
    #[must_use]
    pub fn with_integrations(mut self, integrations: Vec<(String, Policy)>) -> Self {
        self.book.integrations = integrations;
        self
    }

    /// How many users have been seen.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Bytes of what is remembered per user.
    #[must_use]
    pub const fn bytes_per_user(&self) -> usize {
        size_of::<Memory>()
    }

    /// One event in, one answer out. `t` is milliseconds since the epoch.
    ///
    /// # Errors
    /// [`LabError`]; nothing has changed then.
    pub fn step(&mut self, t: u64, op: Op) -> Result<Said, LabError> {
        if t < self.last {
            return Err(LabError::TimeGoesBack { t, last: self.last });
        }
        self.check(t, &op)?;
        self.last = t;
        self.expire(t);
        let now = seconds(Timestamp::from_millis(t));
        let mut said = self.answer(t, now, op);
        if let Said::Judged(Judged { alerts, .. }) | Said::Enrolment { alerts, .. } = &mut said {
            alerts.splice(0..0, self.untold.drain(..));
        }
        self.ids.forget(t);
        Ok(said)
    }

    /// What was raised by the ends of challenges since the last step, where the answer has no place for alerts.
    pub fn untold(&mut self) -> Vec<Raised> {
        std::mem::take(&mut self.untold)
    }

    fn answer(&mut self, t: u64, now: Seconds, op: Op) -> Said {
        match op {
            Op::Push { id, caller, purpose, ttl_ms } => {
                Said::Judged(self.push(t, now, id, caller, purpose, ttl_ms))
            }
            Op::Outcome { id, outcome } => Said::Judged(self.outcome(now, id, outcome)),
            Op::Totp { id, for_challenge, caller, valid } => {
                Said::Judged(self.totp(t, id, for_challenge, &caller, valid))
            }
            Op::Recovery { id, for_challenge, caller, code_known } => {
                Said::Judged(self.recovery(now, id, for_challenge, &caller, code_known))
            }
            Op::Pull { user } => {
                let live = self.users.get(&user).into_iter().flat_map(|user| &user.live);
                let shown = live.filter(|live| !live.charge.displaced);
                Said::Pending(shown.map(|live| live.id.clone()).collect())
            }
            Op::User { user, factors, break_glass } => {
                let user = self.users.entry(user).or_default();
                user.factors = factors;
                user.break_glass = break_glass;
                Said::Nothing
            }
            Op::Enrol { user } | Op::Reset { user } => self.enrolment(now, user),
            Op::Clear { user, .. } => {
                let user = self.users.entry(user).or_default();
                user.memory.clear();
                Self::level(&self.book.base, user, now)
            }
            Op::Contain { user, .. } => {
                let user = self.users.entry(user).or_default();
                user.memory.bring_to(&self.book.base, now);
                user.memory.contain(&self.book.base, now);
                Self::level(&self.book.base, user, now)
            }
            Op::Restart => {
                self.sources = Sources::default();
                Said::Nothing
            }
        }
    }

    fn level(policy: &Policy, user: &User, now: Seconds) -> Said {
        let memory = user.memory.at(policy, now);
        Said::Level { level: memory.level(policy, now), score: memory.shown_score(policy) }
    }

    /// Whether an event can be.
    fn check(&self, t: u64, op: &Op) -> Result<(), LabError> {
        let named = |name: &'static str, text: &str| {
            let fits = !text.is_empty() && text.len() <= MAX_NAME;
            if fits { Ok(()) } else { Err(LabError::Length(name)) }
        };
        let is_new = |id: &String| {
            named("id", id)?;
            let used = self.ids.get(id).is_some();
            if used { Err(LabError::UsedBefore(id.clone())) } else { Ok(()) }
        };
        match op {
            Op::Push { id, caller, ttl_ms, .. } => {
                named("user", &caller.user)?;
                named("integration", &caller.integration)?;
                if *ttl_ms == 0 || *ttl_ms > MAX_TTL_MS {
                    return Err(LabError::Ttl(*ttl_ms));
                }
                is_new(id)
            }
            Op::Outcome { id, outcome } => self.check_outcome(t, id, *outcome),
            Op::Totp { id, for_challenge, caller, .. }
            | Op::Recovery { id, for_challenge, caller, .. } => {
                named("user", &caller.user)?;
                is_new(id)?;
                let Some(challenge) = for_challenge else { return Ok(()) };
                match self.ids.get(challenge) {
                    None | Some(Known::Other) => Err(LabError::Unknown("for", challenge.clone())),
                    Some(Known::Live(user) | Known::Ended(user, _) | Known::Decoy(user)) => {
                        let own = *user == caller.user;
                        if own { Ok(()) } else { Err(LabError::Foreign(challenge.clone())) }
                    }
                }
            }
            Op::Pull { user }
            | Op::User { user, .. }
            | Op::Enrol { user }
            | Op::Reset { user }
            | Op::Clear { user, .. }
            | Op::Contain { user, .. } => named("user", user),
            Op::Restart => Ok(()),
        }
    }

    fn check_outcome(&self, t: u64, id: &String, outcome: Decision) -> Result<(), LabError> {
        let ended = |as_what: Decision| {
            // what ends by itself may be told again
            let by_itself = matches!(as_what, Decision::Expired | Decision::Superseded);
            if by_itself && outcome == as_what {
                Ok(())
            } else {
                Err(LabError::Ended { id: id.clone(), ended: as_what.name() })
            }
        };
        match self.ids.get(id) {
            None | Some(Known::Other | Known::Decoy(_)) => Err(LabError::Unknown("id", id.clone())),
            Some(Known::Ended(_, decision)) => ended(*decision),
            Some(Known::Live(user)) => {
                let mut live = self.users.get(user).into_iter().flat_map(|user| &user.live);
                match live.find(|live| live.id == *id) {
                    Some(live) if live.expires <= t => ended(Decision::Expired),
                    Some(live) if live.withheld && outcome == Decision::Approved => {
                        Err(LabError::Withheld(id.clone()))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Ends what has expired, in the order of time.
    fn expire(&mut self, t: u64) {
        while let Some(Reverse((at, ..))) = self.expiries.peek()
            && *at <= t
            && let Some(Reverse((at, _, id))) = self.expiries.pop()
        {
            if let Some(Known::Live(user)) = self.ids.get(&id) {
                let user = user.clone();
                let now = seconds(Timestamp::from_millis(at));
                // no line asked: the next one that can tells it
                let raised = self.end(now, &user, &id, Decision::Expired);
                self.untold.extend(raised);
            }
        }
    }

    /// Ends a live challenge.
    pub(super) fn end(
        &mut self,
        now: Seconds,
        name: &str,
        id: &str,
        decision: Decision,
    ) -> Vec<Raised> {
        let Some(user) = self.users.get_mut(name) else { return Vec::new() };
        let Some(at) = user.live.iter().position(|live| live.id == id) else { return Vec::new() };
        let live = user.live.remove(at);
        let brought = origin(&live.caller);
        match decision {
            Decision::Approved => user.cookies.approved(&brought),
            Decision::Denied | Decision::Reported => user.cookies.refused(&brought),
            _ => {}
        }
        let policy = self.book.of(&live.caller.integration);
        // as the service does: an outage that this one proves excuses the next ones
        let outage = self.sources.is_outage(now);
        user.memory.bring_to(policy, now);
        let alerts = user.memory.settled(policy, &live.charge, decision, outage, now);
        let mut raised = name_all(&live.caller, alerts);
        let alerts = self.sources.ended(policy, &live.asker, &live.charge, decision, now);
        raised.extend(name_all(&live.caller, alerts));
        self.ids.over(self.last, live.id, Known::Ended(name.to_owned(), decision));
        raised
    }

    fn push(
        &mut self,
        t: u64,
        now: Seconds,
        id: String,
        caller: Caller,
        purpose: Purpose,
        ttl_ms: u64,
    ) -> Judged {
        let user = self.users.entry(caller.user.clone()).or_default();
        let same = user.live.iter().find(|live| {
            live.caller.session.is_some()
                && live.caller.session == caller.session
                && live.caller.integration == caller.integration
        });
        if let Some(live) = same {
            let other = live.id.clone();
            if live.purpose == purpose {
                let policy = self.book.of(&caller.integration);
                let memory = user.memory.at(policy, now);
                let (level, score) = (memory.level(policy, now), memory.shown_score(policy));
                self.ids.over(t, id.clone(), Known::Other);
                let (reasons, alerts) = (vec![Reason::SameRequest], Vec::new());
                let into = Some(other);
                return Judged { id, decision: Word::Merge, into, level, score, reasons, alerts };
            }
            return self.open(t, now, (id, Some(other)), caller, purpose, ttl_ms);
        }
        self.open(t, now, (id, None), caller, purpose, ttl_ms)
    }

    /// `gone` is the older one of the same session that this one supersedes.
    fn open(
        &mut self,
        t: u64,
        now: Seconds,
        (id, gone): (String, Option<String>),
        caller: Caller,
        purpose: Purpose,
        ttl_ms: u64,
    ) -> Judged {
        let asker = asker(&caller);
        let policy = self.book.of(&caller.integration);
        let user = self.users.entry(caller.user.clone()).or_default();
        user.memory.bring_to(policy, now);
        let facts = Facts {
            enrolled: !user.factors.is_empty(),
            first_factor: true,
            methods: user.factors,
            purpose,
            origin: user.cookies.given(origin(&caller)),
            session: session(&caller),
            break_glass: user.break_glass,
            around: self.sources.around(policy, &asker, now),
        };
        // it makes room, but is applied only once this one is judged, as in the service
        let beside = user.live.iter().filter(|live| gone.as_ref() != Some(&live.id));
        let beside = beside.map(|live| &live.charge).filter(|charge| !charge.displaced);
        let verdict = judge_create(policy, &user.memory, beside, &facts, now);
        let mut alerts = match &gone {
            Some(gone) => self.end(now, &caller.user, gone, Decision::Superseded),
            None => Vec::new(),
        };
        let policy = self.book.of(&caller.integration);
        let user = self.users.entry(caller.user.clone()).or_default();
        alerts.extend(name_all(&caller, verdict.alerts.clone()));
        let decision = match verdict.mode {
            Mode::Ring => Word::Ring,
            Mode::Silent => Word::Silent,
            Mode::Decoy => Word::Decoy,
        };
        if decision == Word::Decoy {
            self.ids.over(t, id.clone(), Known::Decoy(caller.user));
        } else {
            let (charge, raised) = user.memory.opened(policy, &facts, &verdict, now);
            alerts.extend(name_all(&caller, raised));
            let rang = charge.rang;
            let raised = self.sources.asked(policy, &asker, verdict.familiarity, rang, now);
            alerts.extend(name_all(&caller, raised));
            let expires = t.saturating_add(ttl_ms);
            self.ids.live(id.clone(), caller.user.clone());
            self.expiries.push(Reverse((expires, self.opened, id.clone())));
            self.opened += 1;
            let older = user.live.iter().map(|live| live.charge);
            if let Some(at) = gives_way(policy, older, charge) {
                user.live[at].charge.displaced = true;
            }
            let (id, withheld) = (id.clone(), false);
            user.live.push(Live { id, caller, asker, purpose, expires, charge, withheld });
        }
        let level = user.memory.level(policy, now);
        let score = user.memory.shown_score(policy);
        let (into, reasons) = (None, verdict.reasons);
        Judged { id, decision, into, level, score, reasons, alerts }
    }

    fn outcome(&mut self, now: Seconds, id: String, outcome: Decision) -> Judged {
        let owner = match self.ids.get(&id) {
            Some(Known::Live(user) | Known::Ended(user, _)) => user.clone(),
            _ => String::new(),
        };
        let mut judged = Judged {
            id: id.clone(),
            decision: Word::None,
            into: None,
            level: 0,
            score: 0.0,
            reasons: vec![Reason::Noted],
            alerts: Vec::new(),
        };
        let user = self.users.entry(owner.clone()).or_default();
        let live = user.live.iter().find(|live| live.id == id);
        let of = live.map(|live| live.caller.integration.clone()).unwrap_or_default();
        let policy = self.book.of(&of);
        user.memory.bring_to(policy, now);
        let has_code = user.factors.has(Method::Totp);
        if let Some(live) = user.live.iter_mut().find(|live| live.id == id)
            && outcome == Decision::Approved
        {
            judged.decision = Word::Release;
            judged.reasons = vec![Reason::Released];
            let memory = &mut user.memory;
            let withheld = memory.withholds(policy, &live.charge, has_code, user.break_glass, now);
            if let Some(reason) = withheld {
                judged.decision = Word::Withhold;
                judged.reasons = vec![reason];
                live.withheld = true;
                let alerts = memory.withheld(policy, now);
                judged.alerts = name_all(&live.caller, alerts);
            }
        }
        if judged.decision != Word::Withhold {
            judged.alerts = self.end(now, &owner, &id, outcome);
        }
        self.stand(now, (&owner, &of), &mut judged);
        judged
    }

    /// Writes down where the user stands.
    pub(super) fn stand(
        &mut self,
        now: Seconds,
        (user, integration): (&str, &str),
        judged: &mut Judged,
    ) {
        let Some(user) = self.users.get(user) else { return };
        let policy = self.book.of(integration);
        let memory = user.memory.at(policy, now);
        judged.level = memory.level(policy, now);
        judged.score = memory.shown_score(policy);
    }

    fn enrolment(&mut self, now: Seconds, name: String) -> Said {
        let user = self.users.entry(name.clone()).or_default();
        let policy = &self.book.base;
        user.memory.bring_to(policy, now);
        let (decision, alerts) = user.memory.judge_enrolment(policy, now);
        let wait_ms = if decision == EnrolmentDecision::Wait {
            u64::from(Policy::seconds(policy.enrolment_wait_s)) * 1000
        } else {
            0
        };
        let about = |alert| Raised { alert, user: Some(name.clone()), source: None };
        let alerts = alerts.into_iter().map(about).collect();
        Said::Enrolment { decision, wait_ms, alerts }
    }
}

/// Alerts with whom or what they are about.
pub(super) fn name_all(caller: &Caller, alerts: Vec<Alert>) -> Vec<Raised> {
    let name = |alert: Alert| {
        let (user, source) = match alert.scope {
            Scope::User => (Some(caller.user.clone()), None),
            Scope::Address => (None, caller.place.ip.map(|ip| ip.to_string())),
            Scope::Network => (None, caller.place.network_name()),
            Scope::Integration => (None, Some(caller.integration.clone())),
            Scope::Organisation => (None, Some("organisation".to_owned())),
        };
        Raised { alert, user, source }
    };
    alerts.into_iter().map(name).collect()
}
