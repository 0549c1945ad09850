//! A device's clock may be off by a year, either way: nothing depends on it.

use std::sync::Arc;
use std::time::Duration;

use app::{
    Actor, App, Call, CreateRequest, FirstFactor, NewIntegration, Ports, RequestContext, Settings,
    TicketRequest,
};
use authenticator_native::{AnswerOutcome, Choice, Client, Decision, Person, Ticket};
use backend_local::LocalCourier;
use backend_sql::{MasterKey, Store};
use domain::challenge::{Methods, Purpose};
use domain::directory::Scope;
use edge_ws::{Gateway, Limits};
use ports::UserRef;
use server::clock;
use server::demo::phone::Phone;
use statement::{TenantId, TicketId, Timestamp, TypedNumberError};
use tokio::net::TcpListener;
use tokio::sync::watch;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const OPERATOR: Actor = Actor::Operator { uid: 0 };

/// The clock of a server, as seen from the device, whose own is this machine's.
type Clock = fn() -> Timestamp;

fn call(now: Clock) -> Call {
    Call { now: now(), ..clock::call() }
}

struct Administrator {
    app: Arc<App>,
    now: Clock,
    tenant: TenantId,
    ticket: TicketId,
}

impl Person for Administrator {
    async fn confirm_server(&mut self, _fingerprint: &str) -> bool {
        false
    }

    async fn number(&mut self, _digits: u8, wrong: Option<TypedNumberError>) -> Option<String> {
        assert!(wrong.is_none());
        let view = self.app.ticket(&call(self.now), self.tenant, self.ticket).await.unwrap();
        view.number.map(|number| number.as_str().to_owned())
    }
}

/// Enrols a real authenticator at a server with such a clock, and signs in with it.
async fn signs_in(now: Clock) {
    let dir = tempfile::tempdir().unwrap();
    let master = MasterKey::load_or_create(&dir.path().join("keys/master.key")).unwrap();
    let store = Store::open(dir.path(), Arc::new(now), master).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let settings = Settings { public_url: url.parse().unwrap(), guard: app::Guards::default() };
    let ports = Ports {
        hot: store.hot(),
        ledger: store.ledger(),
        directory: store.directory(),
        courier: Arc::new(LocalCourier::new()),
        vault: store.vault(),
    };
    let app = Arc::new(App::new(settings, ports));
    let (_stop, stopped) = watch::channel(false);
    let calls = Arc::new(move || call(now));
    let gateway = Gateway::new(Arc::clone(&app), calls, Limits::default(), stopped);
    let router = edge_ws::router(gateway);
    tokio::spawn(async move { axum::serve(listener, router).await });

    let tenant = app.find_tenant(None).await.unwrap().id;
    app.upsert_user(&mut call(now), &OPERATOR, tenant, "alice").await.unwrap();
    let user = || UserRef::Name("alice".to_owned());
    let request = TicketRequest { user: user(), confirm: true, reason: None };
    let ticket = app.create_ticket(&mut call(now), &OPERATOR, tenant, request).await.unwrap();
    let link = Ticket::Link(ticket.link.parse().unwrap());
    let mut person = Administrator { app: Arc::clone(&app), now, tenant, ticket: ticket.id };
    let account = Client::new("test").enrol(link, "phone", Vec::new(), &mut person).await.unwrap();

    let new = NewIntegration {
        name: "vpn".to_owned(),
        purposes: vec![Purpose::SignIn],
        methods: Methods::ALL,
        scopes: vec![Scope::Challenges],
        verifies_first_factor: false,
        reveal_users: false,
        protocol: domain::protocol::Protocol::default(),
    };
    let made = app.create_integration(&mut call(now), &OPERATOR, tenant, new).await.unwrap();
    let caller = app.authenticate(&call(now), made.key.reveal()).await.unwrap();
    let mut phone = Phone::connect(account).await.unwrap();
    let request = CreateRequest {
        user: user(),
        context: RequestContext {
            browser_session: "a-browser-session-0001".to_owned(),
            ..RequestContext::default()
        },
        first_factor: Some(FirstFactor { method: "password".to_owned(), at: now() }),
        purpose: None,
        methods: None,
        ttl: None,
        details: Vec::new(),
        return_url: None,
        number: None,
    };
    let created = app.create_challenge(&mut call(now), &caller, request, None).await.unwrap();
    let card = phone.prompt().await.unwrap();
    let number = created.number.unwrap().as_str().to_owned();
    let told = phone.answer(card.challenge, Choice::approve(&number)).await.unwrap();
    assert!(matches!(told, AnswerOutcome::Settled(Decision::Approved)), "{told:?}");
    phone.hang_up().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_device_whose_clock_is_a_year_behind_signs_in() {
    signs_in(|| clock::now().plus(YEAR)).await;
}

#[tokio::test]
async fn a_device_whose_clock_is_a_year_ahead_signs_in() {
    signs_in(|| clock::now().minus(YEAR)).await;
}
