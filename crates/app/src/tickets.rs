//! Tickets: who may enrol a device, and who sees the number.

use std::fmt;
use std::time::Duration;

use domain::audit::Event;
use domain::directory::{UserRecord, is_plain};
use domain::guard::EnrolmentDecision;
use domain::ticket::{self, Ticket, TicketState};
use ports::{Change, NoticeKind, UserRef};
use statement::{EnrolLink, TenantId, TicketId, Timestamp, UserId, crockford, fingerprint};
use zeroize::Zeroizing;

use crate::gateway::ticket_entry;
use crate::guarding::{self, About};
use crate::{Actor, App, Call, Error, EventFilter};

/// Longest reason that a person gives, in characters.
pub(crate) const MAX_REASON: usize = 200;
/// How far back tickets are listed: a ticket lives minutes, whoever looks wants to know what became of it.
const LISTED: Duration = Duration::from_secs(24 * 60 * 60);
/// Most tickets that are listed.
const MAX_LISTED: u32 = 100;

/// A request for a ticket.
#[derive(Clone, Debug)]
pub struct TicketRequest {
    /// For whom.
    pub user: UserRef,
    /// Whether enrolment ends with a number; without one only for a user without any factor.
    pub confirm: bool,
    /// Why; needed for a user who has a factor.
    pub reason: Option<String>,
}

/// A ticket, as it is given out once. Redacted in `Debug`.
pub struct NewTicket {
    /// Its id.
    pub id: TicketId,
    /// The link: the secret is in its fragment, which browsers don't send.
    pub link: Zeroizing<String>,
    /// The code to type together with the user's name.
    pub code: Zeroizing<String>,
    /// The fingerprint of the server's identity key, which a device that is enrolled by code shows.
    pub fingerprint: String,
    /// When it ends.
    pub expires: Timestamp,
    /// Whether the device will count at once, as things are now.
    pub decision: EnrolmentDecision,
}

impl fmt::Debug for NewTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewTicket({}, redacted)", self.id)
    }
}

/// A ticket, as whoever gave it out sees it.
#[derive(Clone, Debug)]
pub struct TicketView {
    /// Which.
    pub id: TicketId,
    /// For whom.
    pub user: UserId,
    /// `open`, `claimed`, `used`, `expired` or `cancelled`.
    pub state: &'static str,
    /// The number to type on the new device, while it is claimed.
    pub number: Option<domain::number::Number>,
    /// What the claiming device calls itself.
    pub device_name: Option<String>,
    /// When it ends, if nobody uses it.
    pub expires: Timestamp,
}

impl App {
    /// Gives out a ticket. The user's old devices are told.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ReasonRequired`], [`Error::Invalid`], [`Error::Store`].
    pub async fn create_ticket(
        &self,
        call: &mut Call,
        actor: &Actor,
        tenant: TenantId,
        request: TicketRequest,
    ) -> Result<NewTicket, Error> {
        let user = self.directory.user(tenant, request.user).await?.ok_or(Error::NotFound)?;
        let reason = reason(request.reason)?;
        if user.is_enrolled() && reason.is_none() {
            return Err(Error::ReasonRequired);
        }
        if user.is_enrolled() && !request.confirm {
            let why = "only for a user without any factor";
            return Err(Error::invalid("no_confirm", why));
        }
        self.give_ticket(call, actor, &user, request.confirm, reason).await
    }

    /// Gives out a ticket for `user`, who may have one.
    pub(crate) async fn give_ticket(
        &self,
        call: &mut Call,
        actor: &Actor,
        user: &UserRecord,
        confirm: bool,
        reason: Option<String>,
    ) -> Result<NewTicket, Error> {
        let tenant = user.user.tenant;
        let (decision, alerts) = self.judge_new(call, user).await?;
        let secret = Zeroizing::new(call.random::<{ ticket::SECRET_LEN }>());
        let code = Zeroizing::new(call.random::<{ ticket::CODE_LEN }>());
        let ticket = Ticket {
            id: TicketId::from_bytes(call.random()),
            tenant,
            user: user.user.id,
            secret_hash: ticket::secret_hash(secret.as_slice()),
            code_hash: ticket::code_hash(&user.user.name, &code),
            confirm,
            first: !user.is_enrolled(),
            by: actor.to_string(),
            created: call.now,
            expires: call.now.plus(ticket::LIFE),
            code_tries: 0,
            state: TicketState::Open,
        };
        let text = "Somebody was allowed to add a device to your account.";
        let entry = ticket_entry(&ticket, Event::TicketCreated)
            .privately(|private| {
                private.by = Some(actor.to_string());
                private.reason = reason;
            })
            .telling(ticket.user, NoticeKind::TicketCreated, text);
        let (id, expires) = (ticket.id, ticket.expires);
        let mut audit = vec![entry];
        audit.extend(guarding::raise(About::user(tenant, user.user.id), alerts, None));
        self.directory.apply(Change::CreateTicket(ticket), audit).await?;
        self.hint_notices(tenant, user.user.id);
        Ok(NewTicket {
            id,
            link: self.link(secret),
            code: Zeroizing::new(crockford::encode(code.as_slice())),
            fingerprint: fingerprint(&self.vault.identity().identity_hash()),
            expires,
            decision,
        })
    }

    fn link(&self, secret: Zeroizing<[u8; ticket::SECRET_LEN]>) -> Zeroizing<String> {
        let server = self.settings.public_url.clone();
        let identity = self.vault.identity().identity_hash();
        Zeroizing::new(EnrolLink { server, secret, identity }.to_string())
    }

    /// A ticket's state and, once a device claimed it, the number to type there.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn ticket(
        &self,
        call: &Call,
        tenant: TenantId,
        id: TicketId,
    ) -> Result<TicketView, Error> {
        let ticket = self.directory.ticket(id).await?.filter(|ticket| ticket.tenant == tenant);
        let ticket = ticket.ok_or(Error::NotFound)?;
        let state = ticket.state_name(call.now);
        let (number, device_name) = match &ticket.state {
            TicketState::Claimed(claim) if state == "claimed" => {
                let number =
                    claim.number.as_ref().map(|sealed| self.ticket_number(&ticket, sealed));
                (number.transpose()?, Some(claim.device_name.clone()))
            }
            _ => (None, None),
        };
        Ok(TicketView {
            id,
            user: ticket.user,
            state,
            number,
            device_name,
            expires: ticket.expires,
        })
    }

    /// A user's tickets of the last day, oldest first, at most 100.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn tickets(
        &self,
        call: &Call,
        tenant: TenantId,
        user: UserRef,
    ) -> Result<Vec<TicketView>, Error> {
        let filter = EventFilter {
            event: Some(Event::TicketCreated),
            user: Some(user),
            since: Some(call.now.minus(LISTED)),
            limit: MAX_LISTED,
            ..EventFilter::default()
        };
        let mut views = Vec::new();
        for event in self.events(tenant, filter).await? {
            if let Some(id) = event.public.ticket {
                views.push(self.ticket(call, tenant, id).await?);
            }
        }
        Ok(views)
    }
}

/// A reason that a person gave, trimmed; `None` if there is none. Plain, because it is shown in terminals.
pub(crate) fn reason(text: Option<String>) -> Result<Option<String>, Error> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let fits = |text: &String| text.chars().count() <= MAX_REASON && text.chars().all(is_plain);
    if text.as_ref().is_none_or(fits) {
        return Ok(text);
    }
    Err(Error::invalid("reason", "at most 200 plain characters"))
}
