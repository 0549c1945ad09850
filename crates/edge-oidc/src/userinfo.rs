//! The UserInfo endpoint (OpenID Connect Core §5.3): who signed in, for some minutes.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use crate::Oidc;
use crate::grants::Secret;
use crate::oauth::no_store;

pub(crate) async fn show(State(oidc): State<Oidc>, headers: HeaderMap) -> Response {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let known = token.and_then(Secret::parse);
    let passed = known.and_then(|token| oidc.0.grants.who(oidc.call().now, &token));
    let mut response = match passed {
        Some(passed) => Json(json!({
            "sub": passed.user.to_string(),
            "preferred_username": passed.name,
        }))
        .into_response(),
        None => refused(token.is_some()),
    };
    no_store(response.headers_mut());
    response
}

/// RFC 6750 §3: without a token nothing is said of what is wrong with it.
fn refused(sent: bool) -> Response {
    let value = if sent {
        "Bearer realm=\"countersign\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"countersign\""
    };
    let body = Json(json!({"error": "invalid_token"}));
    let mut response = (StatusCode::UNAUTHORIZED, body).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(value));
    response
}
