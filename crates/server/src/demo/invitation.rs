//! What lets a browser become an authenticator of the demo's user: a link, and the number that its owner reads here,
//! where an administrator would.

use std::sync::Arc;
use std::time::Duration;

use app::{Actor, App, TicketRequest};
use ports::UserRef;
use statement::{ServerUrl, TenantId, TicketId};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::USER;
use crate::clock;

/// How often it is looked whether somebody used the link: a person doesn't notice.
const LOOK: Duration = Duration::from_millis(250);

/// A ticket that somebody may use, and what was said of it.
pub struct Invitation {
    app: Arc<App>,
    tenant: TenantId,
    web: Option<ServerUrl>,
    ticket: TicketId,
    /// Its last state that was told.
    told: &'static str,
    looks: Interval,
}

impl Invitation {
    /// Makes one, with the link to open: at `web`, where there is a web authenticator.
    ///
    /// # Errors
    /// [`app::Error`].
    pub async fn new(
        app: &Arc<App>,
        web: Option<&ServerUrl>,
    ) -> Result<(Self, String), app::Error> {
        let tenant = app.find_tenant(None).await?.id;
        let (ticket, link) = ticket(app, tenant, web).await?;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (app, web) = (Arc::clone(app), web.cloned());
        Ok((Self { app, tenant, web, ticket, told: "open", looks }, link))
    }

    /// Makes another, and gives its link.
    ///
    /// # Errors
    /// [`app::Error`].
    pub async fn renew(&mut self) -> Result<String, app::Error> {
        let (ticket, link) = ticket(&self.app, self.tenant, self.web.as_ref()).await?;
        (self.ticket, self.told) = (ticket, "open");
        Ok(link)
    }

    /// What its owner should know next; waits until there is something.
    pub async fn next(&mut self) -> String {
        loop {
            self.looks.tick().await;
            let Ok(view) = self.app.ticket(&clock::call(), self.tenant, self.ticket).await else {
                continue;
            };
            if view.state == self.told {
                continue;
            }
            self.told = view.state;
            match (view.state, view.number) {
                ("claimed", Some(number)) => {
                    let name = view.device_name.unwrap_or_default();
                    return format!(
                        "\n  \"{name}\" wants to be an authenticator. Type there: {}",
                        number.as_str()
                    );
                }
                ("used", _) => return "  it is one now: it rings with this terminal".to_owned(),
                ("cancelled", _) => {
                    return "  that was another number: e makes a new link".to_owned();
                }
                _ => {}
            }
        }
    }
}

async fn ticket(
    app: &App,
    tenant: TenantId,
    web: Option<&ServerUrl>,
) -> Result<(TicketId, String), app::Error> {
    let user = UserRef::Name(USER.to_owned());
    let reason = Some("the demo's web authenticator".to_owned());
    let request = TicketRequest { user, confirm: true, reason };
    let ticket = app.create_ticket(&mut clock::call(), &Actor::Owner, tenant, request).await?;
    let link = match (web, ticket.link.split_once('#')) {
        // straight there, not by way of the server that would lead there
        (Some(web), Some((_, secret))) => format!("{web}/enrol#{secret}"),
        _ => ticket.link.to_string(),
    };
    Ok((ticket.id, link))
}
