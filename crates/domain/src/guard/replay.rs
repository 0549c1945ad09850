//! The audit, judged again: what another policy would have decided of the same requests.
//!
//! Rows come in the order in which they were written. What happened is taken from them as it was: where they
//! come from, what was known beyond the user, how each challenge ended. Under the policy that was live, and over
//! the whole history, each decision comes out bit for bit as it was, where a user's requests didn't race.

use std::collections::{BTreeMap, BTreeSet};

use statement::{ChallengeId, IntegrationId, TenantId, Timestamp, UserId};

use super::alert::{Alert, AlertKind, Scope, Severity, told_when_asked};
use super::cell::{Cell, seconds};
use super::judge::{Release, Verdict, judge_create};
use super::policies::Rules;
use super::policy::Policy;
use super::reason::Reason;
use super::sources::Asker;
use crate::attempts::{Attempts, Lane};
use crate::audit::{Cause, Event, Judgement, Public, Told};
use crate::challenge::{Collect, Decided, Decision, Method, Mode};

/// An audit row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub public: &'a Public,
}

/// Something that came out otherwise, or that has to be listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// When.
    pub at: Timestamp,
    /// Whose tenant.
    pub tenant: TenantId,
    /// About whom.
    pub user: UserId,
    /// About what.
    pub challenge: Option<ChallengeId>,
    /// What.
    pub what: What,
}

/// What came out otherwise.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "`was` and `is` say it")]
pub enum What {
    /// A request was judged otherwise: it is held, rings, is refused, or isn't any more.
    Mode { was: Mode, is: Mode, reasons: Vec<Reason> },
    /// It was judged alike, but the level or score behind it is another.
    Standing { was: (u8, f32), is: (u8, f32) },
    /// A right answer would be withheld; or released, though it was withheld.
    Answer { was: Release, is: Release },
    /// A code that was compared would not be.
    CodeRefused { lane: Lane },
    /// An alert that nobody got that day.
    Alerted(Alert),
    /// An alert that somebody got, and nobody would get that day.
    NotAlerted(AlertKind),
}

/// How often what was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were judged again.
    pub judged: u64,
    /// Those that the log says too little of.
    pub skipped: u64,
    /// Those that came out bit for bit as they were: mode, level and score.
    pub equal: u64,
    /// By mode: ring, silent, decoy; as they were.
    pub was: [u64; 3],
    /// The same as they are now.
    pub is: [u64; 3],
    /// Right answers that were withheld.
    pub withheld: u64,
    /// That are now.
    pub withholds: u64,
    /// Alerts about users, by user, kind and day, as they were.
    pub alerts_were: u64,
    /// As they are now.
    pub alerts_are: u64,
}

/// Who, and on which day, for what is compared by the day.
type Day = (TenantId, UserId, &'static str, u64);

/// What is kept of a user.
#[derive(Debug, Default)]
struct User<'r> {
    cell: Cell,
    lanes: [Attempts; Lane::ALL.len()],
    /// Outcomes that wait for the row after them: whether they were forgiven, or made room for a request.
    waiting: Vec<Ended<'r>>,
    /// Whether open challenges' user was for emergencies.
    break_glass: BTreeMap<ChallengeId, bool>,
    /// Pending uses of a break-glass user that nobody was told of.
    untold: BTreeSet<ChallengeId>,
}

#[derive(Clone, Copy, Debug)]
struct Ended<'r> {
    /// By whose rules it is applied.
    policy: &'r Policy,
    id: ChallengeId,
    decided: Decided,
    forgiven: bool,
}

/// A replay under way.
#[derive(Debug, Default)]
pub struct Replay<'r> {
    users: BTreeMap<(TenantId, UserId), User<'r>>,
    alerts_were: BTreeMap<Day, Alert>,
    alerts_are: BTreeMap<Day, (Timestamp, Alert)>,
    totals: Totals,
}

const fn index(mode: Mode) -> usize {
    match mode {
        Mode::Ring => 0,
        Mode::Silent => 1,
        Mode::Decoy => 2,
    }
}

