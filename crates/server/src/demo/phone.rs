//! A person with an authenticator, for scripts: reads the page's number, types it.

use std::time::Duration;

use authenticator_native::{
    Account, AnswerOutcome, Card, Choice, Client, Decision, Event, Person, Reconnect, Session,
    Ticket,
};
use serde_json::{Value, json};
use statement::{ChallengeId, TypedNumberError};

use super::http::Http;

const WITHIN: Duration = Duration::from_secs(10);
const AGENT: &str = "countersign demo";

/// Somebody who can look the enrolment number up: here by REST, as an administrator's page would.
struct Lookup<'a> {
    http: &'a Http,
    path: String,
}

impl Person for Lookup<'_> {
    async fn confirm_server(&mut self, _fingerprint: &str) -> bool {
        true
    }

    async fn number(&mut self, _digits: u8, wrong: Option<TypedNumberError>) -> Option<String> {
        if wrong.is_some() {
            return None;
        }
        let shown = self.http.send("GET", &self.path, Value::Null).await.ok()?;
        shown.body["number"].as_str().map(str::to_owned)
    }
}

/// Makes a user and enrols an authenticator for them.
///
/// # Errors
/// What went wrong, in one line.
pub async fn enrol(http: &Http, user: &str) -> Result<Account, String> {
    enrol_with(&Client::new(AGENT), http, user).await
}

/// The same by this client.
///
/// # Errors
/// What went wrong, in one line.
pub async fn enrol_with(client: &Client, http: &Http, user: &str) -> Result<Account, String> {
    let base = format!("/v1/users/name:{user}");
    http.send("PUT", &base, json!({})).await?;
    let tickets = format!("{base}/tickets");
    let ticket = http.send("POST", &tickets, json!({"reason": "demo"})).await?;
    let link = ticket.text("link").parse().map_err(|_| format!("ticket: {}", ticket.outcome()))?;
    let path = format!("{tickets}/{}", ticket.text("ticket"));
    let mut person = Lookup { http, path };
    client
        .enrol(Ticket::Link(link), "demo phone", Vec::new(), &mut person)
        .await
        .map_err(|error| error.to_string())
}

/// A connected authenticator.
pub struct Phone {
    session: Session,
}

impl Phone {
    /// Connects, and comes back when the connection breaks.
    ///
    /// # Errors
    /// If there is no connection in time.
    pub async fn connect(account: Account) -> Result<Self, String> {
        let session = Client::new(AGENT).connect(account, Reconnect::Forever);
        let mut phone = Self { session };
        phone.until("a connection", |event| matches!(event, Event::Connected { .. })).await?;
        Ok(phone)
    }

    /// Waits for an event that `wanted` takes.
    async fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, String> {
        let next = async {
            while let Some((_, event)) = self.session.events.recv().await {
                if wanted(&event) {
                    return Ok(event);
                }
            }
            Err(format!("the session ended before {what}"))
        };
        let within = WITHIN.saturating_mul(3);
        tokio::time::timeout(within, next).await.map_err(|_| format!("no {what} in time"))?
    }

    /// Waits for a prompt.
    ///
    /// # Errors
    /// If none comes.
    pub async fn prompt(&mut self) -> Result<Card, String> {
        match self.until("a prompt", |event| matches!(event, Event::Prompt(_))).await? {
            Event::Prompt(card) => Ok(card),
            _ => Err("not a prompt".to_owned()),
        }
    }

    /// Opens the app and waits for one challenge, whether it rang or is silent.
    ///
    /// # Errors
    /// If it doesn't come.
    pub async fn find(&mut self, challenge: ChallengeId) -> Result<Card, String> {
        self.session.handle.pull().await.map_err(|error| error.to_string())?;
        let found =
            |event: &Event| matches!(event, Event::Prompt(card) if card.challenge == challenge);
        match self.until("a card", found).await? {
            Event::Prompt(card) => Ok(card),
            _ => Err("not a prompt".to_owned()),
        }
    }

    /// Answers, and waits for what became of it.
    ///
    /// # Errors
    /// If nothing does.
    pub async fn answer(
        &mut self,
        challenge: ChallengeId,
        choice: Choice,
    ) -> Result<AnswerOutcome, String> {
        let sent = self.session.handle.answer(challenge, choice, false).await;
        sent.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let answered = |event: &Event| matches!(event, Event::Answered { challenge: of, .. } if *of == challenge);
        match self.until("an answer", answered).await? {
            Event::Answered { outcome, .. } => Ok(outcome),
            _ => Err("not an answer".to_owned()),
        }
    }

    /// Waits until the card of `challenge` goes away.
    ///
    /// # Errors
    /// If it stays.
    pub async fn settled(&mut self, challenge: ChallengeId) -> Result<Decision, String> {
        let settled = |event: &Event| matches!(event, Event::Settled { challenge: of, .. } if *of == challenge);
        match self.until("a decision", settled).await? {
            Event::Settled { decision, .. } => Ok(decision),
            _ => Err("not a decision".to_owned()),
        }
    }

    /// The account as it is now.
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn account(&self) -> Result<Account, String> {
        self.session.handle.account().await.map_err(|error| error.to_string())
    }

    /// Hangs up; the account can connect again.
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn hang_up(self) -> Result<Account, String> {
        let account = self.account().await?;
        self.session.handle.close().await;
        // the session's end is the event stream's end
        self.session.task.await.map_err(|error| error.to_string())?;
        Ok(account)
    }
}
