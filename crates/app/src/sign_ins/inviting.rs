//! Enrolment on the way: somebody who was proven, and has nothing to answer with yet, makes their first
//! authenticator on the page of the sign-in that needs it.
//!
//! Architecture invariant: only for a user without anything to lose, whose level isn't raised, and a few times an
//! hour. Whoever has had an authenticator, and anybody under attack, needs an administrator.

use std::time::Duration;

use domain::audit::Event;
use domain::directory::UserRecord;
use domain::guard::{self, EnrolmentDecision};
use domain::number::Number;
use domain::ticket::Ticket;
use ports::{Change, DirectoryError, UserRef};
use statement::TicketId;
use zeroize::Zeroizing;

use super::SignIn;
use crate::gateway::ticket_entry;
use crate::{App, Call, Caller, Error, EventFilter};

/// Most tickets that a user is given in [`LATELY`], whoever gave them: a person needs one, and a second one if the first
/// number was mistyped.
const MAX_TICKETS: usize = 5;
const LATELY: Duration = Duration::from_secs(60 * 60);

/// A ticket that a sign-in's own page shows. Not `Debug`: it holds the ticket's secrets.
pub(super) struct Invited {
    ticket: TicketId,
    link: Zeroizing<String>,
    code: Zeroizing<String>,
    fingerprint: String,
    user: String,
}

/// How an enrolment stands, as the page of its sign-in shows it.
pub struct Enrolling {
    /// For how long the ticket is valid.
    pub left: Duration,
    /// What comes next.
    pub step: EnrolStep,
}

/// What a page shows of an enrolment. Whoever is shown the number isn't shown the link any more.
pub enum EnrolStep {
    /// A device is to take the ticket.
    Open {
        /// The link.
        link: Zeroizing<String>,
        /// The code to type instead, with `user`.
        code: Zeroizing<String>,
        /// The name by which the user is known here.
        user: String,
        /// What a device that is enrolled by code shows of the server.
        fingerprint: String,
    },
    /// A device has taken it.
    Claimed {
        /// To be typed there.
        number: Number,
        /// What it calls itself.
        device: String,
    },
}

impl std::fmt::Debug for Enrolling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enrolling(redacted)")
    }
}

/// Where a ticket of a sign-in stands.
pub(super) enum Invitation {
    /// It waits for a device, or for the number.
    Open(Enrolling),
    /// A device was enrolled by it.
    Used,
    /// It is of no use any more.
    Past,
}

impl Invited {
    /// What a page that shows it says that it shows.
    pub(super) fn seen(&self, at: &Enrolling) -> String {
        let step: &[u8] = match at.step {
            EnrolStep::Open { .. } => b"open",
            EnrolStep::Claimed { .. } => b"claimed",
        };
        super::seen(self.ticket.as_bytes(), step)
    }
}

impl App {
    /// Gives a ticket to somebody who was proven to be `record`; `None` if that isn't for this page to do.
    pub(super) async fn invite(
        &self,
        call: &mut Call,
        caller: &Caller,
        sign_in: &SignIn,
        record: &UserRecord,
    ) -> Result<Option<Invited>, Error> {
        let (tenant, user) = (record.user.tenant, record.user.id);
        if record.is_bound() || self.is_raised(call, record).await? {
            tracing::info!(%user, "no ticket on the page: an administrator has to give it");
            return Ok(None);
        }
        // whoever comes at the same moment must see the ticket that is given here
        let _one = self.inviting.lock().await;
        let filter = EventFilter {
            event: Some(Event::TicketCreated),
            user: Some(UserRef::Id(user)),
            since: Some(call.now.minus(LATELY)),
            limit: MAX_TICKETS as u32,
            ..EventFilter::default()
        };
        let given = self.events(tenant, filter).await?;
        if given.len() >= MAX_TICKETS {
            tracing::info!(%user, "no ticket on the page: there were enough this hour");
            return Ok(None);
        }
        // none of these lives longer than they look back
        for ticket in given.iter().filter_map(|event| event.public.ticket) {
            if !self.makes_way(call, caller, ticket).await? {
                tracing::info!(%user, "no ticket on the page: another one is in use");
                return Ok(None);
            }
        }
        let vouched = sign_in.start.first_factor.as_ref();
        let by = vouched.map_or("nothing", |factor| factor.method.as_str());
        let reason = format!("first authenticator, on the page of a sign-in: {by} vouches");
        let given = self.give_ticket(call, &caller.actor(), record, true, Some(reason)).await?;
        Ok(Some(Invited {
            ticket: given.id,
            link: given.link,
            code: given.code,
            fingerprint: given.fingerprint,
            user: record.user.name.clone(),
        }))
    }