impl<'r> Replay<'r> {
    /// Judges one row by the rules that hold for its tenant and integration. With `quiet` nothing is counted:
    /// it only builds up what is remembered.
    pub fn step(&mut self, rules: &'r Rules, row: Row<'_>, quiet: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        let public = row.public;
        let Some(user) = public.user else { return findings };
        if let (Event::Alert, Some(alert)) = (public.event, public.alert) {
            self.note_alert(row, user, alert, quiet);
            return findings;
        }
        let mut step =
            Step { rules, row, user, quiet, alerts: Vec::new(), findings: &mut findings };
        let entry = self.users.entry((row.tenant, user)).or_default();
        match public.event {
            Event::ChallengeCreated => step.created(entry, &mut self.totals),
            Event::ChallengeDecided => step.decided(entry, &mut self.totals),
            Event::TimeOutForgiven => step.forgiven(entry),
            Event::AnswerWithheld => step.withheld(entry, &mut self.totals),
            Event::CodeFailed => step.code_failed(entry),
            Event::LateReport | Event::UserContained | Event::UserCleared => step.told(entry),
            _ => {}
        }
        let alerts = step.alerts;
        if !quiet {
            for alert in alerts.into_iter().filter(is_compared) {
                let day = (row.tenant, user, alert.kind.name(), day(row.at));
                self.alerts_are.entry(day).or_insert((row.at, alert));
            }
        }
        findings
    }

    /// What came out, once all rows are through: alerts are compared by user, kind and day.
    #[must_use]
    pub fn finish(mut self) -> (Totals, Vec<Finding>) {
        self.totals.alerts_were = self.alerts_were.len() as u64;
        self.totals.alerts_are = self.alerts_are.len() as u64;
        let mut findings = Vec::new();
        for (&(tenant, user, kind, day), &(at, alert)) in &self.alerts_are {
            // an alert just before midnight may have been written down just after it
            let near = [day.saturating_sub(1), day, day + 1];
            let was =
                near.iter().any(|day| self.alerts_were.contains_key(&(tenant, user, kind, *day)));
            if !was {
                let what = What::Alerted(alert);
                findings.push(Finding { at, tenant, user, challenge: None, what });
            }
        }
        for (&(tenant, user, kind, day), alert) in &self.alerts_were {
            let near = [day.saturating_sub(1), day, day + 1];
            let is =
                near.iter().any(|day| self.alerts_are.contains_key(&(tenant, user, kind, *day)));
            if !is {
                let at = Timestamp::from_millis(day * DAY_MS);
                let what = What::NotAlerted(alert.kind);
                findings.push(Finding { at, tenant, user, challenge: None, what });
            }
        }
        findings.sort_by_key(|finding| finding.at);
        (self.totals, findings)
    }

    fn note_alert(&mut self, row: Row<'_>, user: UserId, alert: Alert, quiet: bool) {
        if !quiet && is_compared(&alert) {
            self.alerts_were.insert((row.tenant, user, alert.kind.name(), day(row.at)), alert);
        }
    }
}

/// Only what the memory of one user raises by its policy can be raised again: a copied key, a late report or an
/// answer to somebody else's number are told whatever the numbers are.
fn is_compared(alert: &Alert) -> bool {
    let judged = match alert.kind {
        AlertKind::Bombing
        | AlertKind::IntegrationLoop
        | AlertKind::CodeGuessing
        | AlertKind::BreakGlass => true,
        AlertKind::ConcurrentLogin => alert.severity == Severity::Low,
        _ => false,
    };
    alert.scope == Scope::User && judged
}

const DAY_MS: u64 = 86_400_000;

const fn day(at: Timestamp) -> u64 {
    at.millis() / DAY_MS
}

/// One row under way.
struct Step<'r, 'a> {
    rules: &'r Rules,
    row: Row<'a>,
    user: UserId,
    quiet: bool,
    alerts: Vec<Alert>,
    findings: &'a mut Vec<Finding>,
}

