//! The demo's authenticator: prompts appear in the terminal, the person types.

use authenticator_native::{
    Account, AnswerOutcome, Card, Choice, Client, Decision, Event, Reconnect,
};
use statement::ChallengeId;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

use super::Invitation;

/// Serves `account` on standard input and output until the session or the person ends it, and tells what becomes
/// of `invitation`. When standard input is closed, prompts are still shown.
///
/// # Errors
/// If the terminal can't be written.
pub async fn run(account: Account, mut invitation: Invitation) -> std::io::Result<()> {
    let mut session = Client::new("countersign demo").connect(account, Reconnect::Forever);
    let mut lines = BufReader::new(stdin()).lines();
    let mut typing = true;
    let mut cards: Vec<Card> = Vec::new();
    loop {
        tokio::select! {
            event = session.events.recv() => match event {
                Some((_, event)) => show(event, &mut cards),
                None => return Ok(()),
            },
            told = invitation.next() => say(&told),
            line = lines.next_line(), if typing => match line? {
                Some(line) => match read(&line, &cards) {
                    Typed::Answer(challenge, choice) => {
                        if let Ok(Err(error)) =
                            session.handle.answer(challenge, choice, false).await
                        {
                            say(&format!("  not sent: {error}"));
                        }
                    }
                    Typed::Pull => drop(session.handle.pull().await),
                    Typed::Invite => match invitation.renew().await {
                        Ok(link) => say(&format!("  open {link}")),
                        Err(error) => say(&format!("  no link: {error}")),
                    },
                    Typed::Quit => return Ok(()),
                    Typed::Nothing(hint) => say(hint),
                },
                None => typing = false,
            },
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is the terminal's own screen")]
fn say(text: &str) {
    println!("{text}");
}

enum Typed {
    Answer(ChallengeId, Choice),
    Pull,
    Invite,
    Quit,
    Nothing(&'static str),
}

fn read(line: &str, cards: &[Card]) -> Typed {
    let line = line.trim();
    let choice = match line {
        "q" | "quit" => return Typed::Quit,
        "p" | "pull" => return Typed::Pull,
        "e" | "enrol" => return Typed::Invite,
        "d" | "deny" => Choice::Deny,
        "r" | "report" => Choice::Report,
        digits if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == ' ') => {
            Choice::approve(&digits.replace(' ', ""))
        }
        _ => {
            return Typed::Nothing(
                "  the number from the page, d to deny, r for \"not me\", p to open the app, e to enrol a browser, q to quit",
            );
        }
    };
    match cards.last() {
        Some(card) => Typed::Answer(card.challenge, choice),
        None => Typed::Nothing(
            "  nothing rings: start a sign-in on the page; if it stays silent, p opens the app",
        ),
    }
}

fn show(event: Event, cards: &mut Vec<Card>) {
    match event {
        Event::Prompt(card) => {
            present(&card);
            cards.push(card);
        }
        Event::Answered { challenge, outcome } => {
            cards.retain(|card| card.challenge != challenge);
            say(match outcome {
                AnswerOutcome::Settled(Decision::Approved) => "  approved: look at the page",
                AnswerOutcome::Settled(Decision::Denied) => "  denied",
                AnswerOutcome::Settled(Decision::Reported) => "  denied and reported",
                AnswerOutcome::Settled(Decision::Mismatch) => {
                    "  that was another number: this sign-in is over, start again on the page"
                }
                AnswerOutcome::Withheld => "  the page asks for a code",
                AnswerOutcome::Late => "  too late: it had expired",
                AnswerOutcome::Settled(_) => "  it was decided before",
                AnswerOutcome::Refused => "  not accepted",
            });
        }
        Event::Settled { challenge, decision } => {
            let before = cards.len();
            cards.retain(|card| card.challenge != challenge);
            if cards.len() < before {
                say(&format!("  gone: it was {}", decision.name()));
            }
        }
        Event::Lapsed { challenge } | Event::GaveWay { challenge } => {
            cards.retain(|card| card.challenge != challenge);
        }
        Event::Pulled { prompts: 0 } => say("  nothing else is waiting"),
        Event::Notice(notice) => say(&format!("  note: {}", notice.text)),
        Event::Stopped(_) => say("  this authenticator was signed out"),
        _ => {}
    }
}

/// Who asks, from where, why; then how to answer. The number is never part of it: it is on the page alone.
fn present(card: &Card) {
    let context = &card.context;
    let parts = [&card.integration_name, &context.browser, &context.place, &context.address];
    let parts: Vec<&str> =
        parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    say("");
    let bell = if card.alert { "\x07" } else { "" };
    say(&format!("{bell}● {} — {}", card.purpose.name().replace('_', " "), parts.join(" · ")));
    for detail in &card.details {
        say(&format!("  {} says {}: {}", card.integration_name, detail.label, detail.value));
    }
    say(&format!("  Type the {} digits that your page shows.", card.digits));
    say("  Did you not start this? d to deny, r for \"not me\".");
}
