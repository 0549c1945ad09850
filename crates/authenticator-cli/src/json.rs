//! The JSON lines of `listen --json`, as contract and `--help` fix them.

use authenticator_native::{Card, Choice, Event};
use serde_json::{Value, json};
use statement::{ChallengeId, Timestamp};

/// What a line of input wants.
pub(crate) enum Command {
    Answer(ChallengeId, Choice),
    Pull,
}

/// Reads a line of input.
pub(crate) fn command(line: &str) -> Result<Command, &'static str> {
    let value: Value = serde_json::from_str(line).map_err(|_| "not JSON")?;
    let object = value.as_object().ok_or("not a JSON object")?;
    let Some(challenge) = object.get("challenge") else {
        let pull = object.get("pull").and_then(Value::as_bool) == Some(true);
        return if pull { Ok(Command::Pull) } else { Err("challenge or pull expected") };
    };
    let challenge = challenge.as_str().and_then(|text| text.parse().ok());
    let challenge = challenge.ok_or("challenge: not an id of a challenge")?;
    let flag = |name: &str| match object.get(name) {
        None => Ok(false),
        Some(Value::Bool(true)) => Ok(true),
        Some(_) => Err("deny and report are true or left out"),
    };
    let choice = match (object.get("number"), flag("deny")?, flag("report")?) {
        (Some(Value::String(number)), false, false) => Choice::approve(number),
        (None, true, false) => Choice::Deny,
        (None, false, true) => Choice::Report,
        (Some(_), false, false) => return Err("number: a text expected"),
        _ => return Err("exactly one of number, deny and report expected"),
    };
    Ok(Command::Answer(challenge, choice))
}

pub(crate) fn error(account: Option<&str>, code: &str, detail: &str) -> Value {
    let mut value = json!({"event": "error", "code": code, "detail": detail});
    if let Some(account) = account {
        value["account"] = account.into();
    }
    value
}

/// The lines that tell `event`; `connected` is how it was before.
pub(crate) fn event(account: &str, event: &Event, connected: bool) -> Vec<Value> {
    let plain = |name: &str| json!({"event": name, "account": account});
    let value = match event {
        Event::Save => return Vec::new(),
        Event::Connected { .. } => plain("connected"),
        Event::Prompt(card) => prompt(account, card),
        Event::PromptDropped(fault) => error(Some(account), "prompt_dropped", &fault.to_string()),
        Event::Answered { challenge, outcome } => json!({
            "event": "answered", "account": account, "challenge": challenge,
            "result": outcome.name(),
        }),
        Event::Settled { challenge, decision } => json!({
            "event": "settled", "account": account, "challenge": challenge,
            "decision": decision.name(),
        }),
        Event::Lapsed { challenge } => {
            json!({"event": "lapsed", "account": account, "challenge": challenge})
        }
        Event::GaveWay { challenge } => {
            json!({"event": "gave_way", "account": account, "challenge": challenge})
        }
        Event::Pulled { prompts } => {
            json!({"event": "pulled", "account": account, "prompts": prompts})
        }
        Event::Notice(notice) => json!({
            "event": "notice", "account": account, "kind": notice.kind.name(),
            "at": rfc3339(notice.at), "text": notice.text,
        }),
        Event::TotpRebound => plain("totp_rebound"),
        Event::Fault(fault) => error(Some(account), "server_fault", &fault.to_string()),
        Event::Disconnected { .. } if connected => plain("disconnected"),
        Event::Disconnected { .. } => return Vec::new(),
        Event::Stopped(stop) => {
            let mut stopped = plain("stopped");
            stopped["reason"] = stop.name().into();
            let lost = connected.then(|| plain("disconnected"));
            return lost.into_iter().chain([stopped]).collect();
        }
    };
    vec![value]
}

fn prompt(account: &str, card: &Card) -> Value {
    let details: Vec<Value> = card
        .details
        .iter()
        .map(|detail| json!({"label": detail.label, "value": detail.value}))
        .collect();
    json!({
        "event": "prompt",
        "account": account,
        "challenge": card.challenge,
        "integration": card.integration_name,
        "context": {
            "purpose": card.purpose.name(),
            "origin": card.origin,
            "browser": card.context.browser,
            "place": card.context.place,
            "address": card.context.address,
            "details": details,
            "integration_id": card.integration,
            "created_at": rfc3339(card.created_at),
        },
        "digits": card.digits,
        "expires_at": rfc3339(card.expires_at),
        "alert": card.alert,
    })
}

/// RFC 3339 in UTC; null for a time that no calendar has.
fn rfc3339(at: Timestamp) -> Value {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map_or(Value::Null, |at| at.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_reads_and_nothing_else_does() {
        let id = ChallengeId::from_bytes([7; 24]);
        let read = |rest: &str| command(&format!(r#"{{"challenge":"{id}",{rest}}}"#));
        assert!(
            matches!(read(r#""number":"123456""#), Ok(Command::Answer(at, Choice::Approve(_))) if at == id)
        );
        assert!(matches!(read(r#""deny":true"#), Ok(Command::Answer(_, Choice::Deny))));
        assert!(matches!(read(r#""report":true"#), Ok(Command::Answer(_, Choice::Report))));
        assert!(matches!(command(r#"{"pull":true}"#), Ok(Command::Pull)));
        for bad in [
            r#""deny":false"#,
            r#""number":123456"#,
            r#""deny":true,"report":true"#,
            r#""number":"1","deny":true"#,
            r#""other":1"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bad in ["", "{", "7", "{}", r#"{"pull":1}"#, r#"{"challenge":"chl_x","deny":true}"#] {
            assert!(command(bad).is_err(), "{bad}");
        }
    }
}
