//! A set-up in one sentence: `let world = World::new().await; let mut browser = world.browser();`

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use app::sign_ins::SignIns;
use app::{
    Actor, Answer, AnswerResult, App, Call, Claim, Connected, Login, NewIntegration, Ports,
    Settings, TicketProof, TicketRequest, UserWish,
};
use axum::Router;
use axum::body::Body;
use backend_local::LocalCourier;
use backend_sql::{MasterKey, Store};
use domain::challenge::{Challenge, Methods, Purpose};
use domain::directory::Scope;
use domain::totp;
use edge_pages::{Demo, Pages, router};
use http::header::{CONTENT_TYPE, COOKIE, HeaderName, LOCATION, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use http_limits::ClientAddr;
use ports::UserRef;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use statement::{
    AnswerDecision, ChallengeId, EnrolClaim, EnrolLink, IntegrationId, SigningKey, TenantId,
};
use tempfile::TempDir;
use testkit::TestClock;
use tokio::sync::watch;
use tower::ServiceExt as _;

pub(crate) const USER: &str = "demo";
pub(crate) const ADDRESS: &str = "203.0.113.9";
const OPERATOR: Actor = Actor::Operator { uid: 0 };
const URL: &str = "http://127.0.0.1:8470";

/// A server without sockets, with a user and their authenticator.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) clock: TestClock,
    pub(crate) integration: IntegrationId,
    pub(crate) router: Router,
    pub(crate) device: Device,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) signins: Arc<SignIns>,
    tenant: TenantId,
    store: Store,
    seeds: Arc<AtomicU64>,
    _dir: TempDir,
}

/// What of an authenticator a test needs.
pub(crate) struct Device {
    key: SigningKey,
    connected: Connected,
    pub(crate) totp: totp::Secret,
    counter: AtomicU64,
}

fn call(clock: &TestClock, seeds: &AtomicU64) -> Call {
    let seed = seeds.fetch_add(1, Ordering::SeqCst);
    Call { now: clock.now(), rng: Box::new(StdRng::seed_from_u64(seed)) }
}

impl World {
    /// On plain http on loopback, as the demo is.
    pub(crate) async fn new() -> Self {
        Self::with(false).await
    }

    pub(crate) async fn with(secure_cookies: bool) -> Self {
        crate::logs::record();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let clock = TestClock::new();
        let seeds = Arc::new(AtomicU64::new(1));
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
        let new = NewIntegration {
            name: "Intranet".to_owned(),
            protocol: domain::protocol::Protocol::default(),
            purposes: vec![Purpose::SignIn],
            methods: Methods::ALL,
            scopes: vec![Scope::Challenges],
            verifies_first_factor: false,
            reveal_users: false,
        };
        let mut first = call(&clock, &seeds);
        let made = app.create_integration(&mut first, &OPERATOR, tenant, new);
        let integration = made.await.expect("an integration").integration;
        let device = enrol(&app, tenant, &mut first).await;
        let (stop, stopping) = watch::channel(false);
        let signins = Arc::new(SignIns::new());
        let pages = Pages {
            app: Arc::clone(&app),
            call: Arc::new({
                let (clock, seeds) = (clock.clone(), Arc::clone(&seeds));
                move || call(&clock, &seeds)
            }),
            signins: Arc::clone(&signins),
            demo: Some(Demo { integration, user: USER.to_owned() }),
            secure_cookies,
            stopping,
        };
        Self {
            stop,
            signins,
            router: router(pages),
            app,
            clock,
            integration,
            device,
            tenant,
            store,
            seeds,
            _dir: dir,
        }
    }

    pub(crate) fn call(&self) -> Call {
        call(&self.clock, &self.seeds)
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser { router: self.router.clone(), cookies: BTreeMap::new() }
    }

    /// The pages as they are where nobody tries them.
    pub(crate) fn without_demo(&self) -> Browser {
        let (clock, seeds) = (self.clock.clone(), Arc::clone(&self.seeds));
        let pages = Pages {
            app: Arc::clone(&self.app),
            call: Arc::new(move || call(&clock, &seeds)),
            signins: Arc::new(SignIns::new()),
            demo: None,
            secure_cookies: true,
            stopping: self.stop.subscribe(),
        };
        Browser { router: router(pages), cookies: BTreeMap::new() }
    }

    /// What the person sees on opening their authenticator.
    pub(crate) async fn cards(&self) -> Vec<Arc<Challenge>> {
        let mut call = self.call();
        let pending = self.app.pending(&mut call, &self.device.connected, true);
        pending.await.expect("the pending set")
    }

    /// The only card.
    pub(crate) async fn card(&self) -> Arc<Challenge> {
        let mut cards = self.cards().await;
        assert_eq!(cards.len(), 1);
        cards.remove(0)
    }

    /// Answers the only card.
    pub(crate) async fn answer(&self, decision: AnswerDecision, number: &str) {
        let card = self.card().await;
        let Device { key, connected, counter, .. } = &self.device;
        let counter = counter.fetch_add(1, Ordering::SeqCst);
        let statement = statement::Answer {
            challenge: &card.document,
            device: connected.device,
            decision,
            number,
            user_verified: false,
            counter,
        };
        let answer = Answer {
            challenge: card.id,
            decision,
            number: number.to_owned(),
            user_verified: false,
            counter,
            signature: statement.sign(key).to_vec(),
        };
        let mut call = self.call();
        let answered = self.app.answer(&mut call, connected, answer);
        let answered = answered.await.expect("the store works");
        assert!(matches!(answered.result, AnswerResult::Settled(_)), "{answered:?}");
    }

