//! `countersign guard lab`: events as JSON lines in, one decision a line out.

use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use domain::challenge::{Decision, Method, Methods, Purpose};
use domain::guard::{Place, Policies, Who};
use domain::lab::{Caller, Judged, Lab, MAX_T_MS, MAX_TTL_MS, Op, Raised, Said};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::exit::Exit;

/// Longest line, in bytes: ten times what an event needs.
const MAX_LINE: usize = 16 * 1024;
/// Life of a challenge whose line doesn't say, in milliseconds.
const DEFAULT_TTL_MS: u64 = 90_000;

/// A line as it is written. A field that is there twice makes no line.
#[derive(Deserialize)]
struct Written {
    t: Field,
    op: Field,
    id: Field,
    user: Field,
    integration: Field,
    session: Field,
    ip: Field,
    asn: Field,
    country: Field,
    cookie: Field,
    purpose: Field,
    ttl_ms: Field,
    outcome: Field,
    #[serde(rename = "for")]
    for_challenge: Field,
    valid: Field,
    code_known: Field,
    factors: Field,
    break_glass: Field,
    by: Field,
}

/// A field; absent and null are the same.
type Field = Option<Value>;

/// The same with the type of each field.
struct Line {
    t: Option<u64>,
    op: Option<String>,
    id: Option<String>,
    user: Option<String>,
    integration: Option<String>,
    session: Option<String>,
    ip: Option<String>,
    asn: Option<u32>,
    country: Option<String>,
    cookie: Option<String>,
    purpose: Option<String>,
    ttl_ms: Option<u64>,
    outcome: Option<String>,
    for_challenge: Option<String>,
    valid: Option<bool>,
    code_known: Option<bool>,
    factors: Option<Vec<String>>,
    break_glass: Option<bool>,
    by: Option<String>,
}

fn text(field: &'static str, value: Field) -> Result<Option<String>, Bad> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Bad::new(field, "must be text or null")),
    }
}

fn whole<T: TryFrom<u64>>(
    field: &'static str,
    value: &Field,
    bounds: RangeInclusive<u64>,
) -> Result<Option<T>, Bad> {
    let Some(value) = value else { return Ok(None) };
    let within = value.as_u64().filter(|value| bounds.contains(value));
    let (least, most) = (bounds.start(), bounds.end());
    let wrong = || Bad::new(field, format!("must be a whole number from {least} to {most}"));
    within.and_then(|value| T::try_from(value).ok()).map(Some).ok_or_else(wrong)
}

fn flag(field: &'static str, value: &Field) -> Result<Option<bool>, Bad> {
    let Some(value) = value else { return Ok(None) };
    value.as_bool().map(Some).ok_or_else(|| Bad::new(field, "must be true or false"))
}

fn texts(field: &'static str, value: Field) -> Result<Option<Vec<String>>, Bad> {
    let Some(value) = value else { return Ok(None) };
    let wrong = |_| Bad::new(field, "must be a list of texts");
    serde_json::from_value(value).map(Some).map_err(wrong)
}

/// What is wrong with a line.
#[derive(Debug, PartialEq)]
struct Bad {
    field: Option<&'static str>,
    why: String,
}

impl Bad {
    fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field: Some(field), why: why.into() }
    }

    fn json(&self) -> Value {
        match self.field {
            Some(field) => json!({ "error": format!("{field}: {}", self.why), "field": field }),
            None => json!({ "error": self.why }),
        }
    }
}

/// Runs the lab from stdin to stdout until the input ends.
pub(super) fn run(policies: &Policies, tenant: &str) -> Exit {
    let mut lab = lab_of(policies, tenant);
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut input, &mut line) {
            Ok(false) => return Exit::Ok,
            Ok(true) => {}
            Err(error) => {
                eprintln!("error: can't read: {error}");
                return Exit::Unreachable;
            }
        }
        let said = answer(&mut lab, &line);
        // whoever stops reading has what they want
        if writeln!(output, "{said}").and_then(|()| output.flush()).is_err() {
            return Exit::Ok;
        }
    }
}

