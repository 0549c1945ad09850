//! No secret is logged, counted, printed or stored readable: after ceremonies with every kind of secret, all
//! that the real program wrote at full trace, and its database, are searched for each of them.

use std::collections::BTreeMap;

use authenticator_native::{Account, Client, Person, Ticket};
use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use domain::recovery::RecoveryCode;
use prost::Message as _;
use serde_json::{Value, json};
use server::clock;
use server::demo::child::ChildServer;
use server::demo::http::{Http, Reply};
use statement::{AnswerDecision, EnrolLink, TypedNumberError};
use tokio::process::Command;
use wire::device;
use wire::device::client_frame::Frame as Up;
use wire::device::server_frame::Frame as Down;

use crate::child::{Asked, Home, ask, countersign, integrate};
use crate::rest::Rest;
use crate::socket::{Incoming, Socket, login};

/// Rounds of ceremonies. Six digits may stand somewhere by chance, as a part of a second: such a secret has
/// leaked if those of all rounds are found.
pub(crate) const ROUNDS: usize = 3;
/// Everything at full trace, the libraries that show whole frames and statements asked for by name.
pub(crate) const LOUDEST: &str = "trace,tungstenite::protocol=trace,tungstenite::protocol::frame=trace,\
    sqlx::query=trace,hyper::proto=trace,[request]=trace";
/// What is shorter may be found by chance.
const LONG: usize = 8;

/// By kind, the secrets of all rounds.
#[derive(Default)]
pub(crate) struct Secrets(BTreeMap<String, Vec<Vec<u8>>>);

impl Secrets {
    pub(crate) fn keep(&mut self, kind: impl Into<String>, secret: impl AsRef<[u8]>) {
        let (kind, secret) = (kind.into(), secret.as_ref());
        assert!(secret.len() >= 6, "{kind} is too short to look for");
        self.0.entry(kind).or_default().push(secret.to_vec());
    }

    /// The kinds of which a secret is in `text`, in any form.
    pub(crate) fn found_in(&self, text: &[u8]) -> Vec<&str> {
        let is_in = |secret: &Vec<u8>| forms(secret).iter().any(|form| holds(text, form));
        let leaked = |secrets: &[Vec<u8>]| {
            let (long, short): (Vec<_>, Vec<_>) = secrets.iter().partition(|s| s.len() >= LONG);
            let by_chance = short.iter().any(|secret| !is_in(secret));
            long.into_iter().any(is_in) || !short.is_empty() && !by_chance
        };
        let kinds = self.0.iter().filter(|(_, secrets)| leaked(secrets));
        kinds.map(|(kind, _)| kind.as_str()).collect()
    }
}

/// As itself, and as programs print bytes.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
    let mut forms = vec![secret.to_vec(), numbers.join(", ").into_bytes()];
    for encoding in [HEXLOWER, HEXUPPER, BASE32_NOPAD, BASE64, BASE64URL_NOPAD] {
        forms.push(encoding.encode(secret).trim_end_matches('=').as_bytes().to_vec());
    }
    forms
}

/// Whether `text` holds `part`; a few digits only as a whole number.
fn holds(text: &[u8], part: &[u8]) -> bool {
    let digits = part.len() < LONG && part.iter().all(u8::is_ascii_digit);
    let is_digit =
        |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    while let Some(found) = find(&text[at..], part) {
        let start = at + found;
        let whole = !is_digit(start.checked_sub(1)) && !is_digit(Some(start + part.len()));
        if !digits || whole {
            return true;
        }
        at = start + 1;
    }
    false
}

/// Where `part` starts. By its first byte: the texts are long and secrets are many.
fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let (first, rest) = part.split_first()?;
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| byte == first) {
        let start = from + at;
        if text[start + 1..].starts_with(rest) {
            return Some(start);
        }
        from = start + 1;
    }
    None
}

/// Reads the number where an administrator would, and keeps it.
struct Watcher<'a> {
    http: &'a Http,
    path: String,
    secrets: &'a mut Secrets,
}

