//! A provider without sockets: its routes, a relying party, a CIBA client, and an Entra directory with a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use app::sign_ins::{Handle, Shown, SignIns};
use app::{Actor, App, Call, NewIntegration, Ports, RequestContext, Settings};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use backend_local::LocalCourier;
use backend_sql::{MasterKey, Store};
use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use domain::audit::Event;
use domain::challenge::Methods;
use domain::directory::Scope;
use domain::protocol::{CibaClient, Cloud, EntraClient, OidcClient, Protocol, TokenAlgorithm};
use edge_oidc::{Entra, Fetch, Oidc, Outgoing, Post};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_limits::HostedPage;
use ports::{BoxFuture, UserRef};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use statement::TenantId;
use tempfile::TempDir;
use testkit::TestClock;
use tower::ServiceExt as _;

use crate::changes::Form;

pub(crate) const URL: &str = "https://mfa.example";
pub(crate) const REDIRECT: &str = "https://rp.example/cb?app=1";
pub(crate) const USER: &str = "alice";
const OPERATOR: Actor = Actor::Operator { uid: 0 };

pub(crate) const AUTHORITY: &str = "http://127.0.0.1:1";
pub(crate) const DIRECTORY: &str = "11111111-2222-4333-8444-555555555555";
pub(crate) const APP: &str = "66666666-7777-4888-9999-000000000000";
pub(crate) const OBJECT: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
pub(crate) const KID: &str = "k1";
/// Of a key that the directory's set lists for the tokens of private accounts alone.
pub(crate) const CONSUMERS_KID: &str = "consumers";
pub(crate) const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// What the directory publishes.
struct Published {
    key: Arc<KeyPair>,
    consumers: Arc<KeyPair>,
}

impl Fetch for Published {
    fn get(&self, url: String) -> BoxFuture<'_, Result<Bytes, String>> {
        let issuer = format!("{AUTHORITY}/{DIRECTORY}/v2.0");
        let keys = format!("{AUTHORITY}/keys");
        let found = if url == format!("{issuer}/.well-known/openid-configuration") {
            Ok(json!({"issuer": issuer, "jwks_uri": keys}))
        } else if url == keys {
            let consumers = format!("{AUTHORITY}/{CONSUMERS}/v2.0");
            Ok(json!({"keys": [
                jwk(&self.key, KID, &issuer), jwk(&self.consumers, CONSUMERS_KID, &consumers),
            ]}))
        } else {
            Err(format!("nothing is at {url}"))
        };
        Box::pin(async move { found.map(|document| document.to_string().into()) })
    }
}

fn jwk(key: &KeyPair, kid: &str, issuer: &str) -> Value {
    let public = key.public_key();
    let text = |number: &[u8]| Value::String(BASE64URL_NOPAD.encode(number));
    json!({
        "kty": "RSA", "use": "sig", "kid": kid, "issuer": issuer,
        "n": text(public.modulus().big_endian_without_leading_zero()),
        "e": text(public.exponent().big_endian_without_leading_zero()),
    })
}

/// Nobody is told or asked anything: no client here wants it.
struct Nobody;

impl Outgoing for Nobody {
    fn get(&self, url: String, _: bool) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move { panic!("asked {url}") })
    }

    fn post(&self, post: Post) -> BoxFuture<'_, Result<u16, String>> {
        Box::pin(async move { panic!("told {}", post.url) })
    }
}

