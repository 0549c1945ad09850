//! The authorization endpoint: a browser comes, and is led to the sign-in's page, back, or nowhere.

use std::sync::Arc;

use app::FirstFactor;
use app::sign_ins::Start;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_limits::{HostedPage, read_body};

use crate::client::Client;
use crate::oauth::{Code, OAuthError};
use crate::params::Params;
use crate::request::{self, BackTo, Channel, Wanted};
use crate::returning::{Returning, answer};
use crate::{Oidc, par};

/// Why a browser doesn't come to a sign-in.
enum Refused {
    /// It goes nowhere.
    Page(&'static str),
    /// It is sent back with this.
    Back(BackTo, OAuthError),
    /// Nothing is wrong with it.
    Busy,
}

pub(crate) async fn by_query(State(oidc): State<Oidc>, RawQuery(query): RawQuery) -> Response {
    authorize(&oidc, &Params::parse(query.unwrap_or_default().as_bytes())).await
}

pub(crate) async fn by_form(State(oidc): State<Oidc>, headers: HeaderMap, body: Body) -> Response {
    match form(&headers, body).await {
        Ok(params) => authorize(&oidc, &params).await,
        Err(page) => page.into_response(),
    }
}

/// The form of a person's request.
pub(crate) async fn form(headers: &HeaderMap, body: Body) -> Result<Params, HostedPage> {
    if !is_form(headers) {
        let why = "the request must be a form: application/x-www-form-urlencoded";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(HostedPage::Refused { status, why });
    }
    let bytes = read_body(headers, body).await.map_err(|_| {
        let why = "the request couldn't be read: too large, or too slow";
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        HostedPage::Refused { status, why }
    })?;
    Ok(Params::parse(&bytes))
}

pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

async fn authorize(oidc: &Oidc, params: &Params) -> Response {
    let mut call = oidc.call();
    match start(oidc, &mut call, params).await {
        Ok(path) => Redirect::to(&path).into_response(),
        Err(Refused::Page(why)) => {
            HostedPage::Refused { status: StatusCode::BAD_REQUEST, why }.into_response()
        }
        Err(Refused::Back(back, error)) => answer(oidc.issuer(), &back, &error),
        Err(Refused::Busy) => {
            let why = "the server can't answer right now: try again in a few seconds";
            HostedPage::Refused { status: StatusCode::SERVICE_UNAVAILABLE, why }.into_response()
        }
    }
}

async fn start(oidc: &Oidc, call: &mut app::Call, params: &Params) -> Result<String, Refused> {
    let client = known_client(oidc, params).await?;
    let wanted = wanted(oidc, call, &client, params).await?;
    let back = wanted.back.clone();
    if wanted.unasked {
        let error = OAuthError::new(Code::LoginRequired, "every sign-in here asks the person");
        return Err(Refused::Back(back, error));
    }
    let rung = FirstFactor { method: "relying party".to_owned(), at: call.now };
    let start = Start {
        integration: client.integration.id,
        whom: wanted.whom.clone(),
        called: wanted.called.clone(),
        first_factor: wanted.rings.then_some(rung),
        purpose: None,
        methods: Some(wanted.methods),
        languages: wanted.languages.clone(),
        within: None,
        back: Some(Arc::new(Returning::new(oidc, &client, wanted))),
    };
    let handle = oidc.0.sign_ins.start(call, start).ok_or_else(|| {
        let error = OAuthError::new(Code::TemporarilyUnavailable, "too many sign-ins at once");
        Refused::Back(back, error)
    })?;
    Ok(handle.path())
}

async fn known_client(oidc: &Oidc, params: &Params) -> Result<Client, Refused> {
    let id = params.get("client_id").ok_or(Refused::Page("client_id is missing"))?;
    match oidc.client(id).await {
        Ok(Some(client)) => Ok(client),
        Ok(None) => Err(Refused::Page("client_id is no client of this server")),
        Err(_) => Err(Refused::Busy),
    }
}

/// What is asked for, by whichever way it came.
async fn wanted(
    oidc: &Oidc,
    call: &mut app::Call,
    client: &Client,
    params: &Params,
) -> Result<Wanted, Refused> {
    // where an error may go, if what came in the open names an address of the client's
    let front = BackTo::of(client, params);
    let refused = |error| match front.clone() {
        Some(back) => Refused::Back(back, error),
        None => Refused::Page("redirect_uri is missing, or not exactly one that is registered"),
    };
    if let Some(uri) = params.get("request_uri") {
        if !par::is_ours(uri) {
            let code = Code::RequestUriNotSupported;
            return Err(refused(OAuthError::new(code, "push the request instead")));
        }
        let pushed = oidc.0.pushed.take(call.now, client, uri);
        return pushed.ok_or(Refused::Page("request_uri is unknown, used, or expired"));
    }
    let inner = request::signed(oidc, call, client, params).await.map_err(&refused)?;
    let (params, channel) = match &inner {
        Some(inner) => (inner, Channel::Client),
        None => (params, Channel::Front),
    };
    let back = BackTo::of(client, params)
        .ok_or(Refused::Page("redirect_uri is missing, or not exactly one that is registered"))?;
    let read = request::read(oidc, call, client, params, (back.clone(), channel));
    read.map_err(|error| Refused::Back(back, error))
}
