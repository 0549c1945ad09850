//! What is driven: the real guard, or a control as others ship them. All speak the same few words.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use domain::challenge::{Decision, Method, Methods, Purpose};
use domain::guard::{AlertKind, EnrolmentDecision, Place, Policy, Reason, Severity};
pub(crate) use domain::lab::Word;
use domain::lab::{self, Lab, Op};

use super::config::Networks;
use super::dice::{DAY, EPOCH, Ms, SECOND};

/// The integrations, by number.
pub(crate) const MAIL: u8 = 0;
pub(crate) const APPS: u8 = 1;
pub(crate) const VPN: u8 = 2;
pub(crate) const PARTNER: u8 = 3;
/// Nobody here uses it, but everybody may.
pub(crate) const DESK: u8 = 4;
const INTEGRATIONS: [&str; 5] = ["mail", "apps", "vpn", "partner", "desk"];

/// Where a request says that it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) asn: u32,
    pub(crate) country: [u8; 2],
}

/// Who asks whom from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) user: u32,
    pub(crate) integration: u8,
    pub(crate) session: Option<u32>,
    pub(crate) spot: Spot,
    pub(crate) cookie: Option<u32>,
}

/// How familiar a place seems, least first.
pub(crate) const FAMILIARITIES: [(Reason, &str); 5] = [
    (Reason::FromNowhere, "nowhere"),
    (Reason::FromUnknown, "unknown"),
    (Reason::FromNear, "near"),
    (Reason::FromKnown, "known"),
    (Reason::FromOwn, "own"),
];

/// An alert.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) kind: AlertKind,
    pub(crate) severity: Severity,
    pub(crate) user: Option<u32>,
}

/// What is said of one request.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) word: Word,
    /// The challenge that it was merged into.
    pub(crate) into: Option<u32>,
    /// How familiar the place seemed: nowhere 0, unknown, near, known, own 4.
    pub(crate) familiar: Option<usize>,
    /// The first reason.
    pub(crate) why: Option<Reason>,
    pub(crate) alerts: Vec<Seen>,
}

impl Said {
    const fn word(word: Word) -> Self {
        Self { word, into: None, familiar: None, why: None, alerts: Vec::new() }
    }
}

/// What a new device or factor gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    Now,
    Later,
}

/// Something that decides which challenge rings.
pub(crate) trait Gate {
    fn push(&mut self, t: Ms, id: u32, ask: &Ask, purpose: Purpose, ttl: Ms) -> Said;
    fn outcome(&mut self, t: Ms, id: u32, outcome: Decision) -> Said;
    fn totp(&mut self, t: Ms, on: Option<u32>, ask: &Ask, valid: bool) -> Said;
    fn recovery(&mut self, t: Ms, ask: &Ask, known: bool) -> Said;
    /// The user's open challenges: the person opens the app.
    fn pull(&mut self, t: Ms, user: u32) -> Vec<u32>;
    fn user(&mut self, t: Ms, user: u32, push_only: bool, break_glass: bool);
    fn enrol(&mut self, t: Ms, user: u32, reset: bool) -> (Grant, Vec<Seen>);
    fn restart(&mut self, t: Ms);
    /// Whether a request would ring and, ignored, raise no alert: for who knows every number.
    fn would_ring_unseen(&self, t: Ms, ask: &Ask, ttl: Ms) -> bool;
}

/// The real guard.
pub(crate) struct Guard {
    lab: Lab,
    networks: Networks,
    codes: u32,
    pub(crate) cost: Cost,
    /// Only where it is timed.
    timed: bool,
    /// The user whose lines are written to stderr.
    pub(crate) trace: Option<u32>,
    /// That user's challenges.
    traced: Vec<String>,
    text: String,
}

/// What driving it has cost, and whether it was deterministic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) steps: u64,
    pub(crate) spent: Duration,
    /// Over every answer, in order.
    pub(crate) digest: u64,
    pub(crate) decisions: u64,
    pub(crate) with_reasons: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

