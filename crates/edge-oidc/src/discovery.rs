//! What the provider says of itself (OpenID Connect Discovery 1.0 §3, RFC 8414).

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::protocol::TokenAlgorithm;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::{AUTHORIZE, BACKCHANNEL, JWKS, Oidc, PAR, TOKEN, USERINFO, acr, ciba, client, jwt};

pub(crate) async fn document(State(oidc): State<Oidc>) -> Response {
    whole(&metadata(&oidc).to_string())
}

pub(crate) async fn jwks(State(oidc): State<Oidc>) -> Response {
    whole(&oidc.0.app.vault().token_jwks(&TokenAlgorithm::ALL, oidc.call().now))
}

/// JSON with its length said: Entra refuses a document without.
pub(crate) fn whole(json: &str) -> Response {
    let length = HeaderValue::from(json.len());
    let mut response = Body::from(json.to_owned()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length);
    // short: a rotation is published two days ahead, a mistake should be gone in minutes
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

fn metadata(oidc: &Oidc) -> Value {
    let algorithms = TokenAlgorithm::ALL.map(TokenAlgorithm::name);
    let signing = jwt::CLIENT_ALGORITHMS.map(|algorithm| format!("{algorithm:?}"));
    json!({
        "issuer": oidc.issuer(),
        "authorization_endpoint": oidc.url(AUTHORIZE),
        "token_endpoint": oidc.url(TOKEN),
        "userinfo_endpoint": oidc.url(USERINFO),
        "jwks_uri": oidc.url(JWKS),
        "pushed_authorization_request_endpoint": oidc.url(PAR),
        "require_pushed_authorization_requests": false,
        "scopes_supported": ["openid", "profile"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": ["authorization_code", ciba::GRANT],
        "backchannel_authentication_endpoint": oidc.url(BACKCHANNEL),
        "backchannel_token_delivery_modes_supported": ["poll", "ping"],
        "backchannel_authentication_request_signing_alg_values_supported": signing,
        "backchannel_user_code_parameter_supported": true,
        "code_challenge_methods_supported": ["S256"],
        "subject_types_supported": ["public"],
        "ui_locales_supported": http_limits::LANGUAGES,
        "id_token_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": client::METHODS,
        "token_endpoint_auth_signing_alg_values_supported": signing,
        "request_object_signing_alg_values_supported": signing,
        "request_parameter_supported": true,
        "request_uri_parameter_supported": false,
        "claims_parameter_supported": true,
        "claim_types_supported": ["normal"],
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash",
            "preferred_username",
        ],
        "acr_values_supported": acr::ALL,
        "prompt_values_supported": ["none", "login"],
        "authorization_response_iss_parameter_supported": true,
    })
}
