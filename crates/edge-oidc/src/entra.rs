//! Microsoft Entra External MFA: this server as an external method of Entra directories, at an issuer and with
//! endpoints of its own. The only place where an ID token travels through a browser, because that is how Entra
//! wants it.
//!
//! Entra posts a browser here with a hint that it signed: who, of which directory, has passed a first factor. The
//! hint is checked in full before anybody is looked up; only its `exp` counts for nothing, because Entra issues
//! hints that have expired already.

mod asked;
mod authorize;
mod hint;
mod keys;
mod returning;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use app::sign_ins::SignIns;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use domain::protocol::TokenAlgorithm;
use http::StatusCode;
use http_limits::HostedPage;
use ports::BoxFuture;
use serde_json::json;

use self::keys::Keys;
use crate::MakeCall;
use crate::discovery::whole;
use crate::table::Table;

/// Below the server's address: the issuer of tokens for Entra.
const ISSUER: &str = "/entra";
const AUTHORIZE: &str = "/entra/authorize";
const JWKS: &str = "/entra/jwks.json";
/// Where Entra takes answers, below each cloud's authority.
pub(crate) const ANSWERS: &str = "/common/federation/externalauthprovider";

/// Fetches what Entra publishes. Made by the server: this crate opens no connection.
pub trait Fetch: Send + Sync {
    /// The body of a document, which must be a success. Bounded in size and time, follows no redirect.
    fn get(&self, url: String) -> BoxFuture<'_, Result<Bytes, String>>;
}

/// The external method.
#[derive(Clone)]
pub struct Entra(Arc<Inner>);

struct Inner {
    app: Arc<app::App>,
    call: MakeCall,
    sign_ins: Arc<SignIns>,
    keys: Keys,
    /// The pages of sign-ins, by the hash of the hint that started them: for a reload.
    pages: Table<String>,
    secure_cookies: bool,
}

impl fmt::Debug for Entra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entra")
    }
}

impl Entra {
    /// A method that starts sign-ins in `sign_ins` and learns Entra's keys by `fetch`. `secure_cookies` as for
    /// hosted pages.
    #[must_use]
    pub fn new(
        app: Arc<app::App>,
        call: MakeCall,
        sign_ins: Arc<SignIns>,
        fetch: Arc<dyn Fetch>,
        secure_cookies: bool,
    ) -> Self {
        let pages = Table::new(app::sign_ins::SIGN_IN_LIFE, app::sign_ins::MAX_SIGN_INS);
        let keys = Keys::new(fetch);
        Self(Arc::new(Inner { app, call, sign_ins, keys, pages, secure_cookies }))
    }

    fn issuer(&self) -> String {
        self.url(ISSUER)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.app.public_url())
    }
}

/// The method's routes. They expect what [`crate::router`]'s do.
pub fn router(entra: Entra) -> Router {
    Router::new()
        .route("/entra/.well-known/openid-configuration", get(document))
        .route(JWKS, get(jwks))
        .route(AUTHORIZE, get(probed).post(authorize::by_form))
        .with_state(entra)
}

/// What Entra reads once a day. RS256 alone: it knows no other.
async fn document(State(entra): State<Entra>) -> Response {
    let document = json!({
        "issuer": entra.issuer(),
        "authorization_endpoint": entra.url(AUTHORIZE),
        "jwks_uri": entra.url(JWKS),
        "scopes_supported": ["openid"],
        "response_types_supported": ["id_token"],
        "response_modes_supported": ["form_post"],
        "grant_types_supported": ["implicit"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claim_types_supported": ["normal"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "acr", "amr"],
    });
    whole(&document.to_string())
}

async fn jwks(State(entra): State<Entra>) -> Response {
    let now = (entra.0.call)().now;
    whole(&entra.0.app.vault().token_jwks(&[TokenAlgorithm::Rs256], now))
}

/// Entra may look whether anything answers here.
async fn probed() -> Response {
    let why = "this address takes sign-ins from Microsoft Entra, by POST";
    HostedPage::Refused { status: StatusCode::OK, why }.into_response()
}
