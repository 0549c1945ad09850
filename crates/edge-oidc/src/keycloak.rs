//! Keycloak's HTTP authentication channel: Keycloak is the CIBA provider, and has people asked here.
//!
//! It posts who is asked, with a token that its realm signed, and takes no answer but "created": there is no way
//! back for a number of ours. So the number is the one that its client shows as the binding message, and a
//! request without is refused. That is weaker, because the client has to draw it well; it is said in the log and
//! wherever such an integration is shown.
//!
//! Architecture invariant: the token goes back to the registered callback and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use app::{CreateRequest, FirstFactor, RequestContext};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::challenge::{Decided, Decision, MAX_TTL, MIN_TTL, Methods};
use domain::create::{Detail, MAX_VALUE};
use domain::directory::{Integration, is_plain};
use domain::number::Number;
use domain::protocol::{KeycloakRealm, Protocol};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Extensions, HeaderMap, StatusCode};
use http_limits::{count_request, read_body};
use jsonwebtoken::jwk::Jwk;
use ports::UserRef;
use serde::Deserialize;
use serde_json::json;

use crate::Oidc;
use crate::ciba::{Followed, Request, deliver, is_bearer, redeemed, refusal};
use crate::grants::Secret;
use crate::jwt::{self, Claims};
use crate::oauth::{Code, OAuthError};
use crate::published::MAX_KEYS;
use crate::request::named;

/// Longest token; Keycloak's have about a kilobyte.
const MAX_TOKEN: usize = 8 * 1024;

/// What Keycloak asks. Later versions may say more.
#[derive(Deserialize)]
struct Asked {
    login_hint: String,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    is_consent_required: bool,
    #[serde(default)]
    binding_message: Option<String>,
}

/// A request that holds.
struct Wanted {
    user: UserRef,
    number: Number,
    details: Vec<Detail>,
}

const TOKEN: OAuthError =
    OAuthError::new(Code::InvalidToken, "a token that the registered realm made for this request");
const NUMBER: OAuthError = OAuthError::new(
    Code::InvalidBindingMessage,
    "binding_message must be the number that the person types: digits alone, as many as are typed",
);

pub(crate) async fn channel(
    State(oidc): State<Oidc>,
    Path(client): Path<String>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuthError> {
    let mut call = oidc.call();
    let integration = oidc.0.app.client(&client).await;
    let integration = integration.map_err(|error| match error {
        app::Error::NotFound => TOKEN,
        error => error.into(),
    })?;
    let Protocol::KeycloakCiba(realm) = &integration.protocol else { return Err(TOKEN) };
    let token = bearer(&headers).ok_or(TOKEN)?;
    let claims = verified(&oidc, &call, realm, token).await?;
    let (whose, now) = (*integration.id.as_bytes(), call.now.millis());
    count_request(oidc.0.quota.as_deref(), &extensions, whose, now)
        .map_err(OAuthError::too_many)?;
    let asked = asked(&headers, body).await?;
    let wanted = wanted(asked, &claims)?;
    let once = jwt::text(&claims, "jti").filter(|jti| !jti.is_empty()).ok_or(TOKEN)?;
    // first: whoever isn't followed would never be told
    let place = oidc.0.followed.take()?;
    if !oidc.first_use(&mut call, integration.id, once).await? {
        return Err(TOKEN);
    }
    let ttl = life(&claims, &call);
    let request = ask(&oidc, &mut call, &integration, wanted, ttl).await?;
    let followed = Followed {
        integration: integration.id,
        request,
        url: realm.callback_url.clone(),
        private: realm.allow_private,
        token: token.to_owned(),
    };
    tokio::spawn(async move {
        tell(&oidc, &followed).await;
        drop(place);
    });
    Ok(StatusCode::CREATED.into_response())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let good =
        scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN && is_bearer(token);
    good.then_some(token)
}

/// The claims of a token that the realm made for its own callback, as Keycloak makes one for each request.
async fn verified(
    oidc: &Oidc,
    call: &app::Call,
    realm: &KeycloakRealm,
    token: &str,
) -> Result<Claims, OAuthError> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| TOKEN)?;
    let kid = header.kid.ok_or(TOKEN)?;
    let url = realm.keys_url().ok_or(OAuthError::OURS)?;
    let fetch = fetched(oidc.clone(), url.clone(), realm.allow_private);
    // the same realm may be reached on two ways, by whoever registered it so
    let keys = oidc.0.realms.of(call.now, (&url, &url), &kid, fetch).await;
    let keys = keys.map_err(|_| {
        OAuthError::new(Code::TemporarilyUnavailable, "the realm's keys can't be had just now")
    })?;
    let claims = jwt::verify(token, &keys, &jwt::CLIENT_ALGORITHMS).map_err(|_| TOKEN)?;
    let of_realm = jwt::text(&claims, "iss") == Some(realm.issuer.as_str());
    // other tokens of the realm are for somebody else, or of another type
    let for_callback =
        jwt::is_for(&claims, &[&realm.issuer]) && jwt::text(&claims, "typ") == Some("Bearer");
    if of_realm && for_callback && jwt::holds(&claims, call.now) { Ok(claims) } else { Err(TOKEN) }
}

