//! The sign-in log, and one plain sentence per challenge.

use domain::audit::{Cause, Entry, Event, Private, Public};
use domain::challenge::{Challenge, Decision, Mode, State};
use domain::guard::Reason;
use ports::{AuditFilter, AuditRow, StoreError, UserRef};
use statement::{ChallengeId, EventId, IntegrationId, TenantId, Timestamp};

use crate::{App, Error};

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this kind.
    pub event: Option<Event>,
    /// About this user.
    pub user: Option<UserRef>,
    /// From this integration.
    pub integration: Option<IntegrationId>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// After this one.
    pub after: Option<EventId>,
    /// At most so many.
    pub limit: u32,
}

/// An event as security staff sees it.
#[derive(Clone, Debug)]
pub struct EventView {
    /// Its id, which is also a cursor.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub public: Public,
    /// Names and places; `None` once erased.
    pub private: Option<Private>,
}

impl From<AuditRow> for EventView {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            tenant: row.tenant,
            at: row.at,
            public: row.public,
            private: row.private,
        }
    }
}

impl App {
    /// Events of a tenant, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown user, [`Error::Store`].
    pub async fn events(
        &self,
        tenant: TenantId,
        filter: EventFilter,
    ) -> Result<Vec<EventView>, Error> {
        let user = match filter.user {
            None => None,
            Some(UserRef::Id(id)) => Some(id),
            Some(user) => {
                let record = self.directory.user(tenant, user).await?.ok_or(Error::NotFound)?;
                Some(record.user.id)
            }
        };
        let filter = AuditFilter {
            tenant,
            after: filter.after,
            since: filter.since,
            event: filter.event,
            user,
            integration: filter.integration,
            challenge: None,
            limit: filter.limit,
        };
        Ok(self.ledger.read(filter).await?.into_iter().map(EventView::from).collect())
    }

    /// What the audit says of a challenge, oldest first.
    pub(crate) async fn history(&self, challenge: &Challenge) -> Result<Vec<AuditRow>, StoreError> {
        let filter = AuditFilter {
            tenant: challenge.tenant,
            after: None,
            since: Some(challenge.created),
            event: None,
            user: None,
            integration: None,
            challenge: Some(challenge.id),
            limit: 50,
        };
        self.ledger.read(filter).await
    }

    /// Notes that a webhook went on without an event, because its receiver never took it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn note_skipped(
        &self,
        tenant: TenantId,
        webhook: &str,
        event: EventId,
        why: &str,
    ) -> Result<(), Error> {
        let entry = Entry::new(tenant, Event::WebhookSkipped)
            .with(|public| public.cause = Some(event.to_string()))
            .privately(|private| {
                private.name = Some(webhook.to_owned());
                private.reason = Some(why.to_owned());
            });
        Ok(self.ledger.record(entry).await?)
    }

    /// One plain sentence on a challenge: why it rang, didn't ring, was refused, was a decoy.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn why(&self, tenant: TenantId, id: ChallengeId) -> Result<String, Error> {
        let record = self.ledger.lookup(id).await?.ok_or(Error::NotFound)?;
        if record.challenge.tenant != tenant {
            return Err(Error::NotFound);
        }
        let rows = self.history(&record.challenge).await?;
        let created = rows.iter().find(|row| row.public.event == Event::ChallengeCreated);
        let reasons = created.map(|row| row.public.reasons.as_slice()).unwrap_or_default();
        let refused = rows.iter().filter(|row| row.public.event == Event::AnswerRefused).count();
        let wrong = rows.iter().filter(|row| row.public.event == Event::CodeFailed).count();
        let withheld = rows.iter().rfind(|row| row.public.event == Event::AnswerWithheld);
        let clauses: Vec<&str> = reasons.iter().map(|reason: &Reason| reason.clause()).collect();
        let because = if clauses.is_empty() {
            "its record does not say why".to_owned()
        } else {
            clauses.join(", and ")
        };
        let reached = match record.challenge.mode {
            Mode::Ring => "It rang",
            Mode::Silent => "It did not ring: it waited to be found in the app",
            Mode::Decoy => "It was a decoy, which nobody can approve by push",
        };
        let mut sentence = format!("{reached}, because {because}; {}", ending(record.state));
        if let Some(withheld) = withheld {
            sentence.push_str("; a right answer was withheld until a code passes");
            if let Some(reason) = withheld.public.reasons.first() {
                sentence.push_str(&format!(", because {}", reason.clause()));
            }
        }
        if wrong > 0 {
            sentence.push_str(&format!("; wrong codes: {wrong}"));
        }
        if refused > 0 {
            sentence.push_str(&format!("; refused answers: {refused}"));
        }
        sentence.push('.');
        let cause = created.and_then(|row| row.public.cause.as_deref());
        if cause == Some(Cause::NumberByClient.name()) {
            sentence.push_str(" The number was chosen by the client.");
        } else if cause == Some(Cause::NumberTaken.name()) {
            sentence.push_str(
                " The number was chosen by the client, and is that of another open request: that is why nobody \
                 can approve it.",
            );
        }
        if let Some(from) = created.and_then(|row| asked_from(row.private.as_ref()?)) {
            sentence.push_str(&from);
        }
        Ok(sentence)
    }
}

/// Where a request came from, unless that was erased or never known.
fn asked_from(private: &Private) -> Option<String> {
    let address = private.address.as_ref()?;
    let place = private.place.as_ref().map(|place| format!(", {place}"));
    let network = private.asn.map(|asn| format!(", AS{asn}"));
    let more = [place, network].into_iter().flatten().collect::<String>();
    Some(format!(" It was asked for from {address}{more}."))
}

fn ending(state: State) -> String {
    let State::Decided(decided) = state else {
        return "nobody has decided it yet".to_owned();
    };
    match decided.decision {
        Decision::Approved => {
            let method = decided.proof.map_or("push", |proof| proof.method().name());
            format!("it was approved by {}", method.replace('_', " "))
        }
        Decision::Denied => "the person declined".to_owned(),
        Decision::Reported => "the person reported that it was not them".to_owned(),
        Decision::Mismatch => "a wrong number was typed".to_owned(),
        Decision::Expired => "nobody answered in time".to_owned(),
        Decision::Cancelled => "it was cancelled".to_owned(),
        Decision::Superseded => "the same browser session asked for something else".to_owned(),
    }
}