impl Guard {
    pub(crate) fn new(policy: Policy, networks: Networks, timed: bool) -> Self {
        let cost = Cost { digest: 0xcbf2_9ce4_8422_2325, ..Cost::default() };
        Self {
            lab: Lab::new(policy),
            networks,
            codes: 0,
            cost,
            timed,
            trace: None,
            traced: Vec::new(),
            text: String::new(),
        }
    }

    /// Users that it remembers, and bytes for each.
    pub(crate) fn memory(&self) -> (usize, usize) {
        (self.lab.users(), self.lab.bytes_per_user())
    }

    fn step(&mut self, t: Ms, op: Op) -> Option<lab::Said> {
        let shown = self.trace.filter(|user| self.concerns(&op, *user));
        let shown = shown.map(|_| format!("{op:?}"));
        let started = self.timed.then(crate::clock::now);
        let said = self.lab.step(EPOCH + t, op);
        if let Some(started) = started {
            self.cost.spent += crate::clock::now() - started;
        }
        self.cost.steps += 1;
        if let Some(op) = shown {
            let (day, clock) = (t / DAY, t % DAY / SECOND);
            let (hour, minute, second) = (clock / 3_600, clock / 60 % 60, clock % 60);
            eprintln!("day {day} {hour:02}:{minute:02}:{second:02} {op}\n    {said:?}");
        }
        match said {
            Ok(said) => Some(said),
            Err(error) => {
                self.cost.errors += 1;
                let first = &mut self.cost.first_error;
                first.get_or_insert_with(|| format!("at {t} ms: {error}"));
                None
            }
        }
    }

    /// Whether a line is about a user. Outcomes name only a challenge.
    fn concerns(&mut self, op: &Op, user: u32) -> bool {
        let user = name(user);
        match op {
            Op::Push { id, caller, .. } => {
                let is = caller.user == user;
                if is {
                    self.traced.push(id.clone());
                }
                is
            }
            Op::Totp { caller, .. } | Op::Recovery { caller, .. } => caller.user == user,
            Op::Outcome { id, .. } => self.traced.contains(id),
            Op::Pull { user: of } | Op::User { user: of, .. } => *of == user,
            Op::Enrol { user: of } | Op::Reset { user: of } => *of == user,
            Op::Clear { user: of, .. } | Op::Contain { user: of, .. } => *of == user,
            Op::Restart => true,
        }
    }