async fn fetched(oidc: Oidc, url: String, private: bool) -> Result<Arc<[Jwk]>, String> {
    let body = oidc.0.outgoing.get(url, private).await?;
    let set = std::str::from_utf8(&body).map_err(|_| "it answered with something else")?;
    let keys: Arc<[Jwk]> = jwt::keys(set).into_iter().take(MAX_KEYS).collect();
    if keys.is_empty() {
        return Err("its key set has no usable key".to_owned());
    }
    Ok(keys)
}

async fn asked(headers: &HeaderMap, body: Body) -> Result<Asked, OAuthError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(OAuthError::invalid("the body must be application/json"));
    }
    let bytes = read_body(headers, body)
        .await
        .map_err(|_| OAuthError::invalid("the body is too large, or came too slowly"))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| OAuthError::invalid("the body must be JSON with a login_hint"))
}

fn wanted(asked: Asked, claims: &Claims) -> Result<Wanted, OAuthError> {
    let user = named(&asked.login_hint);
    let user = user.ok_or(OAuthError::invalid("login_hint must be a user's name or id"))?;
    let number = asked.binding_message.as_deref().and_then(Number::parse).ok_or(NUMBER)?;
    let detail = |label: &str, value: &str| {
        let shown = !value.trim().is_empty()
            && value.chars().count() <= MAX_VALUE
            && value.chars().all(is_plain);
        shown.then(|| Detail { label: label.to_owned(), value: value.to_owned() })
    };
    let client = jwt::text(claims, "azp").and_then(|client| detail("Client", client));
    let scope = asked.scope.filter(|_| asked.is_consent_required);
    let scope = match &scope {
        // what the person is to agree to must be shown
        Some(scope) => {
            let shown = detail("Agrees to", scope);
            Some(shown.ok_or(OAuthError::invalid("scope can't be shown to the person"))?)
        }
        None => None,
    };
    Ok(Wanted { user, number, details: client.into_iter().chain(scope).collect() })
}

/// As long as Keycloak waits, within a challenge's bounds.
fn life(claims: &Claims, call: &app::Call) -> Duration {
    let until = jwt::time(claims, "exp").unwrap_or_default();
    let left = (until - call.now.seconds() as f64).clamp(0.0, MAX_TTL.as_secs_f64());
    Duration::from_secs_f64(left.floor()).max(MIN_TTL)
}

async fn ask(
    oidc: &Oidc,
    call: &mut app::Call,
    integration: &Integration,
    wanted: Wanted,
    ttl: Duration,
) -> Result<Request, OAuthError> {
    let caller = oidc.0.app.page_caller(integration.id).await?;
    let session = Secret::draw(&mut *call.rng);
    let create = CreateRequest {
        user: wanted.user,
        context: RequestContext { browser_session: session.reveal(), ..RequestContext::default() },
        first_factor: Some(FirstFactor { method: "keycloak".to_owned(), at: call.now }),
        purpose: None,
        methods: Some(Methods::PUSH),
        ttl: Some(ttl),
        details: wanted.details,
        return_url: None,
        number: Some(wanted.number),
    };
    let created = oidc.0.app.create_challenge(call, &caller, create, None).await;
    let created = created.map_err(|error| match error {
        app::Error::Invalid { field: "number", .. } => NUMBER,
        error => refusal(error),
    })?;
    Ok(Request { challenge: created.view.id, session })
}

/// Tells Keycloak how it ended. An approval is taken before it is told: told twice or late, it is worth nothing.
async fn tell(oidc: &Oidc, followed: &Followed) {
    let Some((mut call, caller, decided)) = followed.end(oidc).await else { return };
    let mut status = status(&decided);
    if decided.decision == Decision::Approved
        && redeemed(oidc, &mut call, &caller, &followed.request, &decided).await.is_err()
    {
        status = "CANCELLED";
    }
    let body = json!({"status": status}).to_string();
    deliver(oidc, followed, &body).await;
}

const fn status(decided: &Decided) -> &'static str {
    match decided.decision {
        Decision::Approved => "SUCCEED",
        Decision::Denied | Decision::Reported | Decision::Mismatch => "UNAUTHORIZED",
        Decision::Expired | Decision::Cancelled | Decision::Superseded => "CANCELLED",
    }
}
