//! A set-up in one sentence: `let world = World::new().await; let alice = world.enrolled("alice").await;`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use app::{
    Actor, Answer, AnswerResult, Answered, App, Call, Caller, Claim, Connected, CreateRequest,
    Created, Error, FirstFactor, Guards, LoggedIn, Login, NewIntegration, Ports, Receipt,
    RequestContext, Settings, TicketProof, TicketRequest,
};
use backend_local::LocalCourier;
use backend_sql::{MasterKey, Store};
use domain::challenge::{Decision, Methods, Mode, Purpose, State};
use domain::directory::Scope;
use domain::totp;
use ports::UserRef;
use rand::SeedableRng;
use rand::rngs::StdRng;
use statement::{
    AnswerDecision, ChallengeId, DeviceId, EnrolClaim, EnrolConfirm, EnrolLink, SigningKey,
    TenantId, Timestamp,
};
use tempfile::TempDir;

use crate::counted::Calls;

pub(crate) const OPERATOR: Actor = Actor::Operator { uid: 0 };

/// A server without sockets, on a clock that only the test moves.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) tenant: TenantId,
    /// What the use cases asked the stores.
    pub(crate) calls: Calls,
    store: Option<Store>,
    clock: Arc<AtomicU64>,
    seeds: AtomicU64,
    dir: Arc<TempDir>,
}

/// A user's first device.
pub(crate) struct Person {
    pub(crate) device: Device,
}

