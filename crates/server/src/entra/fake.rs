//! A stand-in for Microsoft Entra: its metadata and keys, a sign-in page that hands out a hint, and the place where
//! answers are judged. Knows nobody's password and lets nobody in anywhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::extract::{Form, Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use backend_sql::{MasterKey, Store};
use data_encoding::BASE64URL_NOPAD;
use domain::protocol::TokenAlgorithm;
use http::StatusCode;
use ports::Vault;
use rand::Rng as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::pages;
use super::verdict::{Sent, Verdict, judge};
use crate::clock;
use crate::fetch::Fetcher;

/// What Entra asks of External MFA.
const ACR: [&str; 1] = ["possessionorinherence"];
const AMR: [&str; 13] = [
    "face", "fido", "fpt", "hwk", "iris", "otp", "pop", "retina", "sc", "sms", "swk", "tel", "vbm",
];
/// How many sign-ins are remembered: it is for one person's trial.
const MOST: usize = 1000;
/// Entra's own hints have expired when they are issued.
const EXPIRED_S: u64 = 1;

/// Whom the stand-in signs in, and where to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer of the provider under test.
    pub provider: String,
    /// What the provider calls this Entra.
    pub client: String,
    /// The directory.
    pub tenant: String,
    /// The application that hints are made out to.
    pub app: String,
    /// The person.
    pub object: String,
    /// What the person is called.
    pub name: String,
}

struct Inner {
    settings: RwLock<Settings>,
    base: String,
    vault: Arc<dyn Vault>,
    fetcher: Fetcher,
    sent: Mutex<BTreeMap<String, Sent>>,
    verdicts: Option<mpsc::Sender<Verdict>>,
    _store: (Store, TempDir),
}

/// A stand-in that serves.
#[derive(Clone)]
pub struct Fake(Arc<Inner>);

/// The form that sends a browser to a provider.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its address: the provider's authorization endpoint.
    pub action: String,
    /// Its fields.
    pub fields: Vec<(String, String)>,
}

