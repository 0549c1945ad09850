//! Enrolling this device.

use authenticator_native::{Client, EnrolError, KeyFile, Person, Ticket, read_roots};
use serde_json::{Value, json};
use statement::{EnrolLink, ServerUrl, TypedNumberError};
use tokio::sync::mpsc;

use crate::args::Enrol;
use crate::failure::Failure;
use crate::input::{Line, lines};
use crate::json;
use crate::output::{put, say};

pub(crate) async fn run(
    command: Enrol,
    json: bool,
    key_file: impl FnOnce(bool) -> Result<KeyFile, Failure>,
) -> Result<(), Failure> {
    let ticket = ticket(&command)?;
    let roots = command.ca.as_deref().map(read_roots).transpose()?.unwrap_or_default();
    // before the ticket is used up: without a place for the key there is no point
    let file = key_file(true)?;
    let name = command.name.unwrap_or_else(machine_name);
    if !json {
        say(&format!("Enrolling \"{name}\" at {} ..", ticket.server()));
    }
    let mut person = AtStdin { json, lines: lines() };
    let client = Client::default();
    let enrolling = client.enrol(ticket, &name, roots, &mut person);
    let account = tokio::select! {
        account = enrolling => account?,
        _ = tokio::signal::ctrl_c() => return Err(EnrolError::GivenUp.into()),
    };
    let account = file.add(account)?;
    if json {
        let value = json!({
            "event": "enrolled",
            "account": account.name,
            "user": account.user,
            "organisation": account.organisation,
            "server": account.server,
            "device": account.device,
            "device_name": account.device_name,
            "totp": account.totp.is_some(),
        });
        say(&value.to_string());
    } else {
        say(&format!("Enrolled {}. Now run: countersign-authenticator listen", account.name));
    }
    Ok(())
}

fn ticket(command: &Enrol) -> Result<Ticket, Failure> {
    if let Some(link) = &command.link {
        let link: EnrolLink = link.parse().map_err(|error| Failure::usage("link", error))?;
        return Ok(Ticket::Link(link));
    }
    let (Some(server), Some(user), Some(code)) = (&command.server, &command.user, &command.code)
    else {
        return Err(Failure::usage("link", "give a link, or --server, --user and --code"));
    };
    let server: ServerUrl = server.parse().map_err(|error| Failure::usage("server", error))?;
    Ticket::from_code(server, user, code).ok_or_else(|| {
        Failure::usage("code", "the code has eight letters and digits, without I, L, O and U")
    })
}

fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    if short.trim().is_empty() { "authenticator".to_owned() } else { short }
}

/// The person, or the program, at the other end of stdin.
struct AtStdin {
    json: bool,
    lines: mpsc::Receiver<Line>,
}

impl AtStdin {
    /// The next line that is JSON; other lines are complained about.
    async fn value(&mut self) -> Option<Value> {
        loop {
            let line = self.lines.recv().await?;
            match serde_json::from_str(&line) {
                Ok(value) => return Some(value),
                Err(_) => say(&json::error(None, "bad_line", "not JSON").to_string()),
            }
        }
    }
}

impl Person for AtStdin {
    async fn confirm_server(&mut self, fingerprint: &str) -> bool {
        if self.json {
            say(&json!({"event": "confirm_server", "fingerprint": fingerprint}).to_string());
            let value = self.value().await.unwrap_or_default();
            return value.get("confirm").and_then(Value::as_bool).unwrap_or(false);
        }
        say("The server's fingerprint is");
        say(&format!("    {fingerprint}"));
        put("Does the screen with your code show the same? [y/N] ");
        let line = self.lines.recv().await;
        line.is_some_and(|line| matches!(line.as_str(), "y" | "Y" | "yes"))
    }

    async fn number(&mut self, digits: u8, wrong: Option<TypedNumberError>) -> Option<String> {
        if self.json {
            match wrong {
                None => say(&json!({"event": "confirm", "digits": digits}).to_string()),
                Some(error) => say(&json::error(None, "number", &error.to_string()).to_string()),
            }
            loop {
                match self.value().await?.get("number") {
                    Some(Value::String(number)) => return Some(number.clone()),
                    _ => say(&json::error(None, "bad_line", "{\"number\"} expected").to_string()),
                }
            }
        }
        match wrong {
            None => say(
                "Ask whoever gave you the ticket for its number, or read it where you are signed in.",
            ),
            Some(error) => say(&format!("That can't be it: {error}.")),
        }
        put(&format!("Number ({digits} digits, one try): "));
        let line = self.lines.recv().await?;
        Some(line.as_str().to_owned())
    }
}