/// An authenticator, as far as tests need one.
pub(crate) struct Device {
    pub(crate) key: SigningKey,
    pub(crate) id: DeviceId,
    pub(crate) connected: Connected,
    pub(crate) totp: totp::Secret,
    counter: AtomicU64,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Guards::default()).await
    }

    /// With other rules.
    pub(crate) async fn with(guard: Guards) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        // well past any window that is counted from zero, and on a step's boundary
        Self::open(dir, Arc::new(AtomicU64::new(1_800_000_000_000)), 1, guard).await
    }

    async fn open(dir: Arc<TempDir>, clock: Arc<AtomicU64>, seed: u64, guard: Guards) -> Self {
        let ticking = Arc::clone(&clock);
        let now = move || Timestamp::from_millis(ticking.load(Ordering::SeqCst));
        let key = MasterKey::load_or_create(&dir.path().join("keys/master.key")).expect("a key");
        let store = Store::open(dir.path(), Arc::new(now), key).await.expect("a store");
        let ports = Ports {
            hot: store.hot(),
            ledger: store.ledger(),
            directory: store.directory(),
            courier: Arc::new(LocalCourier::new()),
            vault: store.vault(),
        };
        let calls = Calls::default();
        let settings =
            Settings { public_url: "http://127.0.0.1:8470".parse().expect("a URL"), guard };
        let app = App::new(settings, calls.of(ports));
        let tenant = app.find_tenant(None).await.expect("the default tenant").id;
        let seeds = AtomicU64::new(seed << 32);
        Self { app: Arc::new(app), tenant, calls, store: Some(store), clock, seeds, dir }
    }

    /// The same data, opened anew: what a crash leaves, because nothing is said to the old store.
    pub(crate) async fn reopened(mut self) -> Self {
        let generation = (self.seeds.load(Ordering::SeqCst) >> 32) + 1;
        let (dir, clock) = (Arc::clone(&self.dir), Arc::clone(&self.clock));
        drop(self.store.take());
        drop(self);
        Self::open(dir, clock, generation, Guards::default()).await
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(crate) async fn written(&self) -> backend_sql::Written {
        self.store.as_ref().expect("an open store").written().await.expect("the store works")
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::SeqCst))
    }

    pub(crate) fn pass(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("a sane duration");
        self.clock.fetch_add(millis, Ordering::SeqCst);
    }

    pub(crate) fn call(&self) -> Call {
        let seed = self.seeds.fetch_add(1, Ordering::SeqCst);
        Call { now: self.now(), rng: Box::new(StdRng::seed_from_u64(seed)) }
    }

    pub(crate) async fn integration(&self, name: &str) -> Caller {
        self.integration_with(self.tenant, name, |_| {}).await
    }

    pub(crate) async fn integration_with(
        &self,
        tenant: TenantId,
        name: &str,
        change: impl FnOnce(&mut NewIntegration),
    ) -> Caller {
        let mut new = NewIntegration {
            name: name.to_owned(),
            protocol: domain::protocol::Protocol::default(),
            purposes: vec![Purpose::SignIn],
            methods: Methods::ALL,
            scopes: vec![Scope::Challenges],
            verifies_first_factor: false,
            reveal_users: false,
        };
        change(&mut new);
        let mut call = self.call();
        let key = self.app.create_integration(&mut call, &OPERATOR, tenant, new).await;
        let key = key.expect("an integration");
        self.app.authenticate(&call, key.key.reveal()).await.expect("its key works")
    }

    pub(crate) async fn user(&self, name: &str) {
        let made = self.app.upsert_user(&mut self.call(), &OPERATOR, self.tenant, name).await;
        made.expect("a user");
    }

    pub(crate) async fn enrolled(&self, name: &str) -> Person {
        self.user(name).await;
        let device = self.enrol(name, Some("test set-up")).await.expect("a device");
        Person { device }
    }

    /// Enrols another device by a ticket, as an authenticator would.
    pub(crate) async fn enrol(&self, name: &str, reason: Option<&str>) -> Result<Device, Error> {
        let mut call = self.call();
        let request = TicketRequest {
            user: UserRef::Name(name.to_owned()),
            confirm: true,
            reason: reason.map(str::to_owned),
        };
        let ticket = self.app.create_ticket(&mut call, &OPERATOR, self.tenant, request).await?;
        let link: EnrolLink = ticket.link.parse().expect("a link");
        let seed = self.seeds.fetch_add(1, Ordering::SeqCst);
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let key = SigningKey::from_seed(&bytes);
        let hash = statement::ticket_secret_hash(link.secret.as_slice());
        let nonce = [9; 32];
        let claim = EnrolClaim { ticket: &hash, server: &link.identity, nonce: &nonce };
        let claim = Claim {
            proof: TicketProof::Secret(*link.secret),
            key: key.public().clone(),
            device_name: "phone".to_owned(),
            nonce,
            signature: claim.sign(&key).to_vec(),
        };
        let claimed = self.app.claim(&mut call, claim).await.expect("a claim");
        let shown = self.app.ticket(&call, self.tenant, ticket.id).await.expect("a ticket");
        let number = shown.number.expect("a number once claimed");
        let number = number.as_str();
        let signature = EnrolConfirm { ticket: &hash, nonce: &nonce, number }.sign(&key);
        let enrolled = self.app.confirm(&mut call, claimed, number, &signature).await;
        let enrolled = enrolled.expect("a device");
        let connected = self.login(&key, enrolled.device).await.expect("a login").connected;
        Ok(Device {
            key,
            id: enrolled.device,
            connected,
            totp: enrolled.totp.unwrap_or_default(),
            counter: AtomicU64::new(0),
        })
    }

    pub(crate) async fn login(
        &self,
        key: &SigningKey,
        device: DeviceId,
    ) -> Result<LoggedIn, app::LoginError> {
        let nonce = [3; 32];
        let server = self.app.vault().identity().identity_hash();
        let tenant = self.tenant;
        let login = statement::Login { server: &server, tenant, device, nonce: &nonce };
        let signature = login.sign(key).to_vec();
        let login = Login { tenant, device, nonce, signature };
        self.app.login(&mut self.call(), login).await
    }

    pub(crate) fn request(&self, user: &str, session: &str) -> CreateRequest {
        CreateRequest {
            user: UserRef::Name(user.to_owned()),
            context: RequestContext {
                browser_session: format!("{session:-<22}"),
                ..RequestContext::default()
            },
            first_factor: Some(FirstFactor { method: "password".to_owned(), at: self.now() }),
            purpose: None,
            methods: None,
            ttl: None,
            details: Vec::new(),
            return_url: None,
            number: None,
        }
    }

    pub(crate) async fn create(&self, caller: &Caller, user: &str, session: &str) -> Created {
        let request = self.request(user, session);
        self.create_with(caller, request).await.expect("a challenge")
    }

    pub(crate) async fn create_with(
        &self,
        caller: &Caller,
        request: CreateRequest,
    ) -> Result<Created, Error> {
        self.app.create_challenge(&mut self.call(), caller, request, None).await
    }

    pub(crate) async fn state(&self, caller: &Caller, id: ChallengeId) -> State {
        self.app.challenge(&mut self.call(), caller, id).await.expect("own challenge").state
    }

    pub(crate) async fn redeem(
        &self,
        caller: &Caller,
        id: ChallengeId,
        session: &str,
    ) -> Result<Receipt, Error> {
        let session = format!("{session:-<22}");
        self.app.redeem(&mut self.call(), caller, id, &session, None).await
    }

    /// What the device shows: id and challenge bytes.
    pub(crate) async fn cards(&self, device: &Device, silent: bool) -> Vec<(ChallengeId, Vec<u8>)> {
        let pending = self.app.pending(&mut self.call(), &device.connected, silent).await;
        let pending = pending.expect("the pending set");
        pending.iter().map(|challenge| (challenge.id, challenge.document.clone())).collect()
    }

    /// What a device wasn't told yet.
    pub(crate) async fn notices(&self, device: &Device) -> Vec<ports::NoticeKind> {
        let notices = self.app.notices(&self.call(), &device.connected, 0).await;
        notices.expect("the store works").iter().map(|notice| notice.kind).collect()
    }

    /// How a challenge reaches its user.
    pub(crate) async fn mode(&self, id: ChallengeId) -> Mode {
        let store = self.store.as_ref().expect("an open store");
        let record = store.ledger().lookup(id).await.expect("the store works");
        record.expect("a challenge").challenge.mode
    }

    /// A challenge's bytes, whether or not any device may see them.
    pub(crate) async fn document(&self, id: ChallengeId) -> Vec<u8> {
        let store = self.store.as_ref().expect("an open store");
        let record = store.ledger().lookup(id).await.expect("the store works");
        record.expect("a challenge").challenge.document.clone()
    }

    /// Signs an answer as the device would, over the bytes that it was shown.
    pub(crate) async fn signed(
        &self,
        device: &Device,
        id: ChallengeId,
        decision: AnswerDecision,
        number: &str,
    ) -> Answer {
        let cards = self.cards(device, true).await;
        let (_, document) = cards.iter().find(|(card, _)| *card == id).expect("a card");
        device.sign(document, id, decision, number)
    }

    pub(crate) async fn answer(&self, device: &Device, answer: Answer) -> Answered {
        let answered = self.app.answer(&mut self.call(), &device.connected, answer).await;
        answered.expect("the store works")
    }

    pub(crate) async fn approve(&self, device: &Device, created: &Created) -> Answered {
        let number = created.number.as_ref().expect("a number").as_str().to_owned();
        self.decide(device, created, AnswerDecision::Approve, &number).await
    }

    pub(crate) async fn decide(
        &self,
        device: &Device,
        created: &Created,
        decision: AnswerDecision,
        number: &str,
    ) -> Answered {
        let answer = self.signed(device, created.view.id, decision, number).await;
        self.answer(device, answer).await
    }
}

