//! OpenID provider: the code flow for any relying party, and Microsoft Entra External MFA at an issuer of its own.
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
mod client;
mod discovery;
mod entra;
mod grants;
mod jwt;
mod oauth;
mod par;
mod params;
mod request;
mod returning;
mod table;
mod token;
mod userinfo;

use std::fmt;
use std::sync::Arc;

use app::sign_ins::SignIns;
use axum::Router;
use axum::routing::{get, post};

pub use entra::{Entra, Fetch, router as entra_router};

use crate::grants::Grants;
use crate::par::Pushed;

/// Makes what each request is given: the time and randomness.
pub type MakeCall = Arc<dyn Fn() -> app::Call + Send + Sync>;

/// The OpenID provider.
#[derive(Clone)]
pub struct Oidc(Arc<Inner>);

struct Inner {
    app: Arc<app::App>,
    call: MakeCall,
    sign_ins: Arc<SignIns>,
    grants: Arc<Grants>,
    pushed: Pushed,
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Oidc")
    }
}

impl Oidc {
    /// A provider that starts sign-ins in `sign_ins`. Its issuer is the server's address.
    #[must_use]
    pub fn new(app: Arc<app::App>, call: MakeCall, sign_ins: Arc<SignIns>) -> Self {
        Self(Arc::new(Inner {
            app,
            call,
            sign_ins,
            grants: Arc::new(Grants::new()),
            pushed: Pushed::new(),
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
const USERINFO: &str = "/oidc/userinfo";
const JWKS: &str = "/oidc/jwks.json";

/// The provider's routes. They expect [`http_limits::front`] in front of them, and the edge of hosted pages around
/// them to render what they refuse.
pub fn router(oidc: Oidc) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery::document))
        .route("/.well-known/oauth-authorization-server", get(discovery::document))
        .route(JWKS, get(discovery::jwks))
        .route(AUTHORIZE, get(authorize::by_query).post(authorize::by_form))
        .route(PAR, post(par::push))
        .route(TOKEN, post(token::exchange))
        .route(USERINFO, get(userinfo::show).post(userinfo::show))
        .with_state(oidc)
}
