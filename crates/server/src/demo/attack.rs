//! `demo --attack`: an hour of pestering and a night flood against the real guard, on virtual time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::challenge::{Decision, Purpose};
use domain::guard::{Place, Policy, Reason};
use domain::lab::{Caller, Judged, Lab, LabError, Op, Said, Word};
use serde::Serialize;

/// Life of a challenge here, in milliseconds.
const TTL_MS: u64 = 90_000;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
/// Days on which the person signs in before the attack.
const DAYS_BEFORE: u64 = 10;
const PERSON: &str = "alice";
const HOME: [u8; 4] = [192, 0, 2, 10];
const HOTEL: [u8; 4] = [198, 51, 100, 7];
const ATTACKER: [u8; 4] = [203, 0, 113, 9];

/// What one part of the demonstration came to.
#[derive(Debug, Serialize)]
pub struct Act {
    /// Its name.
    pub name: &'static str,
    /// What happens.
    pub story: &'static str,
    /// Prompts that the attacker sent.
    pub sent: u32,
    /// Prompts that made the phone ring.
    pub rang: u32,
    /// Why the others did not, with how many.
    pub why: BTreeMap<&'static str, u32>,
    /// Alerts, as kind and severity.
    pub alerts: Vec<String>,
    /// How the person signed in meanwhile.
    pub person: Vec<String>,
    /// Whether each of their sign-ins went through.
    pub ok: bool,
}

struct Stage {
    lab: Lab,
    ids: u32,
}

impl Stage {
    fn step(&mut self, t: u64, op: Op) -> Result<Judged, LabError> {
        match self.lab.step(t, op)? {
            Said::Judged(judged) => Ok(judged),
            _ => Err(LabError::Unknown("id", String::new())),
        }
    }

    fn push(&mut self, t: u64, ip: [u8; 4], integration: &str) -> Result<Judged, LabError> {
        self.ids += 1;
        let id = format!("c{}", self.ids);
        let caller = Caller {
            user: PERSON.to_owned(),
            integration: integration.to_owned(),
            session: Some(id.clone()),
            place: Place { ip: Some(IpAddr::from(ip)), asn: None, country: None },
            cookie: None,
        };
        self.step(t, Op::Push { id, caller, purpose: Purpose::SignIn, ttl_ms: TTL_MS })
    }

    fn answer(&mut self, t: u64, id: &str, outcome: Decision) -> Result<Judged, LabError> {
        self.step(t, Op::Outcome { id: id.to_owned(), outcome })
    }

    /// The person signs in; says how.
    fn sign_in(&mut self, t: u64, place: &str, ip: [u8; 4]) -> Result<(String, bool), LabError> {
        let pushed = self.push(t, ip, "mail")?;
        let how = match pushed.decision {
            Word::Ring => "the phone rang",
            Word::Silent => "the phone stayed silent, the app showed it",
            _ => return Ok((format!("from {place}: nothing to answer"), false)),
        };
        let answered = self.answer(t + 3 * SECOND, &pushed.id, Decision::Approved)?;
        if answered.decision == Word::Release {
            return Ok((format!("from {place}: {how}, the number was typed, signed in"), true));
        }
        self.ids += 1;
        let caller = Caller {
            user: PERSON.to_owned(),
            integration: "mail".to_owned(),
            place: Place { ip: Some(IpAddr::from(ip)), asn: None, country: None },
            ..Caller::default()
        };
        let code = Op::Totp {
            id: format!("t{}", self.ids),
            for_challenge: Some(pushed.id),
            caller,
            valid: true,
        };
        let passed = self.step(t + 4 * SECOND, code)?.decision == Word::Accept;
        let text = format!("from {place}: {how}, the number was typed, a code as well, signed in");
        Ok((text, passed))
    }
}

/// Runs both acts.
///
/// # Errors
/// [`LabError`]: an event that can't be.
pub fn run() -> Result<Vec<Act>, LabError> {
    let pestering = act(
        "pestering",
        "A stranger who has the password asks every 90 seconds for an hour; the person declines once.",
        10 * HOUR,
        (40, 90 * SECOND),
        true,
    )?;
    let flood = act(
        "night flood",
        "A hundred prompts within ten minutes at one in the morning; the person sleeps.",
        HOUR,
        (100, 6 * SECOND),
        false,
    )?;
    Ok(vec![pestering, flood])
}

fn act(
    name: &'static str,
    story: &'static str,
    at: u64,
    (prompts, gap): (u64, u64),
    declines: bool,
) -> Result<Act, LabError> {
    let mut stage = Stage { lab: Lab::new(Policy::default()), ids: 0 };
    for day in 0..DAYS_BEFORE {
        stage.sign_in(day * DAY + 9 * HOUR, "home", HOME)?;
    }
    let start = DAYS_BEFORE * DAY + at;
    let mut act = Act {
        name,
        story,
        sent: 0,
        rang: 0,
        why: BTreeMap::new(),
        alerts: Vec::new(),
        person: Vec::new(),
        ok: true,
    };
    for n in 0..prompts {
        let t = start + n * gap;
        let judged = stage.push(t, ATTACKER, "vpn")?;
        act.note(&judged);
        if judged.decision == Word::Ring && declines {
            stage.answer(t + 4 * SECOND, &judged.id, Decision::Denied)?;
        }
        if n == prompts / 2 {
            let (how, ok) = stage.sign_in(t + SECOND, "home", HOME)?;
            act.person.push(how);
            act.ok &= ok;
        }
    }
    let after = start + prompts * gap + 8 * HOUR;
    for (place, ip, t) in [("home", HOME, after), ("a hotel", HOTEL, after + HOUR)] {
        let (how, ok) = stage.sign_in(t, place, ip)?;
        act.person.push(how);
        act.ok &= ok;
    }
    Ok(act)
}

impl Act {
    fn note(&mut self, judged: &Judged) {
        self.sent += 1;
        if judged.decision == Word::Ring {
            self.rang += 1;
        } else {
            let why = judged.reasons.first().map_or("", |reason: &Reason| reason.clause());
            *self.why.entry(why).or_default() += 1;
        }
        for raised in &judged.alerts {
            let (kind, severity) = (raised.alert.kind.name(), raised.alert.severity.name());
            self.alerts.push(format!("{kind} ({severity}) at prompt {}", self.sent));
        }
    }

    /// As people read it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!("{}: {}", self.name, self.story),
            format!("  {} prompts sent, {} rang", self.sent, self.rang),
        ];
        let why = self.why.iter().map(|(why, count)| format!("  {count:>4} silent: {why}"));
        lines.extend(why);
        lines.extend(self.alerts.iter().map(|alert| format!("  alert: {alert}")));
        lines.extend(self.person.iter().map(|how| format!("  the person, {how}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_rings_about_once_and_the_person_always_gets_in() {
        for act in run().unwrap() {
            assert!(act.ok, "{}", act.text());
            assert!(act.rang <= 2 && act.sent >= 40, "{}", act.text());
            assert_eq!(act.sent, act.rang + act.why.values().sum::<u32>());
            assert!(!act.alerts.is_empty(), "{}", act.text());
            assert_eq!(act.person.len(), 3);
        }
    }
}