impl Person for Watcher<'_> {
    async fn confirm_server(&mut self, _fingerprint: &str) -> bool {
        true
    }

    async fn number(&mut self, _digits: u8, wrong: Option<TypedNumberError>) -> Option<String> {
        assert!(wrong.is_none());
        let shown = self.http.send("GET", &self.path, Value::Null).await.ok()?;
        let number = shown.text("number").to_owned();
        self.secrets.keep("an enrolment's number", &number);
        Some(number)
    }
}

/// A user, their authenticator's socket, and what can be asked of both.
struct Actor<'a> {
    http: &'a Http,
    user: String,
    account: Account,
    socket: Socket,
    totp: Vec<u8>,
    recovery: String,
    secrets: &'a mut Secrets,
}

/// A challenge on the screens of both.
struct Shown {
    asked: Asked,
    document: Vec<u8>,
}

async fn post(http: &Http, path: &str, body: Value) -> Reply {
    let reply = http.send("POST", path, body).await.unwrap();
    assert!(matches!(reply.status, 200 | 201), "{path}: {}", reply.outcome());
    reply
}

/// Enrols a device by a ticket of `user`'s.
async fn enrolled(http: &Http, user: &str, by_code: bool, secrets: &mut Secrets) -> Account {
    let tickets = format!("/v1/users/name:{user}/tickets");
    let ticket = post(http, &tickets, json!({"reason": "test"})).await;
    let link: EnrolLink = ticket.text("link").parse().unwrap();
    secrets.keep("a ticket's secret", link.secret.as_slice());
    secrets.keep("a ticket's code", ticket.text("code"));
    let path = format!("{tickets}/{}", ticket.text("ticket"));
    let proof = match by_code {
        true => Ticket::from_code(link.server.clone(), user, ticket.text("code")).unwrap(),
        false => Ticket::Link(link),
    };
    let mut person = Watcher { http, path, secrets };
    let account = Client::new("test").enrol(proof, "phone", Vec::new(), &mut person).await;
    let account = account.unwrap();
    let stored = serde_json::to_value(&account).unwrap();
    let totp: Vec<u8> = serde_json::from_value(stored["totp"]["secret"].clone()).unwrap();
    secrets.keep("a TOTP secret that a device was given", totp);
    account
}

impl<'a> Actor<'a> {
    async fn new(http: &'a Http, url: &str, round: usize, secrets: &'a mut Secrets) -> Self {
        let user = format!("user{round}");
        let base = format!("/v1/users/name:{user}");
        http.send("PUT", &base, Value::Null).await.unwrap();
        enrolled(http, &user, true, secrets).await;
        let account = enrolled(http, &user, false, secrets).await;
        let factors = format!("{base}/factors");
        let made = post(http, &factors, json!({"type": "totp"})).await;
        let uri = made.text("otpauth_uri");
        let totp = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
        let totp = BASE32_NOPAD.decode(totp.as_bytes()).unwrap();
        secrets.keep("a TOTP secret", &totp);
        let made = post(http, &factors, json!({"type": "recovery_code"})).await;
        let recovery = made.body["codes"][0].as_str().unwrap().to_owned();
        let read = RecoveryCode::parse(&recovery).unwrap();
        secrets.keep("a recovery code's secret", read.secret.as_slice());

        let address = url.trim_start_matches("http://").parse().unwrap();
        let (mut socket, greeting) = Socket::greet(address).await;
        secrets.keep("a connection's nonce", &greeting.nonce);
        socket.send(login(&greeting, &account)).await;
        let Incoming::Frame(Down::Welcome(_)) = socket.next().await else { panic!("not welcome") };
        Self { http, user, account, socket, totp, recovery, secrets }
    }

