//! `countersign demo`: the main job on the embedded default, with a person or by script.

pub mod attack;
pub mod child;
pub mod http;
mod invitation;
pub mod phone;
pub mod raw_device;
pub mod script;
mod steps;
mod terminal;

use std::sync::Arc;

use app::{Actor, App, NewIntegration, TicketRequest};
use authenticator_native::{Account, Client, Person, Ticket};
use domain::challenge::{Methods, Purpose};
use domain::directory::Scope;
use ports::UserRef;
use statement::{TenantId, TicketId, TypedNumberError};

pub use child::ChildError;
pub use invitation::Invitation;
pub use terminal::run as answer_in_terminal;

use crate::clock;

/// What prompts call the demo's integration.
pub const INTEGRATION: &str = "Demo shop";
/// The demo's user.
pub const USER: &str = "demo";

/// Registers the demo's integration and user.
///
/// # Errors
/// [`app::Error`].
pub async fn set_up(app: &App) -> Result<(), app::Error> {
    let actor = Actor::Owner;
    let tenant = app.find_tenant(None).await?.id;
    let new = NewIntegration {
        name: INTEGRATION.to_owned(),
        protocol: domain::protocol::Protocol::default(),
        purposes: vec![Purpose::SignIn],
        methods: Methods::ALL,
        scopes: vec![Scope::Challenges],
        verifies_first_factor: true,
        reveal_users: false,
    };
    app.create_integration(&mut clock::call(), &actor, tenant, new).await?;
    app.upsert_user(&mut clock::call(), &actor, tenant, USER).await?;
    Ok(())
}

/// Enrols the demo's own authenticator over the server's socket: the ticket's number is read where an
/// administrator would read it.
///
/// # Errors
/// What went wrong, in one line.
pub async fn enrol(app: &Arc<App>) -> Result<Account, String> {
    let tenant = app.find_tenant(None).await.map_err(|error| error.to_string())?.id;
    let user = UserRef::Name(USER.to_owned());
    let request = TicketRequest { user, confirm: true, reason: None };
    let ticket = app.create_ticket(&mut clock::call(), &Actor::Owner, tenant, request).await;
    let ticket = ticket.map_err(|error| error.to_string())?;
    let link = ticket.link.parse().map_err(|_| "the server's own link doesn't parse")?;
    let mut person = Administrator { app: Arc::clone(app), tenant, ticket: ticket.id };
    Client::new("countersign demo")
        .enrol(Ticket::Link(link), "this terminal", Vec::new(), &mut person)
        .await
        .map_err(|error| error.to_string())
}

struct Administrator {
    app: Arc<App>,
    tenant: TenantId,
    ticket: TicketId,
}

impl Person for Administrator {
    async fn confirm_server(&mut self, _fingerprint: &str) -> bool {
        true
    }

    async fn number(&mut self, _digits: u8, wrong: Option<TypedNumberError>) -> Option<String> {
        if wrong.is_some() {
            return None;
        }
        let view = self.app.ticket(&clock::call(), self.tenant, self.ticket).await.ok()?;
        view.number.map(|number| number.as_str().to_owned())
    }
}
