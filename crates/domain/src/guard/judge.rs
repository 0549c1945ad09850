//! What follows from what is remembered: whether a request rings, and whether an approval is given out.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertKind, Severity, told_when_asked};
use super::decay::Seconds;
use super::memory::{DAY_S, Memory, Weight};
use super::origin::{Familiarity, Origin, Tag};
use super::policy::Policy;
use super::reason::Reason;
use crate::challenge::{Method, Methods, Mode, Purpose};

/// What is known beyond the user at the moment of a decision. Approximate and per node, so each decision's
/// audit entry records it, and a replay reads it from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Around {
    /// The address asks many users without success.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub address_hot: bool,
    /// The network does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub network_hot: bool,
    /// Many users are asked from unknown places without success.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub organisation_hot: bool,
    /// Prompts time out everywhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub outage: bool,
}

impl Around {
    /// Whether there is nothing to record.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        *self == Self::default()
    }
}

/// What is known about a request when it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether the user exists and has a factor.
    pub enrolled: bool,
    /// Whether the caller vouches for a first factor of the last ten minutes.
    pub first_factor: bool,
    /// The ways to pass that the challenge will offer.
    pub methods: Methods,
    /// Why it is asked for.
    pub purpose: Purpose,
    /// Where it comes from.
    pub origin: Origin,
    /// Its browser session; one that is absent is unlike every other.
    pub session: Option<Tag>,
    /// Whether the user is for emergencies.
    pub break_glass: bool,
    /// What is known beyond the user.
    pub around: Around,
}

/// What the guard keeps of an open challenge, to apply its outcome once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    /// Where it came from.
    pub origin: Origin,
    /// How familiar that was.
    pub familiarity: Familiarity,
    /// Whether the device alerted.
    pub rang: bool,
    /// What it added to the sums.
    pub weight: f32,
    /// When.
    pub at: Seconds,
    /// How much its failure counts: purposes that open another door count more.
    pub factor: f32,
    /// Whether a first factor was vouched for.
    pub first_factor: bool,
    /// Whether it gave way to newer ones: the app no longer shows it. Whoever has it on their screen may answer.
    pub displaced: bool,
}

/// What the guard says of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How the challenge reaches its user.
    pub mode: Mode,
    /// How alarmed the guard is about this user: 0 calm, 1 silent elsewhere, 2 alerted, 3 confirmed.
    pub level: u8,
    /// The number behind the level.
    pub score: f32,
    /// How familiar its place is.
    pub familiarity: Familiarity,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What security staff should see.
    pub alerts: Vec<Alert>,
}

/// Whether a right answer is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Yes.
    Released,
    /// No: outside it stays pending, until a code passes on the same challenge.
    Withheld,
}

/// Whether a new device, a reset or new codes take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrolmentDecision {
    /// At once.
    Allow,
    /// After a while.
    Wait,
    /// When a second operator agrees.
    SecondApprover,
}

impl Charge {
    /// What it added.
    pub(super) fn paid(&self) -> Weight {
        if self.rang || self.familiarity == Familiarity::Nowhere {
            Weight::lasting(self.weight)
        } else {
            Weight::passing(self.weight)
        }
    }
}

impl Memory {
    /// How alarmed the guard is.
    #[must_use]
    pub fn level(&self, policy: &Policy, now: Seconds) -> u8 {
        if now < self.hold_until { self.held_level } else { u8::from(self.is_raised(policy)) }
    }

    /// The number behind the level.
    #[must_use]
    pub fn shown_score(&self, policy: &Policy) -> f32 {
        self.score(policy).max(self.nowhere_score(policy))
    }
}

