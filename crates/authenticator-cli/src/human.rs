//! What a person reads and types while listening.

use std::fmt::Write as _;
use std::time::Duration;

use authenticator_native::{AnswerOutcome, Card, Decision, Purpose, Stop};

/// What a person typed.
pub(crate) enum Typed<'a> {
    /// Anything that isn't one of the others: the number.
    Number(&'a str),
    Deny,
    Report,
    /// Look at the next card.
    Next,
    /// The person opens the app: show what didn't ring.
    Pull,
    Help,
    Quit,
}

impl<'a> Typed<'a> {
    pub(crate) fn read(line: &'a str) -> Self {
        match line.to_ascii_lowercase().as_str() {
            "" => Self::Pull,
            "d" | "deny" | "n" | "no" => Self::Deny,
            "r" | "report" | "not me" => Self::Report,
            "s" | "skip" => Self::Next,
            "?" | "h" | "help" => Self::Help,
            "q" | "quit" | "exit" => Self::Quit,
            _ => Self::Number(line),
        }
    }
}

pub(crate) const HELP: &str = "\
Type the number from the sign-in page to approve the request that is shown.
  d      deny it
  r      deny it and report that it was not you
  s      skip to the next request, if there are several; shows the newest if none is shown
  Enter  ask the server for requests that did not ring
  q      quit";

const fn asks(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::SignIn => "asks you to confirm a sign-in",
        Purpose::StepUp => "asks you to confirm that it is still you",
        Purpose::Transaction => "asks you to confirm a transaction",
        Purpose::Enrolment => "asks you to let ANOTHER AUTHENTICATOR be added to your account",
        Purpose::Reset => "asks you to let a CREDENTIAL BE RESET",
        Purpose::HelpDesk => "asks you to prove to a help desk who is calling",
    }
}

/// A card, context first. `account` is given where there are several.
pub(crate) fn card(card: &Card, account: Option<&str>, left: Duration, others: usize) -> String {
    let mut text = String::from("\n");
    // writing to a String can't fail
    let _ = writeln!(text, "{} {}", card.integration_name, asks(card.purpose));
    let mut row = |name: &str, value: &str| {
        let value = if value.is_empty() { "unknown" } else { value };
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    if let Some(account) = account {
        row("Account", account);
    }
    row("Browser", &card.context.browser);
    if !card.context.place.is_empty() {
        row("Place", &card.context.place);
    }
    row("Address", &card.context.address);
    for detail in &card.details {
        let _ =
            writeln!(text, "  {} says: {}: {}", card.integration_name, detail.label, detail.value);
    }
    if !card.origin.is_empty() {
        let _ = writeln!(text, "  {:<9} {}", "Server", card.origin);
    }
    let _ = writeln!(text, "  {:<9} {} s", "Time left", left.as_secs());
    if others > 0 {
        let _ = writeln!(text, "  ({others} more waiting: s skips to the next, newest first)");
    }
    text.push_str("If this is you, type the number that the sign-in page shows.\n");
    text
}

pub(crate) fn question(card: &Card) -> String {
    format!("{} digits, d = deny, r = it was not me: ", card.digits)
}

pub(crate) fn answered(name: &str, outcome: AnswerOutcome) -> String {
    match outcome {
        AnswerOutcome::Settled(Decision::Approved) => format!("Approved: {name}."),
        AnswerOutcome::Settled(Decision::Denied) => format!("Denied: {name}."),
        AnswerOutcome::Settled(Decision::Reported) => {
            format!("Reported: {name}. Thank you; whoever it was did not get in.")
        }
        AnswerOutcome::Settled(Decision::Mismatch) => {
            format!(
                "That was not the number, so the request of {name} is over. Start again on the sign-in page."
            )
        }
        AnswerOutcome::Settled(decision) => {
            format!("The request of {name} was already {}.", decision.name())
        }
        AnswerOutcome::Withheld => format!(
            "The number is right, but {name} also wants a code: type one on the sign-in page (`code` shows it)."
        ),
        AnswerOutcome::Late => format!("Too late: the request of {name} had expired."),
        AnswerOutcome::Refused => format!("The server did not accept the answer to {name}."),
    }
}

pub(crate) fn settled(name: &str, decision: Decision) -> String {
    match decision {
        Decision::Expired => format!("The request of {name} has expired."),
        Decision::Cancelled => format!("{name} took its request back."),
        Decision::Mismatch => {
            format!("The request of {name} is over: a wrong number was typed for it.")
        }
        Decision::Superseded => format!("A newer request replaces that of {name}."),
        other => format!("The request of {name} was {} elsewhere.", other.name()),
    }
}

pub(crate) fn stopped(account: &str, stop: &Stop) -> String {
    let advice = match stop {
        Stop::Replaced => "start `listen` again to take it back",
        Stop::Revoked | Stop::Unauthenticated => {
            "remove the account, and enrol again if you need it"
        }
        Stop::Version { .. } => "update this program",
        Stop::NotSaved => "look at the folder of --home",
    };
    format!("{account}: {stop}; {advice}.")
}

#[cfg(test)]
mod tests {
    use authenticator::{Context, Detail};
    use statement::{ChallengeId, IntegrationId, Timestamp};

    use super::*;

    /// What a person decides by: who asks and from where come first, and the server's own address is never taken
    /// for the place of the sign-in.
    #[test]
    fn a_card_says_who_asks_from_where_and_through_which_server() {
        let shown = Card {
            challenge: ChallengeId::from_bytes([1; ChallengeId::LEN]),
            integration: IntegrationId::from_bytes([2; IntegrationId::LEN]),
            integration_name: "Payroll".into(),
            origin: "https://mfa.example".into(),
            purpose: Purpose::SignIn,
            context: Context {
                address: "203.0.113.9".into(),
                browser: "Firefox on Linux".into(),
                place: String::new(),
            },
            details: vec![Detail { label: "Amount".into(), value: "12 EUR".into() }],
            digits: 6,
            alert: true,
            created_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(90_000),
            expires: Duration::from_secs(90),
        };
        let text = card(&shown, None, Duration::from_secs(60), 0);
        let lines: Vec<&str> = text.trim_start().lines().collect();
        let wanted = [
            "Payroll asks you to confirm a sign-in",
            "  Browser   Firefox on Linux",
            "  Address   203.0.113.9",
            "  Payroll says: Amount: 12 EUR",
            "  Server    https://mfa.example",
            "  Time left 60 s",
            "If this is you, type the number that the sign-in page shows.",
        ];
        assert_eq!(lines, wanted);
    }
}