    /// Asks in a browser session of its own and opens the app: after a wrong number nothing rings.
    async fn ask(&mut self, browser: &str) -> Shown {
        let session = format!("{}-signs-in-with-{browser}", self.user);
        self.secrets.keep("a browser session", &session);
        let asked = ask(self.http, &self.user, &session).await;
        self.socket.send(Up::Pull(device::Pull {})).await;
        self.secrets.keep(format!("the number beside {browser}"), &asked.number);
        loop {
            match self.socket.next_of_note().await {
                Incoming::Frame(Down::Prompt(prompt)) => {
                    let document = prompt.challenge.to_vec();
                    let challenge = device::Challenge::decode(prompt.challenge).unwrap();
                    self.secrets.keep("a challenge's nonce", &challenge.nonce);
                    // what rang comes twice
                    if challenge.id.as_ref() != asked.challenge().as_bytes() {
                        continue;
                    }
                    return Shown { asked, document };
                }
                Incoming::Frame(_) => {}
                other => panic!("no prompt: {other:?}"),
            }
        }
    }

    /// Types `number` on the device and waits for the end.
    async fn answer(&mut self, shown: &Shown, number: &str) {
        self.account.counter += 1;
        let counter = self.account.counter;
        let statement = statement::Answer {
            challenge: &shown.document,
            device: self.account.device,
            decision: AnswerDecision::Approve,
            number,
            user_verified: true,
            counter,
        };
        let signature = statement.sign(&self.account.seed.key()).to_vec().into();
        let answer = device::Answer {
            challenge: shown.asked.challenge().as_bytes().to_vec().into(),
            decision: device::Decision::Approve.into(),
            number: number.to_owned(),
            user_verified: true,
            counter,
            signature,
        };
        self.socket.send(Up::Answer(answer)).await;
        let ended = shown.asked.path("?wait=30");
        let ended = self.http.send("GET", &ended, Value::Null).await.unwrap();
        assert_ne!(ended.text("state"), "pending");
    }

    async fn submit(&mut self, shown: &Shown, kind: &'static str, code: &str) -> u16 {
        self.secrets.keep(kind, code);
        let path = shown.asked.path("/code");
        self.http.send("POST", &path, json!({"code": code})).await.unwrap().status
    }

    async fn redeem(&mut self, shown: &Shown) {
        let path = shown.asked.path("/redeem");
        let stranger = json!({"browser_session": "another-browser-session"});
        let refused = self.http.send("POST", &path, stranger).await.unwrap();
        assert_eq!(refused.outcome(), "403 wrong_session");
        let body = json!({"browser_session": shown.asked.session});
        let redeemed = post(self.http, &path, body).await;
        self.secrets.keep("a receipt", redeemed.text("receipt"));
        self.secrets.keep("a device cookie", redeemed.text("device_cookie"));
    }

    /// Every ceremony once.
    async fn perform(&mut self) {
        let shown = self.ask("the-right-number").await;
        self.answer(&shown, &shown.asked.number.clone()).await;
        self.redeem(&shown).await;

        let shown = self.ask("a-wrong-number").await;
        let wrong = shown.asked.wrong_number();
        self.secrets.keep("a number that was typed", &wrong);
        self.answer(&shown, &wrong).await;

        let shown = self.ask("a-totp-code").await;
        let secret = self.totp.as_slice().try_into().unwrap();
        let code = domain::totp::code(secret, clock::now());
        assert_eq!(self.submit(&shown, "a TOTP code", &code).await, 200);
        self.redeem(&shown).await;

        let shown = self.ask("codes").await;
        let wrong = if code == "918273" { "918274" } else { "918273" };
        assert_eq!(self.submit(&shown, "a wrong code", wrong).await, 422);
        let recovery = self.recovery.clone();
        assert_eq!(self.submit(&shown, "a recovery code", &recovery).await, 200);
        self.redeem(&shown).await;
    }
}

/// A server at full trace on which all ceremonies were performed.
struct Scene {
    home: Home,
    server: ChildServer,
    secrets: Secrets,
    challenge: String,
}