    /// Whether an earlier ticket of the user's is over, or could be taken back: one that a page of the same integration
    /// showed, and no device has taken. A first factor alone ends nobody else's.
    async fn makes_way(
        &self,
        call: &Call,
        caller: &Caller,
        ticket: TicketId,
    ) -> Result<bool, Error> {
        let Some(ticket) = self.directory.ticket(ticket).await? else { return Ok(true) };
        match ticket.state_name(call.now) {
            "open" if ticket.by == caller.actor().to_string() => {
                self.take_back(&ticket).await?;
                Ok(true)
            }
            "open" | "claimed" => Ok(false),
            _ => Ok(true),
        }
    }

    /// Whether a new authenticator of the user's would have to wait, if they had one.
    async fn is_raised(&self, call: &mut Call, record: &UserRecord) -> Result<bool, Error> {
        let (tenant, user) = (record.user.tenant, record.user.id);
        let hot = self.load_user(call, tenant, user).await?;
        let (policy, now) = (self.user_policy(tenant), guard::seconds(call.now));
        let (decision, _) = hot.cell.memory.at(policy, now).judge_enrolment(policy, now);
        Ok(decision != EnrolmentDecision::Allow)
    }

    /// How the ticket of a sign-in stands.
    pub(super) async fn invitation(
        &self,
        call: &Call,
        caller: &Caller,
        invited: &Invited,
    ) -> Result<Invitation, Error> {
        let view = self.ticket(call, caller.tenant(), invited.ticket).await?;
        if view.state == "open" && self.has_enrolled(caller, invited).await? {
            // it was for somebody without any factor: no device can take it any more
            return Ok(Invitation::Past);
        }
        let step = match (view.state, view.number, view.device_name) {
            ("open", ..) => EnrolStep::Open {
                link: invited.link.clone(),
                code: invited.code.clone(),
                user: invited.user.clone(),
                fingerprint: invited.fingerprint.clone(),
            },
            ("claimed", Some(number), Some(device)) => EnrolStep::Claimed { number, device },
            ("used", ..) => return Ok(Invitation::Used),
            _ => return Ok(Invitation::Past),
        };
        Ok(Invitation::Open(Enrolling { left: view.expires.since(call.now), step }))
    }

    /// Whether who was to make a first authenticator has one by now, by whatever ticket.
    pub(super) async fn has_enrolled(
        &self,
        caller: &Caller,
        invited: &Invited,
    ) -> Result<bool, Error> {
        let user = UserRef::Name(invited.user.clone());
        let record = self.directory.user(caller.tenant(), user).await?;
        Ok(record.is_some_and(|record| record.is_enrolled()))
    }

    /// Takes the ticket of a sign-in back.
    pub(super) async fn uninvite(&self, invited: &Invited) -> Result<(), Error> {
        match self.directory.ticket(invited.ticket).await? {
            Some(ticket) => self.take_back(&ticket).await,
            None => Ok(()),
        }
    }

    async fn take_back(&self, ticket: &Ticket) -> Result<(), Error> {
        let entry = ticket_entry(ticket, Event::TicketCancelled)
            .with(|public| public.cause = Some("taken_back".to_owned()));
        match self.directory.apply(Change::CancelTicket(ticket.id), vec![entry]).await {
            Err(DirectoryError::Store(error)) => Err(error.into()),
            // it was used, or cancelled, meanwhile
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
