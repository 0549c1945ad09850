//! A set-up in one sentence: `let world = World::new().await; let phone = world.enrolled("alice").await;`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use app::{Answer, AnswerResult, App, Call, Claim, Connected, Login, Ports, Settings, TicketProof};
use axum::body::Body;
use axum::extract::Extension;
use backend_local::LocalCourier;
use backend_sql::{MasterKey, Store};
use edge_http::{Operator, Rest, admin_router, rest_router};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use http_limits::{Front, Fronted, Quota, RequestIds, front};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use statement::{AnswerDecision, DeviceId, EnrolClaim, EnrolConfirm, EnrolLink, SigningKey};
use testkit::TestClock;
use tokio::sync::watch;

/// A server without sockets.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) clock: TestClock,
    pub(crate) courier: Arc<LocalCourier>,
    pub(crate) shutdown: watch::Sender<bool>,
    rest: Fronted,
    admin: Fronted,
    call: Arc<dyn Fn() -> Call + Send + Sync>,
    _store: Store,
    _dir: tempfile::TempDir,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    /// Demands a status.
    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.json);
        self.json
    }

    /// Demands a refusal.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        let got = (self.status.as_u16(), self.json["code"].as_str());
        assert_eq!(got, (status, Some(code)), "{}", self.json);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.json["request_id"], self.headers["x-request-id"].to_str().unwrap());
        self.json
    }
}

