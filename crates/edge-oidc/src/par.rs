//! Pushed authorization requests (RFC 9126): a client sends what it wants itself, and a browser only carries a
//! reference.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use statement::{IntegrationId, Timestamp};

use crate::Oidc;
use crate::by_client::ByClient;
use crate::client::Client;
use crate::grants::Secret;
use crate::oauth::{OAuthError, no_store};
use crate::request::{self, BackTo, Channel, Wanted};
use crate::table::Table;

const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// How long a pushed request waits for its browser, which is on its way.
const LIFE: Duration = Duration::from_secs(90);
/// How many wait; a kilobyte each.
const MOST: usize = 20_000;

/// Requests that wait for their browser.
pub(crate) struct Pushed(Table<(IntegrationId, Wanted)>);

impl Pushed {
    pub(crate) fn new() -> Self {
        Self(Table::new(LIFE, MOST))
    }

    /// Takes a client's request out, once. Another client's name on it takes nothing.
    pub(crate) fn take(&self, now: Timestamp, client: &Client, uri: &str) -> Option<Wanted> {
        let key = Secret::parse(uri.strip_prefix(PREFIX)?)?.key();
        self.0.with(now, &key, |(owner, _)| *owner == client.integration.id).filter(|own| *own)?;
        let (_, wanted) = self.0.take(now, &key)?;
        // what was registered may have changed since
        client.may_return_to(&wanted.back.uri).then_some(wanted)
    }
}

/// Whether `uri` is of the form that this server gives out.
pub(crate) fn is_ours(uri: &str) -> bool {
    uri.starts_with(PREFIX)
}

pub(crate) async fn push(
    State(oidc): State<Oidc>,
    ByClient { mut call, client, params, .. }: ByClient,
) -> Result<Response, OAuthError> {
    if params.get("request_uri").is_some() {
        return Err(OAuthError::invalid("request_uri can't be pushed"));
    }
    let inner = request::signed(&oidc, &mut call, &client, &params).await?;
    let params = inner.as_ref().unwrap_or(&params);
    let back = BackTo::of(&client, params).ok_or(OAuthError::invalid(
        "redirect_uri is missing, or not exactly one that is registered",
    ))?;
    let wanted = request::read(&oidc, &call, &client, params, (back, Channel::Client))?;
    let reference = Secret::draw(&mut *call.rng);
    if !oidc.0.pushed.0.insert(call.now, reference.key(), (client.integration.id, wanted)) {
        return Err(app::Error::from(ports::StoreError::Overloaded).into());
    }
    let uri = format!("{PREFIX}{}", reference.reveal());
    let body = Json(json!({"request_uri": uri, "expires_in": LIFE.as_secs()}));
    let mut response = (StatusCode::CREATED, body).into_response();
    no_store(response.headers_mut());
    Ok(response)
}
