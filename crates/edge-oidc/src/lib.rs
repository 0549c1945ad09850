//! OpenID provider: the code flow for any relying party, CIBA for clients without a browser, Microsoft Entra
//! External MFA at an issuer of its own, and the authentication channel of Keycloak's CIBA.
//!
//! It asks nobody itself: it starts a sign-in (`app::sign_ins`), whose page another edge shows, and is handed
//! the end. There is no session here: each request is one challenge, so `prompt=none` never succeeds.
//!
//! Architecture invariant: a browser is sent to a registered address or nowhere. Whatever is wrong with client or
//! address ends on a page of ours; everything else goes back by the protocol's own error.
//!
//! Architecture invariant: a bare front-channel `login_hint` rings nobody: everybody can write one. A user is
//! rung only when their name came by a channel that the relying party alone can use, or signed by an issuer.

mod acr;
mod authorize;
mod by_client;
mod ciba;
mod client;
mod discovery;
mod entra;
mod grants;
mod jwt;
mod keycloak;
mod oauth;
mod par;
mod params;
mod published;
mod request;
mod returning;
mod table;
mod token;
mod userinfo;

use std::fmt;
use std::sync::Arc;

use app::sign_ins::SignIns;
use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use bytes::Bytes;
use http_limits::{Quota, tell_quota};
use jsonwebtoken::jwk::Jwk;
use ports::BoxFuture;
use tokio::sync::watch;

pub use ciba::MAX_FOLLOWED;
pub use entra::{Entra, Fetch, router as entra_router};

use crate::grants::Grants;
use crate::par::Pushed;
use crate::published::Published;

/// Makes what each request is given: the time and randomness.
pub type MakeCall = Arc<dyn Fn() -> app::Call + Send + Sync>;

/// What is told to somebody. Redacted in `Debug`.
pub struct Post {
    /// Where: as it was registered.
    pub url: String,
    /// Whether that may be on a private network or, by plain http, on this machine.
    pub allow_private: bool,
    /// What proves who tells it.
    pub bearer: String,
    /// JSON.
    pub body: String,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post(redacted)")
    }
}

/// What this provider asks and tells others by itself. Made by the server: this crate opens no connection.
/// Bounded in size and time; never follows a redirect, never speaks to an address that isn't allowed.
pub trait Outgoing: Send + Sync {
    /// The body of a document, which must be a success.
    fn get(&self, url: String, allow_private: bool) -> BoxFuture<'_, Result<Bytes, String>>;
    /// The status that somebody answers with.
    fn post(&self, post: Post) -> BoxFuture<'_, Result<u16, String>>;
}

/// The OpenID provider.
#[derive(Clone)]
pub struct Oidc(Arc<Inner>);

struct Inner {
    app: Arc<app::App>,
    call: MakeCall,
    sign_ins: Arc<SignIns>,
    grants: Arc<Grants>,
    pushed: Pushed,
    pace: ciba::Pace,
    followed: ciba::Room,
    outgoing: Arc<dyn Outgoing>,
    realms: Published<Jwk>,
    quota: Option<Arc<Quota>>,
    stopping: watch::Receiver<bool>,
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Oidc")
    }
}

impl Oidc {
    /// A provider that starts sign-ins in `sign_ins` and tells others by `outgoing`, until `stopping` turns true.
    /// Its issuer is the server's address. What clients send themselves counts against `quota`, if there is one. The end
    /// of at most `followed` requests is waited for at once, to be told; [`MAX_FOLLOWED`] is enough for most.
    #[must_use]
    pub fn new(
        app: Arc<app::App>,
        call: MakeCall,
        sign_ins: Arc<SignIns>,
        outgoing: Arc<dyn Outgoing>,
        quota: Option<Arc<Quota>>,
        followed: usize,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self(Arc::new(Inner {
            app,
            call,
            sign_ins,
            grants: Arc::new(Grants::new()),
            pushed: Pushed::new(),
            pace: ciba::Pace::new(),
            followed: ciba::Room::new(followed),
            outgoing,
            realms: Published::new(),
            quota,
            stopping,
        }))
    }

    fn issuer(&self) -> &str {
        self.0.app.public_url()
    }

    fn call(&self) -> app::Call {
        (self.0.call)()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer())
    }
}

const AUTHORIZE: &str = "/oidc/authorize";
const TOKEN: &str = "/oidc/token";
const PAR: &str = "/oidc/par";
const BACKCHANNEL: &str = "/oidc/bc-authorize";
const USERINFO: &str = "/oidc/userinfo";
const JWKS: &str = "/oidc/jwks.json";

/// The provider's routes. They expect [`http_limits::front`] in front of them, and the edge of hosted pages around
/// them to render what they refuse.
pub fn router(oidc: Oidc) -> Router {
    let mut router = Router::new()
        .route("/.well-known/openid-configuration", get(discovery::document))
        .route("/.well-known/oauth-authorization-server", get(discovery::document))
        .route(JWKS, get(discovery::jwks))
        .route(AUTHORIZE, get(authorize::by_query).post(authorize::by_form))
        .route(PAR, post(par::push))
        .route(TOKEN, post(token::exchange))
        .route(BACKCHANNEL, post(ciba::ask))
        .route("/keycloak/{client}/ciba", post(keycloak::channel))
        .route(USERINFO, get(userinfo::show).post(userinfo::show));
    if oidc.0.quota.is_some() {
        router = router.route_layer(from_fn(tell_quota));
    }
    router.with_state(oidc)
}