/// A lab by the rules of one tenant: lines name integrations and no tenants.
fn lab_of(policies: &Policies, tenant: &str) -> Lab {
    fn named(name: &str) -> Who<'_> {
        Who { id: name, name }
    }
    let (_, integrations) = policies.tables();
    let of = |name: &String| (name.clone(), policies.of(named(tenant), named(name)).policy.clone());
    let base = policies.at(policies.place(named(tenant), None));
    Lab::new(base.policy.clone())
        .with_budgets(base.budgets)
        .with_integrations(integrations.iter().map(of).collect())
}

/// Reads one line, without its end; what is past the bound is dropped. `false` at the end of input.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut any = false;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = (MAX_LINE + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

fn answer(lab: &mut Lab, line: &[u8]) -> Value {
    match parse(line) {
        Err(bad) => bad.json(),
        Ok((t, op)) => match lab.step(t, op) {
            Err(error) => json!({ "error": error.to_string(), "field": error.field() }),
            Ok(said) => {
                let mut said = show(said);
                let untold = lab.untold();
                if !untold.is_empty() {
                    said["alerts"] = untold.iter().map(raised).collect();
                }
                said
            }
        },
    }
}

fn parse(line: &[u8]) -> Result<(u64, Op), Bad> {
    if line.len() > MAX_LINE {
        return Err(Bad { field: None, why: format!("longer than {MAX_LINE} bytes") });
    }
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(Bad { field: None, why: "not an event: must be a JSON object".to_owned() });
    }
    let written: Written = serde_json::from_slice(line)
        .map_err(|error| Bad { field: None, why: format!("not an event: {error}") })?;
    let line = Line::try_from(written)?;
    let t = line.t.ok_or_else(|| Bad::new("t", "is missing"))?;
    Ok((t, line.op()?))
}

fn need<T>(field: &'static str, value: Option<T>) -> Result<T, Bad> {
    value.ok_or_else(|| Bad::new(field, "is missing"))
}

impl TryFrom<Written> for Line {
    type Error = Bad;

    fn try_from(written: Written) -> Result<Self, Bad> {
        Ok(Self {
            t: whole("t", &written.t, 0..=MAX_T_MS)?,
            op: text("op", written.op)?,
            id: text("id", written.id)?,
            user: text("user", written.user)?,
            integration: text("integration", written.integration)?,
            session: text("session", written.session)?,
            ip: text("ip", written.ip)?,
            asn: whole("asn", &written.asn, 0..=u32::MAX.into())?,
            country: text("country", written.country)?,
            cookie: text("cookie", written.cookie)?,
            purpose: text("purpose", written.purpose)?,
            ttl_ms: whole("ttl_ms", &written.ttl_ms, 1..=MAX_TTL_MS)?,
            outcome: text("outcome", written.outcome)?,
            for_challenge: text("for", written.for_challenge)?,
            valid: flag("valid", &written.valid)?,
            code_known: flag("code_known", &written.code_known)?,
            factors: texts("factors", written.factors)?,
            break_glass: flag("break_glass", &written.break_glass)?,
            by: text("by", written.by)?,
        })
    }
}

