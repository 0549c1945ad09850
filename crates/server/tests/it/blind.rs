//! What reaches a device doesn't depend on the number: the same server, clock and randomness but for the
//! number's own draw, and every byte that a device is sent is the same.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use app::{
    Actor, App, Call, Claim, CreateRequest, Created, FirstFactor, NewIntegration, Ports,
    RequestContext, Settings, TicketProof, TicketRequest,
};
use backend_local::LocalCourier;
use backend_sql::{MasterKey, Store};
use domain::challenge::{Methods, Purpose};
use domain::create::Detail;
use domain::directory::Scope;
use edge_ws::{Gateway, Limits};
use ports::UserRef;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _, TryCryptoRng, TryRng};
use statement::{
    AnswerDecision, ChallengeId, DeviceId, EnrolClaim, EnrolConfirm, EnrolLink, SigningKey,
    TenantId, Timestamp, sha256,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::device;
use wire::device::client_frame::Frame as Up;
use wire::device::server_frame::Frame as Down;

use crate::socket::{Incoming, Socket, login_with};

/// 2027-01-15 08:00 UTC.
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const OWNER: Actor = Actor::Owner;
/// Numbers that are compared with each other.
const NUMBERS: u64 = 6;
/// The seed of everything but the number.
const SEED: u64 = 7;
/// What all calls but the one that creates the challenge are given.
const FIXED: [u64; 2] = [SEED, 1];

/// Bytes come from one stream and whole words from another. Ids, nonces and keys are drawn as bytes; a number
/// is drawn as a word.
struct Split {
    bytes: StdRng,
    words: StdRng,
}

impl TryRng for Split {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.words.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.words.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.bytes.fill_bytes(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Split {}

fn call(seeds: [u64; 2]) -> Call {
    let [bytes, words] = seeds.map(StdRng::seed_from_u64);
    Call { now: NOW, rng: Box::new(Split { bytes, words }) }
}

/// A server in this process, with a gateway on a real socket.
struct Node {
    app: Arc<App>,
    store: Store,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

/// A device and the key of an integration: what a copied folder already knows.
struct Known {
    key: SigningKey,
    device: DeviceId,
    tenant: TenantId,
    api_key: String,
}

async fn open(dir: &Path) -> Node {
    let master = MasterKey::load_or_create(&dir.join("keys/master.key")).unwrap();
    let store = Store::open(dir, Arc::new(|| NOW), master).await.unwrap();
    let settings = Settings {
        // the same in all runs, wherever they listen: devices are shown it
        public_url: "http://127.0.0.1:8470".parse().unwrap(),
        guard: app::Guards::default(),
    };
    let ports = Ports {
        hot: store.hot(),
        ledger: store.ledger(),
        directory: store.directory(),
        courier: Arc::new(LocalCourier::new()),
        vault: store.vault(),
    };
    let app = Arc::new(App::new(settings, ports));
    let (stop, stopped) = watch::channel(false);
    let calls = Arc::new(|| call(FIXED));
    let gateway = Gateway::new(Arc::clone(&app), calls, Limits::default(), stopped);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = edge_ws::router(gateway);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Node { app, store, address, _stop: stop }
}

/// An integration, a user, and a device of theirs.
async fn set_up(app: &App) -> Known {
    let tenant = app.find_tenant(None).await.unwrap().id;
    let new = NewIntegration {
        name: "Payroll".to_owned(),
        protocol: domain::protocol::Protocol::default(),
        purposes: vec![Purpose::SignIn],
        methods: Methods::ALL,
        scopes: vec![Scope::Challenges],
        verifies_first_factor: false,
        reveal_users: false,
    };
    let api_key = app.create_integration(&mut call(FIXED), &OWNER, tenant, new).await.unwrap();
    app.upsert_user(&mut call(FIXED), &OWNER, tenant, "alice").await.unwrap();
    let user = UserRef::Name("alice".to_owned());
    let asked = TicketRequest { user, confirm: true, reason: None };
    let ticket = app.create_ticket(&mut call(FIXED), &OWNER, tenant, asked).await.unwrap();
    let link: EnrolLink = ticket.link.parse().unwrap();
    let hash = statement::ticket_secret_hash(link.secret.as_slice());
    let key = SigningKey::from_seed(&[5; 32]);
    let nonce = [9; 32];
    let claim = EnrolClaim { ticket: &hash, server: &link.identity, nonce: &nonce };
    let claim = Claim {
        proof: TicketProof::Secret(*link.secret),
        key: key.public().clone(),
        device_name: "phone".to_owned(),
        nonce,
        signature: claim.sign(&key).to_vec(),
    };
    let claimed = app.claim(&mut call(FIXED), claim).await.unwrap();
    let number = app.ticket(&call(FIXED), tenant, ticket.id).await.unwrap().number.unwrap();
    let number = number.as_str();
    let signature = EnrolConfirm { ticket: &hash, nonce: &nonce, number }.sign(&key);
    let enrolled = app.confirm(&mut call(FIXED), claimed, number, &signature).await.unwrap();
    let api_key = api_key.key.reveal().to_owned();
    Known { key, device: enrolled.device, tenant, api_key }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// Asks alice; the number is drawn from the second seed.
async fn ask(app: &App, known: &Known, seeds: [u64; 2]) -> Created {
    let caller = app.authenticate(&call(FIXED), &known.api_key).await.unwrap();
    let detail = Detail { label: "Order".to_owned(), value: "4711".to_owned() };
    let request = CreateRequest {
        user: UserRef::Name("alice".to_owned()),
        context: RequestContext {
            browser_session: "a-browser-session-0001".to_owned(),
            ip: Some("203.0.113.9".parse().unwrap()),
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64) Firefox/150.0".to_owned()),
            device_cookie: None,
        },
        first_factor: Some(FirstFactor { method: "password".to_owned(), at: NOW }),
        purpose: None,
        methods: None,
        ttl: None,
        details: vec![detail],
        return_url: None,
        number: None,
    };
    app.create_challenge(&mut call(seeds), &caller, request, None).await.unwrap()
}

/// What a device was sent in one ceremony.
struct Heard {
    number: String,
    /// The server's answer to the upgrade, less its date.
    head: String,
    until_answer: Vec<u8>,
    in_all: Vec<u8>,
}

/// A whole ceremony on a copy of `dir`. The device types what `typed` makes of the number.
async fn listen(dir: &Path, known: &Known, seeds: [u64; 2], typed: fn(&str) -> String) -> Heard {
    let folder = tempfile::tempdir().unwrap();
    copy(dir, folder.path());
    let node = open(folder.path()).await;
    let (mut socket, hello) = Socket::greet(node.address).await;
    let identity = node.app.vault().identity().identity_hash();
    let login = login_with(&hello, &identity, known.tenant, known.device, &known.key);
    socket.send(login).await;
    let Incoming::Frame(Down::Welcome(_)) = socket.next().await else { panic!("not welcome") };
    let created = ask(&node.app, known, seeds).await;
    let number = created.number.unwrap().as_str().to_owned();
    let Incoming::Frame(Down::Prompt(prompt)) = socket.next_of_note().await else {
        panic!("no prompt")
    };
    let until_answer = socket.received.clone();
    socket.send(answer(known, &prompt.challenge, &typed(&number))).await;
    let Incoming::Frame(Down::AnswerResult(result)) = socket.next_of_note().await else {
        panic!("no result")
    };
    assert_eq!(result.result(), device::Result::Settled);
    node.store.close().await.unwrap();
    let head = socket.head.lines().filter(|line| !line.to_lowercase().starts_with("date:"));
    let head = head.collect::<Vec<_>>().join("\n");
    Heard { number, head, until_answer, in_all: socket.received }
}

fn answer(known: &Known, document: &[u8], number: &str) -> Up {
    let id = device::Challenge::decode(document).unwrap().id;
    let id = ChallengeId::from_slice(&id).unwrap();
    let answer = statement::Answer {
        challenge: document,
        device: known.device,
        decision: AnswerDecision::Approve,
        number,
        user_verified: false,
        counter: 1,
    };
    Up::Answer(device::Answer {
        challenge: id.as_bytes().to_vec().into(),
        decision: device::Decision::Approve.into(),
        number: number.to_owned(),
        user_verified: false,
        counter: 1,
        signature: answer.sign(&known.key).to_vec().into(),
    })
}

/// What a folder knows once it is set up, with its store closed.
async fn prepared(dir: &Path) -> Known {
    let node = open(dir).await;
    let known = set_up(&node.app).await;
    node.store.close().await.unwrap();
    known
}

#[tokio::test]
async fn two_numbers_two_runs_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let known = prepared(dir.path()).await;
    let right: fn(&str) -> String = str::to_owned;
    // a number that none of the runs draws, as the assertion below makes sure
    let wrong: fn(&str) -> String = |_| "000000".to_owned();
    for typed in [right, wrong] {
        let first = listen(dir.path(), &known, [SEED, 0], typed).await;
        let mut numbers = HashSet::from([first.number.clone(), wrong("")]);
        for words in 1..NUMBERS {
            let other = listen(dir.path(), &known, [SEED, words], typed).await;
            assert!(numbers.insert(other.number.clone()), "the numbers must differ");
            assert_eq!(first.head, other.head);
            assert_eq!(first.until_answer, other.until_answer, "up to the answer");
            assert_eq!(first.in_all, other.in_all, "with what is told of the answer");
        }
    }
}

#[tokio::test]
async fn a_byte_that_differs_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let known = prepared(dir.path()).await;
    let right: fn(&str) -> String = str::to_owned;
    let first = listen(dir.path(), &known, [SEED, 1], right).await;
    let other = listen(dir.path(), &known, [SEED + 1, 1], right).await;
    assert_eq!(first.number, other.number);
    assert_eq!(first.until_answer.len(), other.until_answer.len());
    assert_ne!(first.until_answer, other.until_answer, "another nonce, the same number");
}

#[tokio::test]
async fn no_number_and_no_hash_of_any_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let known = prepared(dir.path()).await;
    let heard = listen(dir.path(), &known, [SEED, 3], str::to_owned).await;
    let sent = &heard.until_answer;
    let number: u32 = heard.number.parse().unwrap();
    assert!(!holds(sent, heard.number.as_bytes()), "as digits");
    assert!(!holds(sent, &number.to_be_bytes()) && !holds(sent, &number.to_le_bytes()));

    // of every candidate, the start of its hash: a shortened one is found too
    let starts: HashSet<[u8; 8]> =
        (0..1_000_000).map(|value| start(&sha256(&[format!("{value:06}").as_bytes()]))).collect();
    assert!(starts.contains(&start(&sha256(&[heard.number.as_bytes()]))));
    let is_hash = |window: &[u8]| <[u8; 8]>::try_from(window).is_ok_and(|w| starts.contains(&w));
    assert!(!sent.windows(8).any(is_hash), "as bytes");
    let is_hex = |window: &[u8]| {
        let hex = window.to_ascii_lowercase();
        data_encoding::HEXLOWER.decode(&hex).is_ok_and(|bytes| is_hash(&bytes))
    };
    assert!(!sent.windows(16).any(is_hex), "as hex");
    let is_base64 = |window: &[u8]| {
        data_encoding::BASE64_NOPAD.decode(window).is_ok_and(|bytes| is_hash(&bytes[..8]))
            || data_encoding::BASE64URL_NOPAD.decode(window).is_ok_and(|b| is_hash(&b[..8]))
    };
    assert!(!sent.windows(12).any(is_base64), "as base64");
}

fn start(hash: &[u8; 32]) -> [u8; 8] {
    hash[..8].try_into().unwrap()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