pub(crate) struct World {
    router: Router,
    app: Arc<App>,
    call: Arc<dyn Fn() -> Call + Send + Sync>,
    sign_ins: Arc<SignIns>,
    /// The user's id.
    user: String,
    /// Client ids.
    pub(crate) party: String,
    pub(crate) till: String,
    pub(crate) entra: String,
    till_secret: String,
    /// Client id and secret of one that is told of ends.
    pub(crate) bell: (String, String),
    pub(crate) key: Arc<KeyPair>,
    pub(crate) consumers: Arc<KeyPair>,
    tenant: TenantId,
    clock: TestClock,
    store: Store,
    _dir: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::following(edge_oidc::MAX_FOLLOWED).await
    }

    /// One that follows so many requests at once.
    pub(crate) async fn following(most: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let clock = TestClock::new();
        let store = Store::open(dir.path(), clock.reader(), MasterKey::from_bytes([7; 32]));
        let store = store.await.expect("a store");
        let settings =
            Settings { public_url: URL.parse().expect("a URL"), guard: app::Guards::default() };
        let ports = Ports {
            hot: store.hot(),
            ledger: store.ledger(),
            directory: store.directory(),
            courier: Arc::new(LocalCourier::new()),
            vault: store.vault(),
        };
        let app = Arc::new(App::new(settings, ports));
        let tenant = app.find_tenant(None).await.expect("the default tenant").id;
        let seeds = AtomicU64::new(1);
        let now = clock.clone();
        let call: Arc<dyn Fn() -> Call + Send + Sync> = Arc::new(move || Call {
            now: now.now(),
            rng: Box::new(StdRng::seed_from_u64(seeds.fetch_add(1, Ordering::SeqCst))),
        });
        let made = app.upsert_user(&mut call(), &OPERATOR, tenant, USER).await;
        let user = made.expect("a user").0.user.id.to_string();
        let vault = store.vault();
        let key = vault.draw_token_key(TokenAlgorithm::Rs256, clock.now(), clock.now()).await;
        vault.adopt_token_key(&key.expect("a key")).expect("a good key");
        let Clients { party, till, bell } = clients(&app, &*call, tenant).await;
        let (till, till_secret) = till;
        let entra = directory(&app, &*call, tenant).await;
        let key = Arc::new(KeyPair::generate(KeySize::Rsa2048).expect("a key"));
        let consumers = Arc::new(KeyPair::generate(KeySize::Rsa2048).expect("a key"));
        let sign_ins = Arc::new(SignIns::new());
        // never stops
        let (_, stopping) = tokio::sync::watch::channel(false);
        let (shared, made) = (Arc::clone(&app), Arc::clone(&call));
        let (own, nobody) = (Arc::clone(&sign_ins), Arc::new(Nobody));
        let provider = Oidc::new(shared, made, own, nobody, None, most, stopping);
        let published =
            Arc::new(Published { key: Arc::clone(&key), consumers: Arc::clone(&consumers) });
        let (shared, made, own) = (Arc::clone(&app), Arc::clone(&call), Arc::clone(&sign_ins));
        let method = Entra::new(shared, made, own, published, true);
        let router = edge_oidc::router(provider).merge(edge_oidc::entra_router(method));
        Self {
            router,
            app,
            call,
            sign_ins,
            user,
            party,
            till,
            entra,
            till_secret,
            bell,
            key,
            consumers,
            tenant,
            clock,
            store,
            _dir: dir,
        }
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.clock.now().seconds()
    }

    /// Sends a form, as a browser does, or as the CIBA client.
    pub(crate) async fn post(&self, path: &str, form: &Form, as_client: bool) -> Response {
        let till = (self.till.as_str(), self.till_secret.as_str());
        self.post_by(path, form, as_client.then_some(till)).await
    }

    /// Sends a form with a client's id and secret, if any.
    pub(crate) async fn post_by(
        &self,
        path: &str,
        form: &Form,
        client: Option<(&str, &str)>,
    ) -> Response {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some((id, secret)) = client {
            let pair = format!("{id}:{secret}");
            let basic = format!("Basic {}", BASE64.encode(pair.as_bytes()));
            request = request.header(AUTHORIZATION, basic);
        }
        self.send(request.body(Body::from(encode(form))).expect("valid")).await
    }

    pub(crate) async fn get(&self, path: &str, form: &Form) -> Response {
        let request = Request::builder().uri(format!("{path}?{}", encode(form)));
        self.send(request.body(Body::empty()).expect("valid")).await
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("answers")
    }

    /// How many challenges were created, whoever they were for.
    pub(crate) async fn created(&self) -> usize {
        let filter = ports::AuditFilter {
            tenant: self.tenant,
            after: None,
            since: None,
            event: Some(Event::ChallengeCreated),
            user: None,
            integration: None,
            challenge: None,
            limit: u32::MAX,
        };
        self.store.ledger().read(filter).await.expect("the store works").len()
    }

    /// An ID token of ours for a client, with some claims changed or (null) left out.
    pub(crate) fn id_token(&self, client: &str, changed: Value) -> String {
        let now = self.now_s();
        let mut claims =
            json!({"iss": URL, "aud": client, "sub": self.user, "iat": now, "exp": now + 300});
        let Value::Object(changed) = changed else { panic!("an object") };
        for (name, value) in changed {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("one").remove(&name)),
                value => claims[name] = value,
            }
        }
        let claims = claims.to_string();
        let signed = self.store.vault().sign_token(
            TokenAlgorithm::Rs256,
            self.clock.now(),
            claims.as_bytes(),
        );
        signed.expect("a key")
    }

    /// The ways to pass that the page offers to which a browser was led.
    pub(crate) async fn offered(&self, led: &Response) -> Methods {
        let path = led.headers()["location"].to_str().expect("ASCII");
        let handle = path.strip_prefix("/sign-in/").and_then(Handle::parse).expect("a page");
        let sign_in = self.sign_ins.find(self.clock.now(), &handle).expect("a sign-in");
        let context =
            RequestContext { browser_session: "x".repeat(22), ..RequestContext::default() };
        let shown = self.app.step_sign_in(&mut (self.call)(), &sign_in, &context).await;
        let Shown::Waiting { asked, .. } = shown.expect("it steps") else { panic!("it waits") };
        asked.methods
    }

    /// Signs what a JWT signs, with the directory's key.
    pub(crate) fn sign(&self, signed: &str) -> Vec<u8> {
        sign(&self.key, signed)
    }
}