impl Device {
    pub(crate) fn sign(
        &self,
        document: &[u8],
        challenge: ChallengeId,
        decision: AnswerDecision,
        number: &str,
    ) -> Answer {
        let counter = self.counter.fetch_add(1, Ordering::SeqCst) + 1;
        let statement = statement::Answer {
            challenge: document,
            device: self.id,
            decision,
            number,
            user_verified: false,
            counter,
        };
        Answer {
            challenge,
            decision,
            number: number.to_owned(),
            user_verified: false,
            counter,
            signature: statement.sign(&self.key).to_vec(),
        }
    }
}

/// The decision that a settled answer was told.
#[track_caller]
pub(crate) fn told(answered: Answered) -> Decision {
    match answered.result {
        AnswerResult::Settled(State::Decided(decided)) => decided.decision,
        other => panic!("not settled: {other:?}"),
    }
}

/// The decision of a state.
#[track_caller]
pub(crate) fn decision(state: State) -> Decision {
    match state {
        State::Decided(decided) => decided.decision,
        State::Pending => panic!("still pending"),
    }
}

/// A number that is none of `others`.
pub(crate) fn wrong_number(others: &[&Created]) -> String {
    (0..)
        .map(|n| format!("{n:06}"))
        .find(|text| !others.iter().any(|c| c.number.as_ref().is_some_and(|n| n.matches(text))))
        .expect("a free number")
}

/// How many runs of a loop: a share by default, all in `cargo xtask test --full`.
pub(crate) fn runs(share: usize, full: usize) -> usize {
    if std::env::var_os("COUNTERSIGN_TEST_FULL").is_some() { full } else { share }
}