impl Fake {
    /// Binds, draws a key, and serves from then on. Verdicts go to `verdicts`, too.
    ///
    /// # Errors
    /// Why it can't, in one line.
    pub async fn start(
        listen: SocketAddr,
        settings: Settings,
        verdicts: Option<mpsc::Sender<Verdict>>,
    ) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let listener = TcpListener::bind(listen).await.map_err(|error| text(&error))?;
        let address = listener.local_addr().map_err(|error| text(&error))?;
        let dir = tempfile::tempdir().map_err(|error| text(&error))?;
        let mut master = [0; 32];
        clock::rng().fill_bytes(&mut master);
        let store = Store::open(dir.path(), Arc::new(clock::now), MasterKey::from_bytes(master));
        let store = store.await.map_err(|error| text(&error))?;
        let vault = store.vault();
        let now = clock::now();
        let key = vault.draw_token_key(TokenAlgorithm::Rs256, now, now).await;
        vault.adopt_token_key(&key.map_err(|error| text(&error))?).map_err(|error| text(&error))?;
        let fake = Self(Arc::new(Inner {
            settings: RwLock::new(settings),
            base: format!("http://{address}"),
            vault,
            fetcher: Fetcher::new()?,
            sent: Mutex::default(),
            verdicts,
            _store: (store, dir),
        }));
        let router = fake.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(fake)
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/", get(home))
            .route("/start", post(start))
            .route("/{tenant}/v2.0/.well-known/openid-configuration", get(metadata))
            .route("/{tenant}/discovery/v2.0/keys", get(keys))
            .route("/common/federation/externalauthprovider", post(answered))
            .with_state(self.clone())
    }

    /// Where it is: what an integration of the cloud `fake` names.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.base
    }

    /// Whom it signs in, and where to.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what the provider calls this Entra: known only once it is registered there.
    pub fn is_called(&self, client: &str) {
        let mut settings = self.0.settings.write().unwrap_or_else(PoisonError::into_inner);
        client.clone_into(&mut settings.client);
    }

    /// The claims of a hint, as Entra writes them.
    #[must_use]
    pub fn claims(&self) -> Value {
        let Settings { tenant, app, object, name, .. } = self.settings();
        let now = clock::now().seconds();
        json!({
            "ver": "2.0",
            "iss": format!("{}/{tenant}/v2.0", self.0.base),
            "sub": format!("sub-of-{object}"),
            "aud": app,
            "exp": now - EXPIRED_S,
            "iat": now,
            "nbf": now,
            "name": name,
            "preferred_username": name,
            "oid": object,
            "tid": tenant,
            // nobody's hint is another one's
            "uti": random(),
        })
    }

    /// Signs a hint.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let claims = claims.to_string();
        let signed =
            self.0.vault.sign_token(TokenAlgorithm::Rs256, clock::now(), claims.as_bytes());
        signed.unwrap_or_default()
    }

    /// The form that Entra sends a browser to a provider with.
    #[must_use]
    pub fn request(&self, action: &str) -> Request {
        let Settings { client, provider, .. } = self.settings();
        let claims = self.claims();
        let (nonce, state) = (random(), random());
        let sent = Sent {
            issuer: provider,
            client: client.clone(),
            sub: claims["sub"].as_str().unwrap_or_default().to_owned(),
            nonce: nonce.clone(),
            state: state.clone(),
            acr: ACR.map(str::to_owned).into(),
            amr: AMR.map(str::to_owned).into(),
        };
        let mut kept = self.0.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(state.clone(), sent);
        drop(kept);
        let wish = json!({"id_token": {
            "acr": {"essential": true, "values": ACR},
            "amr": {"essential": true, "values": AMR},
        }});
        let answers = format!("{}/common/federation/externalauthprovider", self.0.base);
        let fields = [
            ("scope", "openid".to_owned()),
            ("response_type", "id_token".to_owned()),
            ("response_mode", "form_post".to_owned()),
            ("client_id", client),
            ("redirect_uri", answers),
            ("nonce", nonce),
            ("state", state),
            ("id_token_hint", self.sign(&claims)),
            ("claims", wish.to_string()),
            ("client-request-id", random()),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
        Request { action: action.to_owned(), fields }
    }

    /// What the provider says of itself.
    async fn discovered(&self) -> Result<Value, String> {
        let issuer = self.settings().provider;
        let url = format!("{issuer}/.well-known/openid-configuration");
        let fetched = self.0.fetcher.fetch(&url).await?;
        if !fetched.status.is_success() {
            return Err(format!("{url} answered {}", fetched.status.as_u16()));
        }
        serde_json::from_slice(&fetched.body).map_err(|error| format!("{url}: {error}"))
    }

    /// Judges an answer, once.
    pub async fn judge(&self, fields: &BTreeMap<String, String>) -> Verdict {
        let failed = |summary: String| Verdict { ok: false, summary, looks: Vec::new() };
        let state = fields.get("state").cloned().unwrap_or_default();
        let sent = self.0.sent.lock().unwrap_or_else(PoisonError::into_inner).remove(&state);
        let Some(sent) = sent else {
            return failed(
                "Not let in: the answer fits no sign-in that was begun here.".to_owned(),
            );
        };
        let jwks = async {
            let metadata = self.discovered().await?;
            let uri = metadata["jwks_uri"].as_str().unwrap_or_default();
            let fetched = self.0.fetcher.fetch(uri).await?;
            serde_json::from_slice(&fetched.body).map_err(|error| format!("{uri}: {error}"))
        };
        match jwks.await {
            Ok(jwks) => judge(&sent, fields, &jwks, clock::now().seconds()),
            Err(error) => failed(format!("Not let in: the provider can't be read: {error}.")),
        }
    }
}

fn random() -> String {
    let mut bytes = [0; 16];
    clock::rng().fill_bytes(&mut bytes);
    BASE64URL_NOPAD.encode(&bytes)
}

async fn home(State(fake): State<Fake>) -> Html<String> {
    Html(pages::home(&fake.settings()))
}

async fn start(State(fake): State<Fake>) -> Response {
    let endpoint = fake.discovered().await.and_then(|metadata| {
        let endpoint = metadata["authorization_endpoint"].as_str().map(str::to_owned);
        endpoint.ok_or_else(|| "the provider names no authorization endpoint".to_owned())
    });
    match endpoint {
        Ok(endpoint) => Html(pages::leave(&fake.request(&endpoint))).into_response(),
        Err(why) => (StatusCode::BAD_GATEWAY, Html(pages::unreachable(&why))).into_response(),
    }
}

async fn metadata(State(fake): State<Fake>, Path(tenant): Path<String>) -> Json<Value> {
    let base = fake.url();
    Json(json!({
        "issuer": format!("{base}/{tenant}/v2.0"),
        "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
        "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
    }))
}

async fn keys(State(fake): State<Fake>) -> Json<Value> {
    let set = fake.0.vault.token_jwks(&[TokenAlgorithm::Rs256], clock::now());
    let mut set: Value = serde_json::from_str(&set).unwrap_or_default();
    let issuer = format!("{}/{{tenantid}}/v2.0", fake.url());
    for key in set["keys"].as_array_mut().into_iter().flatten() {
        key["issuer"] = Value::String(issuer.clone());
    }
    Json(set)
}

async fn answered(
    State(fake): State<Fake>,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Html<String> {
    let verdict = fake.judge(&fields).await;
    let page = pages::verdict(&verdict);
    if let Some(verdicts) = &fake.0.verdicts {
        // whoever started it may have stopped listening
        let _ = verdicts.try_send(verdict);
    }
    Html(page)
}