/// An enrolled authenticator, as far as these tests need one.
pub(crate) struct Phone {
    key: SigningKey,
    pub(crate) id: DeviceId,
    connected: Connected,
    counter: AtomicU64,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_quota(None).await
    }

    pub(crate) async fn with_quota(quota: Option<Quota>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let master = MasterKey::load_or_create(&dir.path().join("keys/master.key")).unwrap();
        let store = Store::open(dir.path(), clock.reader(), master).await.unwrap();
        let courier = Arc::new(LocalCourier::new());
        let app = Arc::new(App::new(
            Settings {
                public_url: "http://127.0.0.1:8470".parse().unwrap(),
                guard: app::Guards::default(),
            },
            Ports {
                hot: store.hot(),
                ledger: store.ledger(),
                directory: store.directory(),
                courier: Arc::<LocalCourier>::clone(&courier),
                vault: store.vault(),
            },
        ));
        let (now, seeds) = (clock.reader(), AtomicU64::new(1));
        let call: Arc<dyn Fn() -> Call + Send + Sync> = Arc::new(move || Call {
            now: now(),
            rng: Box::new(StdRng::seed_from_u64(seeds.fetch_add(1, Ordering::SeqCst))),
        });
        let (shutdown, stopping) = watch::channel(false);
        let state = Rest::new(Arc::clone(&app), Arc::clone(&call), Arc::default(), stopping)
            .with_quota(quota.map(Arc::new));
        let fronted = |router| {
            let shed = Some(edge_http::shed(Arc::clone(&app)));
            let (trusted_proxies, ids) = (Arc::new([]), RequestIds::new(7));
            front(router, Front { trusted_proxies, ids, hosts: None, shed })
        };
        let operator = Extension(Operator { uid: 1000 });
        Self {
            rest: fronted(rest_router(state.clone())),
            admin: fronted(admin_router(state).layer(operator)),
            app,
            clock,
            courier,
            shutdown,
            call,
            _store: store,
            _dir: dir,
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// A request to the operators' edge.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Reply {
        ask(&self.admin, request(method, path, &[], body)).await
    }

    /// A key of a new integration with these properties beside its name.
    pub(crate) async fn key_with(&self, name: &str, rest: Value) -> String {
        let mut new = json!({ "name": name });
        for (field, value) in rest.as_object().unwrap() {
            new[field] = value.clone();
        }
        let made = self.admin("POST", "/integrations", new).await.ok(201);
        made["api_key"].as_str().unwrap().to_owned()
    }

    /// A key that may ask for challenges.
    pub(crate) async fn key(&self) -> String {
        self.key_with("vpn", json!({})).await
    }

    /// A key that may do everything.
    pub(crate) async fn master_key(&self) -> String {
        let scopes = json!({ "scopes": ["challenges", "users:read", "users:write", "events:read", "guard:write"] });
        self.key_with("console", scopes).await
    }

    pub(crate) async fn user(&self, name: &str) -> String {
        let made = self.admin("POST", "/users", json!({ "name": name })).await;
        made.ok(201)["user"].as_str().unwrap().to_owned()
    }

    /// A user with recovery codes; the codes.
    pub(crate) async fn user_with_codes(&self, name: &str) -> Vec<String> {
        self.user(name).await;
        let asked = json!({ "user": name, "type": "recovery_code" });
        let made = self.admin("POST", "/factors", asked).await.ok(201);
        let codes = made["codes"].as_array().unwrap().iter();
        codes.map(|code| code.as_str().unwrap().to_owned()).collect()
    }

    /// A request to the REST edge.
    pub(crate) async fn send(&self, key: &str, method: &str, path: &str, body: Value) -> Reply {
        self.send_with(key, method, path, &[], body).await
    }

    pub(crate) async fn send_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Reply {
        let bearer = format!("Bearer {key}");
        let mut headers = headers.to_vec();
        if !key.is_empty() {
            headers.push(("authorization", &bearer));
        }
        ask(&self.rest, request(method, path, &headers, body)).await
    }

    /// The same, to be sent when it is first polled.
    pub(crate) fn later(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> impl Future<Output = Reply> + Send + 'static {
        let bearer = format!("Bearer {key}");
        let request = request(method, path, &[("authorization", &bearer)], body);
        let rest = self.rest.clone();
        async move { ask(&rest, request).await }
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Reply {
        ask(&self.rest, request).await
    }

    /// A request for a challenge with a fresh first factor.
    pub(crate) fn asking(&self, user: &str, session: &str) -> Value {
        json!({
            "user": format!("name:{user}"),
            "context": { "browser_session": session_of(session) },
            "first_factor": { "method": "password", "at": self.time() },
        })
    }

    /// The time as the API writes it.
    pub(crate) fn time(&self) -> String {
        let millis = i64::try_from(self.clock.now().millis()).unwrap();
        format!("{:.3}", jiff::Timestamp::from_millisecond(millis).unwrap())
    }

    pub(crate) async fn create(&self, key: &str, user: &str, session: &str) -> Value {
        let asking = self.asking(user, session);
        self.send(key, "POST", "/v1/challenges", asking).await.ok(201)
    }

    pub(crate) async fn state(&self, key: &str, challenge: &Value) -> String {
        let path = format!("/v1/challenges/{}", text(&challenge["id"]));
        let view = self.send(key, "GET", &path, Value::Null).await.ok(200);
        text(&view["state"]).to_owned()
    }

    /// A user with an authenticator, enrolled as one does it.
    pub(crate) async fn enrolled(&self, name: &str) -> Phone {
        self.user(name).await;
        let ticket = self.admin("POST", "/tickets", json!({ "user": name })).await.ok(201);
        self.enrol(&ticket).await
    }

    /// Uses a ticket up.
    pub(crate) async fn enrol(&self, ticket: &Value) -> Phone {
        let (key, hash, claimed) = self.claim(ticket).await;
        let path = format!("/tickets/{}", text(&ticket["ticket"]));
        let shown = self.admin("GET", &path, Value::Null).await.ok(200);
        let number = text(&shown["number"]);
        let signature = EnrolConfirm { ticket: &hash, nonce: &NONCE, number }.sign(&key);
        let mut call = (self.call)();
        let enrolled = self.app.confirm(&mut call, claimed, number, &signature);
        let device = enrolled.await.unwrap().device;
        let tenant = self.app.find_tenant(None).await.unwrap().id;
        let login = statement::Login {
            server: &self.app.vault().identity().identity_hash(),
            tenant,
            device,
            nonce: &NONCE,
        };
        let login = Login { tenant, device, nonce: NONCE, signature: login.sign(&key).to_vec() };
        Phone {
            id: device,
            connected: self.app.login(&mut call, login).await.unwrap().connected,
            key,
            counter: AtomicU64::new(0),
        }
    }

    /// A device that holds a ticket and waits for its number.
    pub(crate) async fn claim(&self, ticket: &Value) -> (SigningKey, [u8; 32], app::Claimed) {
        let link: EnrolLink = text(&ticket["link"]).parse().unwrap();
        let mut call = (self.call)();
        let mut seed = [0; 32];
        call.rng.fill_bytes(&mut seed);
        let key = SigningKey::from_seed(&seed);
        let hash = statement::ticket_secret_hash(link.secret.as_slice());
        let claim = EnrolClaim { ticket: &hash, server: &link.identity, nonce: &NONCE };
        let claim = Claim {
            proof: TicketProof::Secret(*link.secret),
            key: key.public().clone(),
            device_name: "phone".to_owned(),
            nonce: NONCE,
            signature: claim.sign(&key).to_vec(),
        };
        let claimed = self.app.claim(&mut call, claim).await.unwrap();
        (key, hash, claimed)
    }

    /// Answers the card of a challenge with its number.
    pub(crate) async fn approve(&self, phone: &Phone, challenge: &Value) {
        let mut call = (self.call)();
        let id = text(&challenge["id"]).parse().unwrap();
        let pending = self.app.pending(&mut call, &phone.connected, true).await;
        let pending = pending.unwrap();
        let card = pending.iter().find(|card| card.id == id).expect("a card");
        let counter = phone.counter.fetch_add(1, Ordering::SeqCst) + 1;
        let (decision, number) = (AnswerDecision::Approve, text(&challenge["number"]));
        let statement = statement::Answer {
            challenge: &card.document,
            device: phone.id,
            decision,
            number,
            user_verified: false,
            counter,
        };
        let answer = Answer {
            challenge: id,
            decision,
            number: number.to_owned(),
            user_verified: false,
            counter,
            signature: statement.sign(&phone.key).to_vec(),
        };
        let answered = self.app.answer(&mut call, &phone.connected, answer).await;
        let result = answered.unwrap().result;
        assert!(matches!(result, AnswerResult::Settled(_)), "{result:?}");
    }
}

/// An id that no challenge has.
pub(crate) const NO_CHALLENGE: &str = "chl_000000000000000000000000000000000000000";

#[test]
fn no_challenge_could_be_one() {
    assert!(NO_CHALLENGE.parse::<statement::ChallengeId>().is_ok());
}

const NONCE: [u8; 32] = [9; 32];

/// A browser session of that name.
pub(crate) fn session_of(name: &str) -> String {
    format!("{name:-<22}")
}

/// A member that must be text.
#[track_caller]
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The names of an object's members.
pub(crate) fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if body.is_null() {
        return request.body(Body::empty()).unwrap();
    }
    request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
}

async fn ask(service: &Fronted, request: Request<Body>) -> Reply {
    let response = service.answer(request, &()).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Reply {
        status: parts.status,
        headers: parts.headers,
        json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    }
}