impl Line {
    fn op(mut self) -> Result<Op, Bad> {
        let op = need("op", self.op.take())?;
        Ok(match op.as_str() {
            "push" => Op::Push {
                id: need("id", self.id.take())?,
                purpose: self.purpose()?,
                ttl_ms: self.ttl_ms.unwrap_or(DEFAULT_TTL_MS),
                caller: self.caller()?,
            },
            "outcome" => Op::Outcome { outcome: self.outcome()?, id: need("id", self.id)? },
            "totp" => Op::Totp {
                id: need("id", self.id.take())?,
                for_challenge: self.for_challenge.take(),
                valid: need("valid", self.valid)?,
                caller: self.caller()?,
            },
            "recovery" => Op::Recovery {
                id: need("id", self.id.take())?,
                for_challenge: self.for_challenge.take(),
                code_known: need("code_known", self.code_known)?,
                caller: self.caller()?,
            },
            "pull" => Op::Pull { user: need("user", self.user)? },
            "user" => Op::User {
                factors: self.factors()?,
                break_glass: self.break_glass.unwrap_or(false),
                user: need("user", self.user)?,
            },
            "enrol" => Op::Enrol { user: need("user", self.user)? },
            "reset" => Op::Reset { user: need("user", self.user)? },
            "clear" => {
                Op::Clear { user: need("user", self.user)?, by: self.by.unwrap_or_default() }
            }
            "contain" => {
                Op::Contain { user: need("user", self.user)?, by: self.by.unwrap_or_default() }
            }
            "restart" => Op::Restart,
            other => {
                let known = "push, outcome, totp, recovery, pull, user, enrol, reset, clear, \
                             contain, restart";
                return Err(Bad::new("op", format!("{other:?} is none of {known}")));
            }
        })
    }

    fn caller(self) -> Result<Caller, Bad> {
        let ip = match self.ip.as_deref() {
            None => None,
            Some(ip) => Some(ip.parse::<IpAddr>().map_err(|_| {
                Bad::new("ip", "must be an IPv4 or IPv6 address such as 203.0.113.9")
            })?),
        };
        let country = match self.country.as_deref().map(str::as_bytes) {
            None => None,
            Some(&[a, b]) if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some([a.to_ascii_uppercase(), b.to_ascii_uppercase()])
            }
            Some(_) => return Err(Bad::new("country", "must be two letters such as DE")),
        };
        Ok(Caller {
            user: need("user", self.user)?,
            integration: self.integration.unwrap_or_else(|| "default".to_owned()),
            session: self.session,
            place: Place { ip, asn: self.asn, country },
            cookie: self.cookie,
        })
    }

    fn purpose(&self) -> Result<Purpose, Bad> {
        let name = self.purpose.as_deref().unwrap_or("sign_in");
        Purpose::from_name(name).ok_or_else(|| {
            let known: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.name()).collect();
            Bad::new("purpose", format!("{name:?} is none of {}", known.join(", ")))
        })
    }

    fn outcome(&self) -> Result<Decision, Bad> {
        let name = need("outcome", self.outcome.as_deref())?;
        Decision::ALL.into_iter().find(|decision| decision.name() == name).ok_or_else(|| {
            let known: Vec<_> = Decision::ALL.iter().map(|decision| decision.name()).collect();
            Bad::new("outcome", format!("{name:?} is none of {}", known.join(", ")))
        })
    }

    fn factors(&self) -> Result<Methods, Bad> {
        let Some(names) = &self.factors else {
            return Ok(Methods::PUSH.with(Method::Totp));
        };
        let known = |name: &String| {
            Method::from_name(name).ok_or_else(|| {
                let known = "push, totp, recovery_code";
                Bad::new("factors", format!("{name:?} is none of {known}"))
            })
        };
        names.iter().map(known).collect()
    }
}

fn show(said: Said) -> Value {
    match said {
        Said::Judged(judged) => show_judged(&judged),
        Said::Pending(ids) => json!({ "pending": ids }),
        Said::Enrolment { decision, wait_ms, alerts } => json!({
            "decision": decision,
            "wait_ms": wait_ms,
            "alerts": alerts.iter().map(raised).collect::<Vec<_>>(),
        }),
        Said::Level { level, score } => json!({ "level": level, "score": rounded(score) }),
        Said::Nothing => json!({}),
    }
}