    fn judged(&mut self, t: Ms, op: Op) -> Said {
        let Some(lab::Said::Judged(judged)) = self.step(t, op) else {
            return Said::word(Word::None);
        };
        // where an outcome is taken note of, nothing was decided
        if judged.decision != Word::None {
            self.cost.decisions += 1;
            self.cost.with_reasons += u64::from(!judged.reasons.is_empty());
        }
        self.text.clear();
        let reasons = &judged.reasons;
        let _ = write!(self.text, "{} {reasons:?}", judged.decision.name());
        let _ = write!(self.text, "{} {:x}", judged.level, judged.score.to_bits());
        for raised in &judged.alerts {
            let _ = write!(self.text, "{:?}{:?}{:?}", raised.alert, raised.user, raised.source);
        }
        for byte in self.text.bytes() {
            // FNV-1a: only compared with itself
            self.cost.digest = (self.cost.digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        Said {
            word: judged.decision,
            into: judged.into.as_deref().and_then(number),
            why: judged.reasons.first().copied(),
            familiar: judged.reasons.iter().find_map(|reason| {
                FAMILIARITIES.iter().position(|(familiar, _)| familiar == reason)
            }),
            alerts: judged.alerts.iter().map(seen).collect(),
        }
    }

    fn caller(&self, ask: &Ask) -> lab::Caller {
        let known = ask.spot.ip.is_some() && self.networks == Networks::Asn;
        lab::Caller {
            user: name(ask.user),
            integration: INTEGRATIONS[usize::from(ask.integration)].to_owned(),
            session: ask.session.map(|session| format!("s{session}")),
            place: Place {
                ip: ask.spot.ip,
                asn: known.then_some(ask.spot.asn),
                country: known.then_some(ask.spot.country),
            },
            cookie: ask.cookie.map(|cookie| format!("k{cookie}")),
        }
    }

    fn code(&mut self) -> String {
        self.codes += 1;
        format!("t{}", self.codes)
    }
}

fn name(user: u32) -> String {
    format!("u{user}")
}

/// The number in one of our names.
fn number(name: &str) -> Option<u32> {
    name.get(1..)?.parse().ok()
}

fn seen(raised: &lab::Raised) -> Seen {
    let user = raised.user.as_deref().and_then(number);
    Seen { kind: raised.alert.kind, severity: raised.alert.severity, user }
}

impl Gate for Guard {
    fn push(&mut self, t: Ms, id: u32, ask: &Ask, purpose: Purpose, ttl: Ms) -> Said {
        let caller = self.caller(ask);
        self.judged(t, Op::Push { id: format!("c{id}"), caller, purpose, ttl_ms: ttl })
    }

    fn outcome(&mut self, t: Ms, id: u32, outcome: Decision) -> Said {
        self.judged(t, Op::Outcome { id: format!("c{id}"), outcome })
    }

    fn totp(&mut self, t: Ms, on: Option<u32>, ask: &Ask, valid: bool) -> Said {
        let (id, caller) = (self.code(), self.caller(ask));
        let for_challenge = on.map(|id| format!("c{id}"));
        self.judged(t, Op::Totp { id, for_challenge, caller, valid })
    }

    fn recovery(&mut self, t: Ms, ask: &Ask, known: bool) -> Said {
        let (id, caller) = (self.code(), self.caller(ask));
        self.judged(t, Op::Recovery { id, for_challenge: None, caller, code_known: known })
    }

    fn pull(&mut self, t: Ms, user: u32) -> Vec<u32> {
        match self.step(t, Op::Pull { user: name(user) }) {
            Some(lab::Said::Pending(ids)) => ids.iter().filter_map(|id| number(id)).collect(),
            _ => Vec::new(),
        }
    }

    fn user(&mut self, t: Ms, user: u32, push_only: bool, break_glass: bool) {
        let codes = [Method::Push, Method::Totp, Method::RecoveryCode];
        let factors: Methods = codes[..if push_only { 1 } else { 3 }].iter().copied().collect();
        let _ = self.step(t, Op::User { user: name(user), factors, break_glass });
    }

    fn enrol(&mut self, t: Ms, user: u32, reset: bool) -> (Grant, Vec<Seen>) {
        let user = name(user);
        let op = if reset { Op::Reset { user } } else { Op::Enrol { user } };
        match self.step(t, op) {
            Some(lab::Said::Enrolment { decision, alerts, .. }) => {
                let now = decision == EnrolmentDecision::Allow;
                let grant = if now { Grant::Now } else { Grant::Later };
                (grant, alerts.iter().map(seen).collect())
            }
            _ => (Grant::Later, Vec::new()),
        }
    }

    fn restart(&mut self, t: Ms) {
        let _ = self.step(t, Op::Restart);
    }

    fn would_ring_unseen(&self, t: Ms, ask: &Ask, ttl: Ms) -> bool {
        let (mut lab, caller, id) = (self.lab.clone(), self.caller(ask), "c-".to_owned());
        let purpose = Purpose::SignIn;
        let push = Op::Push { id: id.clone(), caller, purpose, ttl_ms: ttl };
        let end = Op::Outcome { id, outcome: Decision::Expired };
        let mut unseen = |t, op| match lab.step(EPOCH + t, op) {
            Ok(lab::Said::Judged(judged)) => {
                let quiet =
                    judged.alerts.iter().all(|raised| raised.alert.severity < Severity::Medium);
                quiet.then_some(judged.decision)
            }
            _ => None,
        };
        unseen(t, push) == Some(Word::Ring) && unseen(t + ttl, end).is_some()
    }
}

/// What others ship: so many failures in a row lock the user for so long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lock {
    pub(crate) name: &'static str,
    pub(crate) failures: u32,
    pub(crate) locked: Ms,
}

/// The controls to compare with; durations and counts are the vendors' published defaults.
pub(crate) const LOCKS: [Lock; 4] = [
    Lock { name: "none", failures: u32::MAX, locked: 0 },
    // until an administrator unlocks
    Lock { name: "Duo-like 10", failures: 10, locked: Ms::MAX / 4 },
    Lock { name: "PingID-like 5, 20 min", failures: 5, locked: 20 * super::dice::MINUTE },
    Lock { name: "Akamai-like 5, 180 s", failures: 5, locked: 180 * super::dice::SECOND },
];

/// A [`Lock`] over users.
pub(crate) struct Control {
    lock: Lock,
    users: Vec<Locked>,
    open: std::collections::HashMap<u32, u32>,
}

#[derive(Clone, Copy, Default)]
struct Locked {
    row: u32,
    until: Ms,
}

impl Control {
    pub(crate) fn new(lock: Lock) -> Self {
        Self { lock, users: Vec::new(), open: std::collections::HashMap::default() }
    }