/// Judges a request. `beside` are the user's other live challenges that will stay, without decoys; `memory`
/// is brought up to date already.
#[must_use]
pub fn judge_create<'a>(
    policy: &Policy,
    memory: &Memory,
    beside: impl Iterator<Item = &'a Charge> + Clone,
    facts: &Facts,
    now: Seconds,
) -> Verdict {
    let familiarity = memory.familiarity(policy, &facts.origin, now);
    let (mode, reason) = mode(policy, memory, beside.clone(), facts, familiarity, now);
    let mut reasons = vec![reason, from(familiarity)];
    let mut alerts = Vec::new();
    if mode != Mode::Decoy {
        if collides(beside.clone(), facts, familiarity) {
            reasons.push(Reason::Collision);
        }
        if facts.around.outage {
            reasons.push(Reason::Outage);
        }
        let newest = Charge {
            origin: facts.origin,
            familiarity,
            first_factor: facts.first_factor,
            ..Charge::default()
        };
        if gives_way(policy, beside.copied(), newest).is_some() {
            reasons.push(Reason::LiveBound);
        }
    }
    if facts.break_glass && told_when_asked(facts.first_factor, mode) {
        alerts.push(Alert::BREAK_GLASS);
    }
    let (level, score) = (memory.level(policy, now), memory.shown_score(policy));
    Verdict { mode, level, score, familiarity, reasons, alerts }
}

const fn from(familiarity: Familiarity) -> Reason {
    match familiarity {
        Familiarity::Nowhere => Reason::FromNowhere,
        Familiarity::Unknown => Reason::FromUnknown,
        Familiarity::Near => Reason::FromNear,
        Familiarity::Known => Reason::FromKnown,
        Familiarity::Own => Reason::FromOwn,
    }
}

/// Whether a stranger asks while the person's own sign-in rings.
fn collides<'a>(
    mut beside: impl Iterator<Item = &'a Charge>,
    facts: &Facts,
    familiarity: Familiarity,
) -> bool {
    facts.first_factor
        && !familiarity.is_known()
        && beside.any(|other| other.rang && other.familiarity.is_known())
}

fn mode<'a>(
    policy: &Policy,
    memory: &Memory,
    beside: impl Iterator<Item = &'a Charge> + Clone,
    facts: &Facts,
    familiarity: Familiarity,
    now: Seconds,
) -> (Mode, Reason) {
    if !facts.enrolled {
        return (Mode::Decoy, Reason::NotEnrolled);
    }
    if !facts.methods.has(Method::Push) {
        return (Mode::Silent, Reason::PushNotOffered);
    }
    if !facts.first_factor {
        return (Mode::Silent, Reason::NoFirstFactor);
    }
    let rings = beside.clone().filter(|other| other.rang);
    // a person who starts again at the same known place looks at the newer page
    let again = familiarity.is_known()
        && rings.clone().any(|other| other.origin.context() == facts.origin.context());
    let most = rings.map(|other| other.familiarity).max();
    if most.is_some_and(|most| familiarity < most || familiarity == most && !again) {
        return (Mode::Silent, Reason::AnotherRings);
    }
    if let Some(reason) = silence(policy, memory, facts, familiarity, now) {
        return (Mode::Silent, reason);
    }
    (Mode::Ring, if most.is_some() { Reason::MoreFamiliar } else { Reason::Clear })
}

/// Which of a user's older live challenges gives way to the newest: nobody's flood keeps a person's own
/// request out of the app. Each place has its share, and strangers give way among themselves; of more than are shown
/// the oldest of the fullest network goes. What rings stays.
#[must_use]
pub fn gives_way(
    policy: &Policy,
    older: impl Iterator<Item = Charge>,
    newest: Charge,
) -> Option<usize> {
    let older: Vec<Charge> = older.collect();
    if older.is_empty() {
        return None;
    }
    let (place, known) = (newest.origin.context(), newest.familiarity.is_known());
    let oldest = |limit: f32, counts: &dyn Fn(&Charge) -> bool| {
        let counted = || older.iter().filter(|other| !other.displaced && counts(other));
        if counted().count() < Policy::count(limit) {
            return None;
        }
        let crowd = |charge: &Charge| {
            counted().filter(|other| other.origin.network == charge.origin.network).count()
        };
        let all = older.iter().enumerate();
        let silent = all.filter(|(_, other)| !other.displaced && !other.rang && counts(other));
        let rank = |(at, other): &(usize, &Charge)| {
            (other.familiarity.is_known(), Reverse(crowd(other)), other.at, *at)
        };
        silent.min_by_key(rank).map(|(at, _)| at)
    };
    if !newest.first_factor {
        return oldest(policy.live_without_first_factor, &|other| !other.first_factor);
    }
    let same = |other: &Charge| other.first_factor && other.origin.context() == place;
    oldest(policy.live_per_place, &same).or_else(|| {
        let limit = if known { policy.live_known } else { policy.live_elsewhere };
        oldest(limit, &|other| other.first_factor && other.familiarity.is_known() == known)
    })
}

