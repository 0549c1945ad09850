//! The token endpoint: a code, or what a CIBA client was given, for an ID token, once.

use app::sign_ins::Passed;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use domain::protocol::TokenAlgorithm;
use serde_json::{Value, json};
use statement::sha256;

use crate::Oidc;
use crate::acr::amr;
use crate::by_client::ByClient;
use crate::ciba;
use crate::client::Client;
use crate::grants::{ACCESS_LIFE, Grant, Secret};
use crate::oauth::{Code, OAuthError, no_store};
use crate::params::Params;
use crate::request::verifies;

/// How long an ID token holds: it is read at once.
const ID_TOKEN_LIFE_S: u64 = 5 * 60;

pub(crate) async fn exchange(
    State(oidc): State<Oidc>,
    ByClient { call, client, headers, params }: ByClient,
) -> Result<Response, OAuthError> {
    match params.get("grant_type") {
        Some("authorization_code") if client.ciba().is_some() => Err(OAuthError::KIND),
        Some("authorization_code") => by_code(&oidc, call, &client, &params),
        Some(ciba::GRANT) if client.ciba().is_none() => Err(OAuthError::KIND),
        Some(ciba::GRANT) => ciba::collect(&oidc, &client, &headers, &params).await,
        None => Err(OAuthError::invalid("grant_type is missing")),
        Some(_) => {
            let about = "authorization_code and CIBA's are exchanged";
            Err(OAuthError::new(Code::UnsupportedGrantType, about))
        }
    }
}

fn by_code(
    oidc: &Oidc,
    mut call: app::Call,
    client: &Client,
    params: &Params,
) -> Result<Response, OAuthError> {
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
    let own = grant.nonce.map(|nonce| ("nonce", nonce));
    let issued = Issued { client: client.id(), passed: &grant.passed, access: &access, own };
    issued.tokens(oidc, &call, grant.id_token)
}

/// What tokens are made of.
pub(crate) struct Issued<'a> {
    pub(crate) client: String,
    pub(crate) passed: &'a Passed,
    pub(crate) access: &'a Secret,
    /// What ties the ID token to its request.
    pub(crate) own: Option<(&'static str, String)>,
}

impl Issued<'_> {
    /// The token endpoint's answer (OpenID Connect Core §3.1.3.3).
    pub(crate) fn tokens(
        self,
        oidc: &Oidc,
        call: &app::Call,
        algorithm: TokenAlgorithm,
    ) -> Result<Response, OAuthError> {
        let access = self.access.reveal();
        let claims = self.claims(oidc, call, &access).to_string();
        let id_token = oidc.0.app.vault().sign_token(algorithm, call.now, claims.as_bytes());
        let id_token = id_token.ok_or_else(|| {
            tracing::error!("there is no key to sign ID tokens with");
            OAuthError::OURS
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
    fn claims(self, oidc: &Oidc, call: &app::Call, access: &str) -> Value {
        let (passed, now) = (self.passed, call.now.seconds());
        let mut claims = json!({
            "iss": oidc.issuer(),
            "sub": passed.user.to_string(),
            "aud": self.client,
            "iat": now,
            "exp": now + ID_TOKEN_LIFE_S,
            "auth_time": passed.at.seconds(),
            "acr": passed.acr,
            "amr": amr(passed.proof),
            "at_hash": BASE64URL_NOPAD.encode(&sha256(&[access.as_bytes()])[..16]),
            "preferred_username": passed.name,
        });
        if let Some((name, value)) = self.own {
            claims[name] = Value::String(value);
        }
        claims
    }
}