impl<'r> Step<'r, '_> {
    fn policy(&self) -> &'r Policy {
        &self.rules.policy
    }

    fn find(&mut self, what: What) {
        if !self.quiet {
            self.findings.push(Finding {
                at: self.row.at,
                tenant: self.row.tenant,
                user: self.user,
                challenge: self.row.public.challenge,
                what,
            });
        }
    }

    /// Applies outcomes that waited.
    fn flush(&mut self, user: &mut User<'r>, which: impl Fn(&Ended<'r>) -> bool) {
        let (now, later): (Vec<_>, Vec<_>) = user.waiting.iter().partition(|ended| which(ended));
        user.waiting = later;
        for Ended { policy, id, decided, forgiven } in now {
            let cell = std::mem::take(&mut user.cell);
            user.cell = match cell.clone().settle(policy, id, &decided, forgiven) {
                Some((cell, _, alerts)) => {
                    self.alerts.extend(alerts);
                    cell
                }
                None => cell,
            };
            user.break_glass.remove(&id);
        }
    }

    fn created(&mut self, user: &mut User<'r>, totals: &mut Totals) {
        let public = self.row.public;
        let (Some(id), Some(judged), Some(mode), Some(purpose), Some(integration)) =
            (public.challenge, public.guard, public.mode, public.purpose, public.integration)
        else {
            totals.skipped += u64::from(!self.quiet);
            return;
        };
        let superseded = |ended: &Ended<'r>| ended.decided.decision == Decision::Superseded;
        self.flush(user, |ended| !superseded(ended));
        let facts = judged.facts(purpose, !public.reasons.contains(&Reason::NotEnrolled));
        let now = seconds(id.created());
        let policy = self.policy();
        // what the session superseded makes room, but has not been applied when the request is judged
        let gone: Vec<ChallengeId> = user.waiting.iter().map(|ended| ended.id).collect();
        let beside = user.cell.open.iter().filter(|open| !open.charge.displaced);
        let beside = beside.filter(|open| !gone.contains(&open.id));
        let memory = user.cell.memory.at(policy, now);
        let mut verdict =
            judge_create(policy, &memory, beside.map(|open| &open.charge), &facts, now);
        if public.cause.as_deref() == Some(Cause::NumberTaken.name()) {
            // whatever a policy says: it couldn't be typed
            verdict.mode = Mode::Decoy;
        }
        self.flush(user, superseded);
        let cell = std::mem::take(&mut user.cell);
        let which: (ChallengeId, IntegrationId) = (id, integration);
        let (cell, alerts) =
            cell.open_as(self.policy(), which, &facts, Asker::default(), &verdict, now);
        user.cell = cell;
        if verdict.mode != Mode::Decoy {
            user.break_glass.insert(id, judged.break_glass);
        }
        if judged.break_glass && !told_when_asked(judged.first_factor, verdict.mode) {
            user.untold.insert(id);
        }
        self.alerts.extend(verdict.alerts.iter().copied().chain(alerts));
        let policy = self.policy();
        let standing = (user.cell.memory.level(policy, now), user.cell.memory.shown_score(policy));
        self.compare(totals, (mode, &judged), &verdict, standing);
    }

    fn compare(
        &mut self,
        totals: &mut Totals,
        (mode, judged): (Mode, &Judgement),
        verdict: &Verdict,
        standing: (u8, f32),
    ) {
        if self.quiet {
            return;
        }
        totals.judged += 1;
        totals.was[index(mode)] += 1;
        totals.is[index(verdict.mode)] += 1;
        let same = standing.0 == judged.level && standing.1.to_bits() == judged.score.to_bits();
        if verdict.mode != mode {
            let reasons = verdict.reasons.clone();
            self.find(What::Mode { was: mode, is: verdict.mode, reasons });
        } else if same {
            totals.equal += 1;
        } else {
            self.find(What::Standing { was: (judged.level, judged.score), is: standing });
        }
    }

    fn decided(&mut self, user: &mut User<'r>, totals: &mut Totals) {
        let public = self.row.public;
        let (Some(id), Some(decision)) = (public.challenge, public.decision) else { return };
        let ended = Ended {
            policy: self.policy(),
            id,
            decided: Decided { decision, at: self.row.at, proof: None, collect: Collect::Open },
            forgiven: false,
        };
        let waits = matches!(decision, Decision::Expired | Decision::Superseded);
        if !waits {
            self.flush(user, |_| true);
        }
        let untold = user.untold.remove(&id);
        if decision == Decision::Approved {
            self.alerts.extend(untold.then_some(Alert::BREAK_GLASS));
            match (public.factor, public.told) {
                (Some(Method::Push), Some(told)) => {
                    self.weigh(user, told, Release::Released, totals);
                }
                (Some(Method::Totp), _) => self.code_passed(user, id),
                _ => {}
            }
        }
        user.waiting.push(ended);
        if !waits {
            self.flush(user, |_| true);
        }
    }

    fn forgiven(&mut self, user: &mut User<'r>) {
        let id = self.row.public.challenge;
        for ended in user.waiting.iter_mut().filter(|ended| Some(ended.id) == id) {
            ended.forgiven = true;
        }
    }

    fn withheld(&mut self, user: &mut User<'r>, totals: &mut Totals) {
        self.flush(user, |_| true);
        let Some(told) = self.row.public.told else { return };
        self.weigh(user, told, Release::Withheld, totals);
    }

    /// A right answer.
    fn weigh(&mut self, user: &mut User<'r>, told: Told, was: Release, totals: &mut Totals) {
        let policy = self.policy();
        let id = self.row.public.challenge;
        let User { cell, break_glass, .. } = user;
        let Some(opened) = cell.open.iter_mut().find(|open| Some(open.id) == id) else { return };
        let break_glass = break_glass.get(&opened.id).copied().unwrap_or(false);
        let memory = cell.memory.at(policy, told.at);
        let is = memory.judge_approval(policy, &opened.charge, told.has_code, break_glass, told.at);
        if is == Release::Withheld {
            // an answer that is released again leaves no trace before it settles
            cell.memory = memory;
            opened.withheld = true;
            let alerts = cell.memory.withheld(policy, told.at);
            self.alerts.extend(alerts);
        }
        if !self.quiet {
            totals.withheld += u64::from(was == Release::Withheld);
            totals.withholds += u64::from(is == Release::Withheld);
        }
        if was != is {
            self.find(What::Answer { was, is });
        }
    }

    fn code_failed(&mut self, user: &mut User<'r>) {
        let public = self.row.public;
        let spent = public.told.is_some_and(|told| told.spent);
        let id = public.challenge;
        if public.factor == Some(Method::Totp) && !spent {
            let lane = self.lane(user, id);
            self.count(user, lane);
        }
        let Some(told) = public.told else { return };
        self.flush(user, |_| true);
        let policy = self.policy();
        let opened = user.cell.open.iter().find(|open| Some(open.id) == id);
        let origin = opened.map(|open| open.charge.origin).unwrap_or_default();
        user.cell.memory.bring_to(policy, told.at);
        let alerts = user.cell.memory.code_failed(policy, &origin, told.spent, told.at);
        self.alerts.extend(alerts);
    }

    /// Where a code for a challenge is counted. A decoy's is nobody's.
    fn lane(&self, user: &User<'r>, id: Option<ChallengeId>) -> Option<Lane> {
        let opened = user.cell.open.iter().find(|open| Some(open.id) == id)?;
        Some(opened.charge.familiarity.lane(opened.withheld))
    }

    /// Counts a try that was compared; whether it still would be.
    fn count(&mut self, user: &mut User<'r>, lane: Option<Lane>) -> bool {
        let Some(lane) = lane else { return true };
        let attempts = &mut user.lanes[usize::from(lane.code()) - 1];
        match attempts.count_in(lane, &self.rules.budgets, self.row.at) {
            Ok(counted) => {
                *attempts = counted;
                true
            }
            Err(_) => {
                self.find(What::CodeRefused { lane });
                false
            }
        }
    }

    fn code_passed(&mut self, user: &mut User<'r>, id: ChallengeId) {
        let lane = self.lane(user, Some(id));
        if !self.count(user, lane) {
            return;
        }
        if let Some(lane) = lane {
            let attempts = &mut user.lanes[usize::from(lane.code()) - 1];
            *attempts = attempts.given_back(lane, &self.rules.budgets);
        }
        user.lanes = user.lanes.map(Attempts::forgiven);
    }

    /// A late report, and what operators say.
    fn told(&mut self, user: &mut User<'r>) {
        let Some(told) = self.row.public.told else { return };
        self.flush(user, |_| true);
        let policy = self.policy();
        let memory = &mut user.cell.memory;
        memory.bring_to(policy, told.at);
        match self.row.public.event {
            Event::LateReport => {
                let origin = told.origin.unwrap_or_default();
                let alerts = memory.reported_late(policy, &origin, told.at);
                self.alerts.extend(alerts);
            }
            Event::UserContained => memory.contain(policy, told.at),
            _ => memory.clear(),
        }
    }
}