    fn of(&mut self, user: u32) -> &mut Locked {
        let at = user as usize;
        if self.users.len() <= at {
            self.users.resize(at + 1, Locked::default());
        }
        &mut self.users[at]
    }

    fn note(&mut self, t: Ms, user: u32, good: bool) {
        let lock = self.lock;
        let state = self.of(user);
        state.row = if good { 0 } else { state.row + 1 };
        if state.row >= lock.failures {
            *state = Locked { row: 0, until: t + lock.locked };
        }
    }
}

impl Gate for Control {
    fn push(&mut self, t: Ms, id: u32, ask: &Ask, _: Purpose, _: Ms) -> Said {
        if t < self.of(ask.user).until {
            return Said::word(Word::Refuse);
        }
        self.open.insert(id, ask.user);
        Said::word(Word::Ring)
    }

    fn outcome(&mut self, t: Ms, id: u32, outcome: Decision) -> Said {
        let Some(user) = self.open.remove(&id) else { return Said::word(Word::None) };
        let good = outcome == Decision::Approved;
        self.note(t, user, good);
        Said::word(if good { Word::Release } else { Word::None })
    }

    fn totp(&mut self, t: Ms, on: Option<u32>, ask: &Ask, valid: bool) -> Said {
        if t < self.of(ask.user).until {
            return Said::word(Word::Refuse);
        }
        if valid && let Some(id) = on {
            self.open.remove(&id);
        }
        self.note(t, ask.user, valid);
        Said::word(if valid { Word::Accept } else { Word::Reject })
    }

    fn recovery(&mut self, _: Ms, _: &Ask, known: bool) -> Said {
        Said::word(if known { Word::Accept } else { Word::Reject })
    }

    fn pull(&mut self, _: Ms, user: u32) -> Vec<u32> {
        let mine = self.open.iter().filter(|(_, of)| **of == user);
        let mut ids: Vec<u32> = mine.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    fn user(&mut self, _: Ms, _: u32, _: bool, _: bool) {}

    fn enrol(&mut self, _: Ms, _: u32, _: bool) -> (Grant, Vec<Seen>) {
        (Grant::Now, Vec::new())
    }

    fn restart(&mut self, _: Ms) {}

    fn would_ring_unseen(&self, _: Ms, _: &Ask, _: Ms) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_holds_the_person_out_and_success_clears_it() {
        let mut control = Control::new(Lock { name: "", failures: 2, locked: 100 });
        let ask =
            Ask { user: 3, integration: 0, session: None, spot: Spot::default(), cookie: None };
        let push =
            |control: &mut Control, t, id| control.push(t, id, &ask, Purpose::SignIn, 90).word;
        assert_eq!(push(&mut control, 0, 1), Word::Ring);
        control.outcome(1, 1, Decision::Denied);
        assert_eq!(push(&mut control, 2, 2), Word::Ring);
        control.outcome(3, 2, Decision::Approved);
        for id in 3..5 {
            assert_eq!(push(&mut control, 4, id), Word::Ring);
            control.outcome(5, id, Decision::Expired);
        }
        assert_eq!(push(&mut control, 104, 5), Word::Refuse);
        assert_eq!(push(&mut control, 105, 6), Word::Ring);
    }
}
