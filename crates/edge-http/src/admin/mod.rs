//! The operators' edge: every `countersign admin` verb as JSON over HTTP. Served on a Unix socket, whose peer
//! is the [`Operator`], or in process.
//!
//! Architecture invariant: there is no key here. Whoever may open the socket is an operator; the server inserts
//! who it is, and what a change was is audited under that.

mod integrations;
mod links;
mod people;
mod records;

use app::Actor;
use axum::Router;
use axum::extract::FromRequestParts;
use axum::middleware::from_fn;
use axum::routing::{delete, get, post};
use domain::directory::Tenant;
use http::request::Parts;
use http_limits::{Problem, Query};
use ports::UserRef;
use serde::Deserialize;

pub use records::CheckpointFile;

use crate::error::Refused;
use crate::events::Which;
use crate::{Rest, shapes, to_its_end};

/// Who asks: the peer's user id on this machine. An extension of every request, set by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The user id.
    pub uid: u32,
}

/// The operators' routes, each named after its noun. The server puts an [`Operator`] into every request.
pub fn admin_router(state: Rest) -> Router {
    use {integrations as i, links as l, people as p, records as r};
    Router::new()
        .route("/status", get(r::status))
        .route("/keys", get(r::keys))
        .route("/keys/rotate", post(r::rotate_keys))
        .route("/events", get(r::events))
        .route("/why/{challenge}", get(r::why))
        .route("/audit/checkpoint", post(r::checkpoint))
        .route("/tenants", get(i::list_tenants).post(i::create_tenant))
        .route("/tenants/{tenant}", get(i::show_tenant))
        .route("/integrations", get(i::list).post(i::create))
        .route("/integrations/{integration}", get(i::show))
        .route("/integrations/{integration}/keys", get(i::list_keys).post(i::create_key))
        .route("/integrations/{integration}/keys/{key}", get(i::show_key).delete(i::revoke_key))
        .route("/integrations/{integration}/links", get(l::list).post(l::create))
        .route("/integrations/{integration}/links/{subject}", delete(l::remove))
        .route("/users", get(p::list_users).post(p::create_user))
        .route("/users/{user}", get(p::show_user).put(p::update_user))
        .route("/users/{user}/contain", post(p::contain_user))
        .route("/users/{user}/clear", post(p::clear_user))
        .route("/users/{user}/code", post(p::draw_user_code).delete(p::remove_user_code))
        .route("/tickets", get(p::list_tickets).post(p::create_ticket))
        .route("/tickets/{ticket}", get(p::show_ticket))
        .route("/factors", get(p::list_factors).post(p::create_factor))
        .route("/factors/reset", post(p::reset_factors))
        .route("/factors/{factor}", get(p::show_factor))
        .route("/factors/{factor}/approve", post(p::approve_factor))
        .route("/devices", get(p::list_devices))
        .route("/devices/{device}", get(p::show_device).delete(p::revoke_device))
        .route("/devices/{device}/approve", post(p::approve_device))
        .route_layer(from_fn(to_its_end))
        .with_state(state)
}

/// What any route may be asked with; each looks at what concerns it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    tenant: Option<String>,
    user: Option<String>,
    integration: Option<String>,
    r#type: Option<String>,
    since: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

/// An operator's request: who, about which tenant, and what the query narrows it to.
struct Admin {
    actor: Actor,
    tenant: Tenant,
    asked: Asked,
}

impl FromRequestParts<Rest> for Admin {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &Rest) -> Result<Self, Refused> {
        let Some(Operator { uid }) = parts.extensions.get().copied() else {
            return Err(Problem::internal("a request to the operators' edge without a peer").into());
        };
        let Query(asked) = Query::<Asked>::from_request_parts(parts, state).await?;
        Ok(Self {
            actor: Actor::Operator { uid },
            tenant: state.app.find_tenant(asked.tenant.as_deref()).await?,
            asked,
        })
    }
}

impl Admin {
    /// The user whom the query names, which it must.
    fn user(&self) -> Result<UserRef, Problem> {
        let user = self.asked.user.as_deref();
        shapes::operators_user_ref(user.ok_or_else(|| Problem::invalid("user", "is missing"))?)
    }

    fn which(&self) -> Which {
        Which {
            r#type: self.asked.r#type.clone(),
            user: None,
            integration: None,
            since: self.asked.since.clone(),
            cursor: self.asked.cursor.clone(),
            limit: self.asked.limit,
        }
    }
}