async fn scene(name: &str, format: &str) -> Scene {
    let home = Home::new(name);
    let mut command = Command::new(countersign());
    command.env("RUST_LOG", LOUDEST).env("COUNTERSIGN__LOG__FORMAT", format);
    let server = home.serve_by(command).await;
    let key = integrate(&server).await;
    let http = Http::new(&server.url, &key);
    let mut secrets = Secrets::default();
    // what comes before tells keys apart, and is in the audit
    secrets.keep("an API key", &key[12..]);
    secrets.keep("the master key", std::fs::read(home.data().join("keys/master.key")).unwrap());
    for round in 0..ROUNDS {
        Actor::new(&http, &server.url, round, &mut secrets).await.perform().await;
    }
    // one that stays open: its number is still stored
    let asked = ask(&http, "user0", "stays-open").await;
    secrets.keep("an open challenge's number", &asked.number);
    Scene { home, server, secrets, challenge: asked.id }
}

impl Scene {
    /// Ends it. `heard` are parts of the log without which it wasn't one.
    async fn log_is_clean(self, heard: &[&str]) {
        self.server.kill().await.unwrap();
        let log = self.home.logged();
        assert!(heard.iter().all(|part| log.contains(part)), "the trace must be on: {log}");
        assert_eq!(self.secrets.found_in(log.as_bytes()), [""; 0], "in the log");
    }
}

#[tokio::test]
async fn what_is_printed_holds_no_secret() {
    let scene = scene("secrecy-log", "text").await;
    let operations = Rest::new(&scene.server.operations);
    let metrics = operations.send("", "GET", "/metrics", &Value::Null).await.body;
    assert!(find(&metrics, b"countersign_").is_some());
    assert_eq!(scene.secrets.found_in(&metrics), [""; 0], "in the metrics");
    for command in [
        &["config", "print", "--redacted"][..],
        &["doctor"],
        &["events"],
        &["events", "--json"],
        &["why", &scene.challenge],
        &["admin", "keys"],
        &["admin", "integration", "list"],
        &["admin", "integration", "key", "list", "shop"],
        &["admin", "user", "show", "user0"],
        &["admin", "ticket", "list", "--user", "user0"],
        &["admin", "factor", "list", "--user", "user0"],
        &["audit", "verify"],
    ] {
        let output = scene.home.run(command).await;
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.is_empty() || command[0] == "audit", "{command:?}");
        assert_eq!(scene.secrets.found_in(&said), [""; 0], "{command:?}");
    }
    let heard = ["DEBUG edge_ws::connection: ", "route=\"/v1/challenges/{id}/redeem\""];
    scene.log_is_clean(&heard).await;
}

#[tokio::test]
async fn what_is_stored_can_t_be_read() {
    let scene = scene("secrecy-store", "json").await;
    let mut files = 0;
    // while it runs, and as a thief of the disk finds it
    for file in ["countersign.db", "countersign.db-wal", "countersign.db-shm"] {
        let Ok(bytes) = std::fs::read(scene.home.data().join(file)) else { continue };
        files += 1;
        let mut found = scene.secrets.found_in(&bytes);
        // public: they are in the signed bytes that devices were sent
        found.retain(|kind| *kind != "a challenge's nonce");
        assert_eq!(found, [""; 0], "{file}");
    }
    assert!(files >= 2, "database and log must be there");
    let heard = [r#""level":"DEBUG""#, r#""route":"/v1/challenges/{id}/redeem""#];
    scene.log_is_clean(&heard).await;
}

#[test]
fn a_leak_is_noticed_in_any_form() {
    let mut secrets = Secrets::default();
    secrets.keep("number", "042917");
    for leak in ["a 042917 b", "payload: 0x12303432393137", "[48, 52, 50, 57, 49, 55]", "MDQyOTE3"]
    {
        assert_eq!(secrets.found_in(leak.as_bytes()), ["number"], "{leak}");
    }
    for chance in ["1042917", "0429170", ".0429175Z", "04291"] {
        assert_eq!(secrets.found_in(chance.as_bytes()), [""; 0], "{chance}");
    }
    secrets.keep("number", "555555");
    assert_eq!(secrets.found_in(b"042917"), [""; 0], "by chance, of one round");
    assert_eq!(secrets.found_in(b"042917, 555555"), ["number"]);
}
