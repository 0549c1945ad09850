//! The backchannel authentication endpoint.

use std::time::Duration;

use app::{CreateRequest, Created, FirstFactor, RequestContext};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::challenge::Methods;
use serde_json::json;

use super::Request;
use super::follow::{self, Followed};
use super::poll::INTERVAL;
use super::request::{self, Wanted};
use crate::Oidc;
use crate::by_client::ByClient;
use crate::client::Client;
use crate::grants::Secret;
use crate::oauth::{Code, OAuthError, no_store};

pub(crate) async fn ask(
    State(oidc): State<Oidc>,
    ByClient { mut call, client, params, .. }: ByClient,
) -> Result<Response, OAuthError> {
    let registered = client.ciba().ok_or(OAuthError::KIND)?;
    let inner = request::signed(&oidc, &mut call, &client, &params).await?;
    let params = inner.as_ref().unwrap_or(&params);
    let mut wanted = request::read(&oidc, &call, (&client, registered), params)?;
    let ping = wanted.ping.take();
    let place = ping.as_ref().map(|_| oidc.0.followed.take()).transpose()?;
    knows_code(&oidc, &client, &wanted).await?;
    let (request, created) = challenge(&oidc, &mut call, &client, wanted).await?;
    if let (Some((url, token)), Some(place)) = (ping, place) {
        let (id, private) = (client.integration.id, registered.allow_private);
        let followed = Followed { integration: id, request: request.copy(), url, private, token };
        follow::ping(&oidc, place, followed);
    }
    // only a replayed request is told of a challenge that is decided
    let number = created.number.ok_or(OAuthError::OURS)?;
    let left: Duration = created.view.expires.since(call.now);
    let mut response = Json(json!({
        "auth_req_id": request.auth_req_id(),
        "expires_in": left.as_secs(),
        "interval": INTERVAL.as_secs(),
        "number": number.as_str(),
    }))
    .into_response();
    no_store(response.headers_mut());
    Ok(response)
}

/// Whether the client was told by the person that it may ask them, where it must be. Before anything rings.
async fn knows_code(oidc: &Oidc, client: &Client, wanted: &Wanted) -> Result<(), OAuthError> {
    let Some(code) = &wanted.user_code else { return Ok(()) };
    let caller = oidc.0.app.page_caller(client.integration.id).await?;
    let known = oidc.0.app.check_user_code(&caller, &wanted.user, code).await.map_err(refusal)?;
    let wrong = OAuthError::new(Code::UserCodeWrong, "user_code isn't this user's");
    if known { Ok(()) } else { Err(wrong) }
}

/// Asks the person. The client vouches for a first factor: that is what it was registered for.
async fn challenge(
    oidc: &Oidc,
    call: &mut app::Call,
    client: &Client,
    wanted: Wanted,
) -> Result<(Request, Created), OAuthError> {
    let caller = oidc.0.app.page_caller(client.integration.id).await?;
    let session = Secret::draw(&mut *call.rng);
    let create = CreateRequest {
        user: wanted.user,
        context: RequestContext { browser_session: session.reveal(), ..RequestContext::default() },
        first_factor: Some(FirstFactor { method: "relying party".to_owned(), at: call.now }),
        purpose: None,
        // there is nobody to give a code to
        methods: Some(Methods::PUSH),
        ttl: Some(wanted.ttl),
        details: wanted.details,
        return_url: None,
        number: None,
    };
    let created = oidc.0.app.create_challenge(call, &caller, create, None).await;
    let created = created.map_err(refusal)?;
    Ok((Request { challenge: created.view.id, session }, created))
}

/// Why nobody is asked.
pub(crate) fn refusal(error: app::Error) -> OAuthError {
    match error {
        app::Error::UserUnknown | app::Error::NotEnrolled => {
            OAuthError::new(Code::UnknownUserId, "there is nobody of that name to ask")
        }
        error => error.into(),
    }
}