/// RS256.
#[expect(clippy::disallowed_methods, reason = "PKCS #1 v1.5 takes none of the randomness it wants")]
pub(crate) fn sign(key: &KeyPair, signed: &str) -> Vec<u8> {
    let (mut signature, random) = (vec![0; key.public_modulus_len()], SystemRandom::new());
    key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("it signs");
    signature
}

/// Those who ask by OpenID Connect: a relying party's id, and ids and secrets of clients of CIBA.
struct Clients {
    party: String,
    till: (String, String),
    bell: (String, String),
}

async fn clients(app: &App, call: &dyn Fn() -> Call, tenant: TenantId) -> Clients {
    let party = Protocol::Oidc(OidcClient {
        redirect_uris: vec![REDIRECT.to_owned()],
        ..OidcClient::default()
    });
    let (party, _) = register(app, &mut call(), tenant, "wiki", party).await;
    let till = Protocol::Ciba(CibaClient::default());
    let till = register(app, &mut call(), tenant, "till", till).await;
    let bell = Protocol::Ciba(CibaClient {
        notification_url: Some("https://rp.example/told".to_owned()),
        ..CibaClient::default()
    });
    let bell = register(app, &mut call(), tenant, "bell", bell).await;
    Clients { party, till, bell }
}

/// An Entra directory's id as a client, with the user linked to its person.
async fn directory(app: &App, call: &dyn Fn() -> Call, tenant: TenantId) -> String {
    let client = EntraClient {
        cloud: Cloud::Fake,
        directories: vec![DIRECTORY.to_owned()],
        app_id: APP.to_owned(),
        fake: Some(AUTHORITY.to_owned()),
        ..EntraClient::default()
    };
    let (entra, _) = register(app, &mut call(), tenant, "entra", Protocol::Entra(client)).await;
    let id = (tenant, entra.parse().expect("an id"));
    let subject = format!("{DIRECTORY}:{OBJECT}");
    let named = UserRef::Name(USER.to_owned());
    app.link_user(&call(), &OPERATOR, id, &subject, named).await.expect("a link");

    entra
}

/// Client id and secret of a new integration.
async fn register(
    app: &App,
    call: &mut Call,
    tenant: TenantId,
    name: &str,
    protocol: Protocol,
) -> (String, String) {
    let new = NewIntegration {
        name: name.to_owned(),
        protocol,
        purposes: Vec::new(),
        methods: Methods::ALL,
        scopes: vec![Scope::Challenges],
        verifies_first_factor: false,
        reveal_users: false,
    };
    let made = app.create_integration(call, &OPERATOR, tenant, new).await.expect("a client");
    (made.integration.to_string(), made.key.reveal().to_owned())
}

pub(crate) fn encode(form: &Form) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// Where a browser goes.
#[derive(Debug)]
pub(crate) enum Goes {
    /// To the page of a sign-in.
    SignIn,
    /// By a redirect.
    To(String),
    /// By a form: method aside, its address and fields.
    By(String, Vec<(String, String)>),
    /// Nowhere: a page says why.
    Nowhere,
}

impl Goes {
    /// Fails for anything that a browser must never be answered.
    pub(crate) fn of(response: &Response) -> Self {
        let location = response.headers().get("location").map(|to| to.to_str().expect("ASCII"));
        match (response.extensions().get::<HostedPage>(), location) {
            (Some(HostedPage::Leave(form)), None) => {
                Self::By(form.action.clone(), form.fields.clone())
            }
            (Some(HostedPage::Refused { status, .. }), None) => {
                assert!(status.is_client_error(), "{status}");
                Self::Nowhere
            }
            (None, Some(to)) if to.starts_with("/sign-in/") && response.status() == 303 => {
                Self::SignIn
            }
            (None, Some(to)) if response.status() == 303 => Self::To(to.to_owned()),
            other => panic!("{} {other:?}", response.status()),
        }
    }
}