    pub(crate) async fn approve(&self, number: &str) {
        self.answer(AnswerDecision::Approve, number).await;
    }

    /// Says how long the user's challenges live.
    pub(crate) async fn gives_time(&self, ttl: std::time::Duration) {
        let (user, wish) =
            (UserRef::Name(USER.to_owned()), UserWish { break_glass: None, ttl: Some(ttl) });
        let put = self.app.put_user(&mut self.call(), &OPERATOR, self.tenant, user, wish).await;
        put.expect("the user");
    }

    /// A challenge as it was stored.
    pub(crate) async fn stored(&self, id: ChallengeId) -> ports::LedgerRecord {
        let record = self.store.ledger().lookup(id).await;
        record.expect("the store works").expect("a challenge")
    }

    /// Everything about the tenant's challenges in the audit, by kind.
    pub(crate) async fn count(&self, event: domain::audit::Event) -> usize {
        let filter = ports::AuditFilter {
            tenant: self.tenant,
            after: None,
            since: None,
            event: Some(event),
            user: None,
            integration: None,
            challenge: None,
            limit: 1000,
        };
        let rows = self.store.ledger().read(filter).await;
        rows.expect("the store works").len()
    }
}

/// Makes the user and enrols a device, as an authenticator would.
async fn enrol(app: &App, tenant: TenantId, call: &mut Call) -> Device {
    let made = app.upsert_user(call, &OPERATOR, tenant, USER).await;
    made.expect("a user");
    let request =
        TicketRequest { user: UserRef::Name(USER.to_owned()), confirm: false, reason: None };
    let ticket = app.create_ticket(call, &OPERATOR, tenant, request).await;
    let link: EnrolLink = ticket.expect("a ticket").link.as_str().parse().expect("a link");
    let key = SigningKey::from_seed(&[5; 32]);
    let (ticket, nonce) = (statement::ticket_secret_hash(link.secret.as_slice()), [9; 32]);
    let claim = EnrolClaim { ticket: &ticket, server: &link.identity, nonce: &nonce };
    let claim = Claim {
        proof: TicketProof::Secret(*link.secret),
        key: key.public().clone(),
        device_name: "phone".to_owned(),
        nonce,
        signature: claim.sign(&key).to_vec(),
    };
    let claimed = app.claim(call, claim).await.expect("a claim");
    let confirm = statement::EnrolConfirm { ticket: &ticket, nonce: &nonce, number: "" };
    let enrolled = app.confirm(call, claimed, "", &confirm.sign(&key)).await;
    let enrolled = enrolled.expect("a device");
    let server = app.vault().identity().identity_hash();
    let login =
        statement::Login { server: &server, tenant, device: enrolled.device, nonce: &nonce };
    let login =
        Login { tenant, device: enrolled.device, nonce, signature: login.sign(&key).to_vec() };
    Device {
        connected: app.login(call, login).await.expect("a login").connected,
        key,
        totp: enrolled.totp.unwrap_or_default(),
        counter: AtomicU64::new(0),
    }
}

/// A browser: keeps cookies, and says of a form where it comes from.
#[derive(Clone)]
pub(crate) struct Browser {
    router: Router,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, &[], "").await
    }

    /// Sends a form from one of our own pages.
    pub(crate) async fn post(&mut self, path: &str, form: &str) -> Page {
        let own = [("sec-fetch-site", "same-origin"), ("origin", "null")];
        self.send(Method::POST, path, &own, form).await
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Page {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(USER_AGENT, "Mozilla/5.0 (X11; Linux) Firefox/140.0")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .extension(ClientAddr(ADDRESS.parse::<IpAddr>().expect("an address")));
        if !self.cookies.is_empty() {
            let pairs: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        let mut request = request.body(Body::from(body.to_owned())).expect("valid");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let response = self.router.clone().oneshot(request).await.expect("answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("whole").to_bytes();
        for set in parts.headers.get_all(SET_COOKIE) {
            let text = set.to_str().expect("ASCII");
            let pair = text.split(';').next().expect("one");
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Page {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).expect("UTF-8"),
        }
    }

    /// Presses the button on the trial page; the path of the sign-in's page.
    pub(crate) async fn start(&mut self) -> String {
        let page = self.post("/sign-in", "").await;
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        page.location().to_owned()
    }
}

/// A response.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        self.headers[LOCATION].to_str().expect("ASCII")
    }

    /// `data-state` of the page, if it has one.
    pub(crate) fn state(&self) -> Option<&str> {
        let (_, rest) = self.body.split_once("<main data-state=\"")?;
        rest.split('"').next()
    }

    /// What `output` with the id `number` holds.
    pub(crate) fn number(&self) -> Option<&str> {
        let (_, rest) = self.body.split_once("<output id=\"number\"")?;
        rest.split_once('>')?.1.split('<').next()
    }

    #[track_caller]
    pub(crate) fn is_pending(&self) -> String {
        assert_eq!(self.status, StatusCode::OK);
        assert_eq!(self.state(), Some("pending"));
        self.number().expect("a number").to_owned()
    }

    #[track_caller]
    pub(crate) fn leads_to(&self, path: &str) {
        assert_eq!((self.status, self.location()), (StatusCode::SEE_OTHER, path));
    }

    pub(crate) fn cookies(&self) -> Vec<&str> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| value.to_str().expect("ASCII"))
            .collect()
    }
}