/// Why the guard keeps it silent.
fn silence(
    policy: &Policy,
    memory: &Memory,
    facts: &Facts,
    familiarity: Familiarity,
    now: Seconds,
) -> Option<Reason> {
    if familiarity.is_known() {
        return memory.is_looping(policy, familiarity).then_some(Reason::Looping);
    }
    let held = now < memory.hold_until;
    let nowhere = familiarity == Familiarity::Nowhere;
    let checks = [
        (facts.break_glass, Reason::BreakGlass),
        (held && memory.held_level >= 3, Reason::Contained),
        (held && !nowhere, Reason::Held),
        (
            !nowhere
                && memory.score(policy) >= policy.silent_at
                && !memory.has_second_chance(policy, &facts.origin, facts.session)
                && !memory.is_proving(policy, &facts.origin, now),
            Reason::Raised,
        ),
        (nowhere && memory.nowhere_score(policy) >= policy.nowhere_silent_at, Reason::NowhereSpent),
        (facts.around.address_hot, Reason::AddressHot),
        (facts.around.network_hot, Reason::NetworkHot),
        (facts.around.organisation_hot, Reason::OrganisationHot),
    ];
    checks.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
}

impl Memory {
    /// How much its failure counts, beside one of a person who is seldom elsewhere.
    fn factor(&self, policy: &Policy, facts: &Facts, familiarity: Familiarity) -> f32 {
        let factor = match familiarity {
            Familiarity::Near => policy.near_factor * self.roaming_factor(policy),
            Familiarity::Unknown if self.is_new(policy) => policy.new_user_factor,
            Familiarity::Unknown => self.roaming_factor(policy),
            _ => 1.0,
        };
        let sensitive =
            matches!(facts.purpose, Purpose::Enrolment | Purpose::Reset | Purpose::HelpDesk);
        if sensitive && !familiarity.is_known() { factor * policy.sensitive_factor } else { factor }
    }

    /// Notes that a challenge was opened: a ring is charged as a time-out when it rings. Decoys, and what nobody
    /// vouched for, leave no trace: whoever doesn't know the password must not be able to raise a level.
    #[must_use]
    pub fn opened(
        &mut self,
        policy: &Policy,
        facts: &Facts,
        verdict: &Verdict,
        now: Seconds,
    ) -> (Charge, Vec<Alert>) {
        let familiarity = verdict.familiarity;
        let rang = verdict.mode == Mode::Ring;
        let factor = self.factor(policy, facts, familiarity);
        let is_try =
            facts.first_factor && facts.methods.has(Method::Push) && verdict.mode != Mode::Decoy;
        // as many as the app shows have said all that a flood can say
        let floods = !rang && verdict.reasons.contains(&Reason::LiveBound);
        let counts = is_try && !floods && !(rang && facts.around.outage && familiarity.is_known());
        let base = match (rang, familiarity.is_known()) {
            (true, true) => 1.0,
            (true, false) => policy.ring,
            (false, true) => policy.loop_silent,
            (false, false) => policy.silent,
        };
        let retries =
            familiarity == Familiarity::Nowhere && verdict.reasons.contains(&Reason::AnotherRings);
        let base = if retries { base * policy.nowhere_retry } else { base };
        let weight = if counts { base * factor } else { 0.0 };
        let mut charge = Charge {
            origin: facts.origin,
            familiarity,
            rang,
            weight,
            at: now,
            factor,
            first_factor: facts.first_factor,
            displaced: false,
        };
        if is_try && !rang && !familiarity.is_known() {
            self.silent = self.silent.saturating_add(1);
        }
        if !counts {
            if is_try && floods && !familiarity.is_known() {
                // but that it goes on: else whoever asks faster than the app shows would ring once the hold is over
                self.prolong(policy, now);
            }
            return (charge, Vec::new());
        }
        let first = !self.owes(&facts.origin);
        let drips = self.drips(policy, now);
        let added = self.add(policy, &facts.origin, familiarity, charge.paid(), false);
        charge.weight = if rang { added.short.min(added.long) } else { added.short };
        if matches!(familiarity, Familiarity::Near | Familiarity::Unknown) {
            self.tried(policy, &facts.origin, first);
            if rang {
                self.note_session(facts.session, first);
            } else {
                self.add_silent(policy, &facts.origin, weight);
            }
        }
        if verdict.reasons.contains(&Reason::Collision) {
            let more = Weight::lasting(policy.collision * factor);
            self.add(policy, &facts.origin, familiarity, more, true);
        }
        let mut alerts = self.raise(policy, familiarity, drips && !rang, facts.around, now);
        // once an alert holds other places it speaks for these too
        if verdict.reasons.contains(&Reason::Collision) && now >= self.hold_until {
            alerts.push(Alert::user(AlertKind::ConcurrentLogin, Severity::Low));
        }
        (charge, alerts)
    }