fn show_judged(judged: &Judged) -> Value {
    json!({
        "id": judged.id,
        "decision": judged.decision.name(),
        "into": judged.into,
        "level": judged.level,
        "score": rounded(judged.score),
        "reasons": judged.reasons,
        "alerts": judged.alerts.iter().map(raised).collect::<Vec<_>>(),
    })
}

fn raised(raised: &Raised) -> Value {
    let mut shown = json!({
        "kind": raised.alert.kind.name(),
        "severity": raised.alert.severity.name(),
    });
    if let Some(user) = &raised.user {
        shown["user"] = json!(user);
    }
    if let Some(source) = &raised.source {
        shown["source"] = json!(source);
    }
    shown
}

/// To four places, as people read it.
fn rounded(score: f32) -> f64 {
    (f64::from(score) * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use domain::guard::{Change, KNOBS, Policy, Table};

    use super::*;

    fn said(lab: &mut Lab, line: Value) -> Value {
        answer(lab, line.to_string().as_bytes())
    }

    fn push(t: u64, id: &str, ip: Value) -> Value {
        json!({"t": t, "op": "push", "id": id, "user": "u1", "integration": "vpn", "session": id,
               "ip": ip, "asn": 64500, "country": "DE", "cookie": null, "purpose": "sign_in",
               "ttl_ms": 90000})
    }

    /// A bug once let every line go by the numbers above all tables.
    #[test]
    fn lines_go_by_the_table_of_their_integration() {
        let knob = |name: &str| KNOBS.iter().find(|knob| knob.name == name).unwrap();
        let lenient = vec![Change::Number(knob("silent_at"), 3.0)];
        let other = vec![Change::Number(knob("live_without_first_factor"), 3.0)];
        let table = |of: &str, changes| Table { of: of.to_owned(), changes };
        let policies = Policies::new(
            &[],
            vec![table("acme", lenient.clone())],
            vec![table("vpn", lenient), table("mail", other)],
        )
        .unwrap();
        let second = |tenant: &str, integration: &str| {
            let mut lab = lab_of(&policies, tenant);
            let mut decision = Value::Null;
            for (n, ip) in ["203.0.113.9", "198.51.100.9"].into_iter().enumerate() {
                let mut line = push(n as u64 * 200_000, &format!("c{n}"), json!(ip));
                line["integration"] = json!(integration);
                decision = said(&mut lab, line)["decision"].clone();
            }
            decision
        };
        assert_eq!(second("default", "mail"), "silent");
        assert_eq!(second("default", "none"), "silent");
        assert_eq!(second("default", "vpn"), "ring");
        assert_eq!(second("acme", "none"), "ring");
    }

    #[test]
    fn the_lines_of_the_contract_are_answered_as_it_says() {
        let mut lab = Lab::new(Policy::default());
        let first = said(&mut lab, push(0, "c1", json!("203.0.113.9")));
        assert_eq!((&first["id"], &first["decision"]), (&json!("c1"), &json!("ring")));
        assert_eq!(first["into"], Value::Null);
        assert!(first["reasons"].is_array() && first["alerts"].is_array(), "{first}");
        let outcome = json!({"t": 9000, "op": "outcome", "id": "c1", "outcome": "approved"});
        assert_eq!(said(&mut lab, outcome)["decision"], "release");
        let totp = json!({"t": 9500, "op": "totp", "id": "t1", "for": "c1", "user": "u1",
            "integration": "vpn", "session": "s1", "ip": "203.0.113.9", "asn": 64500,
            "country": "DE", "cookie": null, "valid": true});
        assert_eq!(said(&mut lab, totp)["decision"], "accept");
        let pull = json!({"t": 9600, "op": "pull", "user": "u1"});
        assert_eq!(said(&mut lab, pull), json!({"pending": []}));
        let user = json!({"t": 9700, "op": "user", "user": "u1",
            "factors": ["push", "totp", "recovery_code"], "break_glass": false});
        assert_eq!(said(&mut lab, user), json!({}));
        let enrol = said(&mut lab, json!({"t": 9800, "op": "enrol", "user": "u1"}));
        assert_eq!(enrol, json!({"decision": "allow", "wait_ms": 0, "alerts": []}));
        let clear = json!({"t": 9900, "op": "clear", "user": "u1", "by": "admin"});
        assert_eq!(said(&mut lab, clear)["level"], 0);
        assert_eq!(said(&mut lab, json!({"t": 9900, "op": "restart"})), json!({}));
    }

    fn totp_for(challenge: &str, user: &str) -> Value {
        json!({"t": 9999, "op": "totp", "id": "t1", "for": challenge, "user": user, "valid": true})
    }

    #[test]
    fn a_bad_line_names_its_field_and_changes_nothing() {
        let mut lab = Lab::new(Policy::default());
        assert_eq!(said(&mut lab, push(1000, "c1", Value::Null))["decision"], "ring");
        for (line, field) in [
            (push(2000, "c2", json!("203.0.113.999")), "ip"),
            (json!({"op": "pull", "user": "u1"}), "t"),
            (json!({"t": 3000, "op": "pull"}), "user"),
            (json!({"t": 3000, "op": "dance"}), "op"),
            (json!({"t": 3000, "op": "outcome", "id": "c1", "outcome": "maybe"}), "outcome"),
            (json!({"t": 3000, "op": "user", "user": "u1", "factors": ["fax"]}), "factors"),
            (json!({"t": 3000, "op": "user", "user": "u1", "factors": "push"}), "factors"),
            (json!({"t": -1, "op": "pull", "user": "u1"}), "t"),
            // in microseconds: time would stand still from then on
            (json!({"t": 1_790_000_000_000_000_u64, "op": "pull", "user": "u1"}), "t"),
            (json!({"t": 3000, "op": "pull", "user": 7}), "user"),
            (json!({"t": 3000, "op": "push", "id": "c2", "user": "u1", "asn": 1_u64 << 32}), "asn"),
            (json!({"t": 3000, "op": "totp", "id": "t1", "user": "u1", "valid": "yes"}), "valid"),
            (json!({"t": 3000, "op": "push", "id": "c2", "user": "u1", "ttl_ms": 0}), "ttl_ms"),
            (json!({"t": 3000, "op": "push", "id": "c2", "user": "u".repeat(257)}), "user"),
            (json!({"t": 999, "op": "pull", "user": "u1"}), "t"),
            (json!({"t": 3000, "op": "outcome", "id": "c9", "outcome": "approved"}), "id"),
            (push(3000, "c1", Value::Null), "id"),
            (totp_for("c9", "u1"), "for"),
            (totp_for("c1", "u2"), "for"),
        ] {
            let said = said(&mut lab, line);
            assert_eq!(said["field"], field, "{said}");
            assert!(said["error"].as_str().is_some_and(|why| why.starts_with(field)), "{said}");
        }
        for line in ["", "null", "[1000, \"push\"]", "\"t\""] {
            let said = answer(&mut lab, line.as_bytes());
            assert_eq!(said, json!({"error": "not an event: must be a JSON object"}), "{line}");
        }
        assert!(answer(&mut lab, b"{").get("error").is_some());
        assert!(answer(&mut lab, br#"{"t":1,"t":2,"op":"restart"}"#).get("error").is_some());
        assert!(answer(&mut lab, &[b' '; MAX_LINE + 1]).get("error").is_some());
        // time didn't move either
        let pull = json!({"t": 1001, "op": "pull", "user": "u1"});
        assert_eq!(said(&mut lab, pull), json!({"pending": ["c1"]}));
        let outcome = json!({"t": 1002, "op": "outcome", "id": "c1", "outcome": "denied"});
        assert_eq!(said(&mut lab, outcome.clone())["decision"], "none");
        assert!(said(&mut lab, outcome)["error"].is_string(), "an outcome counts once");
    }
}
