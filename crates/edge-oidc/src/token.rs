//! The token endpoint: a code for an ID token, once.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use http::HeaderMap;
use serde_json::{Value, json};
use statement::sha256;

use crate::Oidc;
use crate::acr::amr;
use crate::grants::{ACCESS_LIFE, Grant, Secret};
use crate::oauth::{Code, OAuthError, no_store};
use crate::par::client_form;
use crate::request::verifies;

/// How long an ID token holds: it is read at once.
const ID_TOKEN_LIFE_S: u64 = 5 * 60;

pub(crate) async fn exchange(
    State(oidc): State<Oidc>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuthError> {
    let params = client_form(&headers, body).await?;
    let mut call = oidc.call();
    let client = oidc.authenticated(&mut call, &headers, &params).await?;
    match params.get("grant_type") {
        Some("authorization_code") => {}
        None => return Err(OAuthError::invalid("grant_type is missing")),
        Some(_) => {
            let about = "only authorization_code is exchanged";
            return Err(OAuthError::new(Code::UnsupportedGrantType, about));
        }
    }
    let wanted = |name, about| params.get(name).ok_or(OAuthError::invalid(about));
    let code = wanted("code", "code is missing")?;
    let redirect_uri = wanted("redirect_uri", "redirect_uri is missing")?;
    let verifier = wanted("code_verifier", "code_verifier is missing")?;
    let code = Secret::parse(code).ok_or(OAuthError::GRANT)?;
    let access = Secret::draw(&mut *call.rng);
    let as_asked =
        |grant: &Grant| grant.redirect_uri == redirect_uri && verifies(&grant.challenge, verifier);
    let id = client.integration.id;
    let exchanged = oidc.0.grants.exchange(call.now, &code, id, &access, as_asked);
    let grant = exchanged.ok_or(OAuthError::GRANT)?;
    let access = access.reveal();
    let claims = id_token(&oidc, &call, &grant, &client.id(), &access);
    let id_token =
        oidc.0.app.vault().sign_token(grant.id_token, call.now, claims.to_string().as_bytes());
    let id_token = id_token.ok_or_else(|| {
        tracing::error!("there is no key to sign ID tokens with");
        OAuthError::new(Code::ServerError, "that went wrong here")
    })?;
    let mut response = Json(json!({
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": ACCESS_LIFE.as_secs(),
        "scope": "openid",
        "id_token": id_token,
    }))
    .into_response();
    no_store(response.headers_mut());
    Ok(response)
}

/// OpenID Connect Core §2. `auth_time` is when the person approved, not when the token was made.
fn id_token(oidc: &Oidc, call: &app::Call, grant: &Grant, client: &str, access: &str) -> Value {
    let passed = &grant.passed;
    let now = call.now.seconds();
    let mut claims = json!({
        "iss": oidc.issuer(),
        "sub": passed.user.to_string(),
        "aud": client,
        "iat": now,
        "exp": now + ID_TOKEN_LIFE_S,
        "auth_time": passed.at.seconds(),
        "acr": passed.acr,
        "amr": amr(passed.proof),
        "at_hash": BASE64URL_NOPAD.encode(&sha256(&[access.as_bytes()])[..16]),
        "preferred_username": passed.name,
    });
    if let Some(nonce) = &grant.nonce {
        claims["nonce"] = Value::String(nonce.clone());
    }
    claims
}
