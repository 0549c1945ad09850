//! The lab with a clock and short names, as tests speak to it.

use std::net::{IpAddr, Ipv4Addr};

use domain::challenge::{Decision, Method, Methods, Purpose};
use domain::guard::{AlertKind, Place, Policy, Reason, Severity};
use domain::lab::{Caller, Judged, Lab, LabError, Op, Raised, Said, Word};
use proptest::prelude::*;

/// 1 January 2026, in milliseconds: a day's start.
pub(crate) const START: u64 = 1_767_225_600_000;
pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const TTL: u64 = 90_000;

pub(crate) const USER: &str = "alice";
pub(crate) const VPN: &str = "vpn";

/// Failing cases are shrunk and printed; nothing is written beside the sources.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() }
}

/// An IPv4 address in a /24 of its own for each `net`.
pub(crate) fn ip(net: u16, host: u8) -> Option<IpAddr> {
    let [a, b] = net.to_be_bytes();
    Some(IpAddr::V4(Ipv4Addr::new(100, a, b, host)))
}

/// A request's origin, without session.
pub(crate) fn from(user: &str, integration: &str, ip: Option<IpAddr>) -> Caller {
    let place = Place { ip, ..Place::default() };
    let (user, integration) = (user.to_owned(), integration.to_owned());
    Caller { user, integration, place, ..Caller::default() }
}

pub(crate) fn with_cookie(mut caller: Caller, cookie: &str) -> Caller {
    caller.cookie = Some(cookie.to_owned());
    caller
}

pub(crate) fn home() -> Caller {
    from(USER, VPN, ip(1, 1))
}

pub(crate) fn stranger() -> Caller {
    from(USER, VPN, ip(2, 1))
}

pub(crate) fn nowhere() -> Caller {
    from(USER, VPN, None)
}

pub(crate) fn methods(list: &[Method]) -> Methods {
    list.iter().copied().collect()
}

/// The guard, its clock, and ids that never repeat.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) t: u64,
    /// What was put in, and what came out.
    pub(crate) log: Vec<(u64, Op, Said)>,
    ids: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Policy::default())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        policy.check().expect("a policy that can be");
        Self { lab: Lab::new(policy), t: START, log: Vec::new(), ids: 0 }
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.t += millis;
    }

    pub(crate) fn new_id(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}{}", self.ids)
    }

    pub(crate) fn step(&mut self, op: Op) -> Said {
        self.tried(op).expect("an event that can be")
    }

    pub(crate) fn tried(&mut self, op: Op) -> Result<Said, LabError> {
        let said = self.lab.step(self.t, op.clone())?;
        self.log.push((self.t, op, said.clone()));
        Ok(said)
    }

    fn judged(&mut self, op: Op) -> Judged {
        match self.step(op) {
            Said::Judged(judged) => judged,
            other => panic!("not a decision: {other:?}"),
        }
    }

    pub(crate) fn has(&mut self, user: &str, list: &[Method]) {
        self.user(user, list, false);
    }

    pub(crate) fn user(&mut self, user: &str, list: &[Method], break_glass: bool) {
        let factors = methods(list);
        self.step(Op::User { user: user.to_owned(), factors, break_glass });
    }

    pub(crate) fn push(&mut self, caller: &Caller) -> Judged {
        self.push_for(caller, Purpose::SignIn, TTL)
    }

    pub(crate) fn push_for(&mut self, caller: &Caller, purpose: Purpose, ttl_ms: u64) -> Judged {
        let id = self.new_id("c");
        self.judged(Op::Push { id, caller: caller.clone(), purpose, ttl_ms })
    }

    pub(crate) fn outcome(&mut self, id: &str, outcome: Decision) -> Judged {
        self.judged(Op::Outcome { id: id.to_owned(), outcome })
    }

    pub(crate) fn totp(&mut self, caller: &Caller, on: Option<&str>, valid: bool) -> Judged {
        let id = self.new_id("t");
        let for_challenge = on.map(str::to_owned);
        self.judged(Op::Totp { id, for_challenge, caller: caller.clone(), valid })
    }

    pub(crate) fn recovery(&mut self, caller: &Caller, on: Option<&str>, known: bool) -> Judged {
        let id = self.new_id("r");
        let for_challenge = on.map(str::to_owned);
        let caller = caller.clone();
        self.judged(Op::Recovery { id, for_challenge, caller, code_known: known })
    }

    pub(crate) fn pending(&mut self, user: &str) -> Vec<String> {
        match self.step(Op::Pull { user: user.to_owned() }) {
            Said::Pending(ids) => ids,
            other => panic!("not a list: {other:?}"),
        }
    }

    pub(crate) fn restart(&mut self) {
        self.step(Op::Restart);
    }

    pub(crate) fn contain(&mut self, user: &str) {
        self.step(Op::Contain { user: user.to_owned(), by: "admin".to_owned() });
    }

    /// The number behind the user's level, now.
    pub(crate) fn score(&self, user: &str) -> f32 {
        let op = Op::Contain { user: user.to_owned(), by: "probe".to_owned() };
        match self.lab.clone().step(self.t, op) {
            Ok(Said::Level { score, .. }) => score,
            other => panic!("not a level: {other:?}"),
        }
    }

    /// How familiar a place is, now.
    pub(crate) fn familiarity(&self, caller: &Caller) -> Reason {
        let judged = self.clone().push(&Caller { session: None, ..caller.clone() });
        let from = [
            Reason::FromNowhere,
            Reason::FromUnknown,
            Reason::FromNear,
            Reason::FromKnown,
            Reason::FromOwn,
        ];
        from.into_iter().find(|reason| says(&judged, *reason)).expect("every push says it")
    }

    /// A push that is answered at once.
    pub(crate) fn settled(&mut self, caller: &Caller, outcome: Decision) -> (Judged, Judged) {
        let pushed = self.push(caller);
        let ended = self.outcome(&pushed.id, outcome);
        (pushed, ended)
    }

    /// The person signs in, by a code as well where one is asked for.
    pub(crate) fn signs_in(&mut self, caller: &Caller) {
        let (pushed, ended) = self.settled(caller, Decision::Approved);
        if ended.decision == Word::Withhold {
            let said = self.totp(caller, Some(&pushed.id), true);
            assert_eq!(said.decision, Word::Accept, "{said:?}");
        }
    }

    /// Makes a place the person's own: a sign-in, a day without denial, another one.
    pub(crate) fn teach(&mut self, caller: &Caller) {
        self.signs_in(caller);
        self.pass(25 * HOUR);
        self.signs_in(caller);
    }
}

pub(crate) fn is_told(said: &[Raised], kind: AlertKind, least: Severity) -> bool {
    said.iter().any(|raised| raised.alert.kind == kind && raised.alert.severity >= least)
}

pub(crate) fn says(judged: &Judged, reason: Reason) -> bool {
    judged.reasons.contains(&reason)
}