    /// Whether somebody was tried day after day before now. A try counts once the next one comes: a person who is
    /// often elsewhere finds theirs in the app, and that one was theirs.
    pub(super) fn drips(&self, policy: &Policy, now: Seconds) -> bool {
        self.tried_days(Self::day(now)) as f32 >= policy.drip_days
    }

    /// Raises what the score asks for, once. `drips` says that it was tried day after day.
    pub(super) fn raise(
        &mut self,
        policy: &Policy,
        familiarity: Familiarity,
        drips: bool,
        around: Around,
        now: Seconds,
    ) -> Vec<Alert> {
        if familiarity.is_known() {
            return self.raise_loop(policy, now);
        }
        if now < self.hold_until || around.outage {
            return Vec::new();
        }
        let raised_for = |least: f32| {
            self.raised_at != 0 && now.saturating_sub(self.raised_at) >= Policy::seconds(least)
        };
        if familiarity == Familiarity::Nowhere {
            // its own budget: what comes from nowhere holds nobody who can be told apart
            let score = self.nowhere_score(policy);
            let spent = (score >= policy.nowhere_alert_at && raised_for(policy.grace_s))
                || (score >= policy.nowhere_drip_at && raised_for(policy.drip_s));
            let severity =
                if self.denied_within(DAY_S, now) { Severity::Medium } else { Severity::Low };
            let is_new = spent && self.once_a_day(2, now);
            let alert = Alert::user(AlertKind::Bombing, severity);
            return if is_new { vec![alert] } else { Vec::new() };
        }
        let spent = self.tries() >= policy.alert_at_once
            || (self.tries() >= policy.alert_at && raised_for(policy.grace_s))
            || (drips && self.is_raised(policy));
        if !spent {
            return Vec::new();
        }
        self.held_level = 2;
        self.hold_until = now + Policy::seconds(policy.hold_s);
        vec![Alert::user(AlertKind::Bombing, Severity::Medium)]
    }

    /// Begins the hold of an alert anew: a try from elsewhere came to nothing. One by people ends when they said.
    pub(super) fn prolong(&mut self, policy: &Policy, now: Seconds) {
        if now < self.hold_until && self.held_level == 2 {
            self.hold_until = now + Policy::seconds(policy.hold_s);
        }
    }

    fn raise_loop(&mut self, policy: &Policy, now: Seconds) -> Vec<Alert> {
        if !self.is_looping(policy, Familiarity::Known) || !self.once_a_day(0, now) {
            return Vec::new();
        }
        vec![Alert::user(AlertKind::IntegrationLoop, Severity::Low)]
    }

    /// Whether something that is told once a day has not been told today.
    pub(super) fn once_a_day(&mut self, which: usize, now: Seconds) -> bool {
        let today = Self::day(now);
        let is_new = self.alerted[which] != today;
        self.alerted[which] = today;
        is_new
    }
}
