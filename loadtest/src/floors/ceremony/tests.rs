//! Every floor server through real sockets, a little of each: what it is asked comes back, and what must not be is
//! refused.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use statement::{Algorithm, Answer, AnswerDecision, DeviceId, SigningKey};
use tokio::net::TcpStream;
use wire::device::{self, client_frame, server_frame};
use wire::rest::RedeemChallenge;

use super::super::ceremonies::{self, Served, adds_up};
use super::super::echo::{self, Script};
use super::super::people;
use super::super::serve::{self, Kind};
use super::super::socket::{self, In, Out};
use super::super::{Pace, http, ws};
use super::{API_KEY, CHALLENGES, bytes};
use crate::receipt;

const PACE: Pace = Pace { warm_up: Duration::from_millis(20), window: Duration::from_millis(150) };

/// A server in this process, for as long as the test's runtime lives.
fn start(kind: Kind) -> SocketAddr {
    let listener = serve::listen().expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve::serve(kind, listener));
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_echoes_is_counted_only_if_it_echoes() {
    for kind in [
        Kind::HttpRaw,
        Kind::HttpAxum,
        Kind::WsRaw,
        Kind::WsRawTwice,
        Kind::WsAxum,
        Kind::WsAxumDefault,
    ] {
        let address = start(kind);
        let driven = tokio::task::spawn_blocking(move || {
            let script = Script::of(kind, &address.to_string());
            echo::drive(address, &script, PACE, None, &AtomicBool::new(false))
        });
        let sample = driven.await.expect("no panic").expect("it echoes");
        assert!(sample.done > 0, "{kind:?}");
    }
    let address = start(Kind::Ceremony);
    let driven = tokio::task::spawn_blocking(move || {
        let script = Script::of(Kind::HttpRaw, &address.to_string());
        echo::drive(address, &script, PACE, None, &AtomicBool::new(false))
    });
    let refused = driven.await.expect("no panic").expect_err("nothing there echoes");
    assert!(refused.to_string().contains("401"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ceremony_is_verified_settled_and_redeemed_once() {
    for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
        let address = start(Kind::Ceremony);
        // it fails if the server's counts don't add up to the pages'
        let round = ceremonies::round(address, None, Served::raw(algorithm), PACE, &[], 1).await;
        let round = round.expect("all is well");
        assert!(round.closed.done > 0 && round.counts.redeemed >= round.closed.done);
        assert!(round.counts.parked > 0, "no poll had to wait");
        let mut people = people::enrol(address, algorithm, 2).await.expect("enrolled");
        let before = people::counts(address).await.expect("counted");
        for person in &mut people {
            for _ in 0..3 {
                person.sign_in().await.expect("signed in");
            }
            assert_eq!(person.complaint(), None);
        }
        let after = people::counts(address).await.expect("counted");
        adds_up(&after, before.redeemed + 6).expect("six more");
    }
}

/// What the database of a durable server holds: challenges, those decided, users, audit rows and redeems.
fn held(store: &Path) -> [u64; 5] {
    let database = rusqlite::Connection::open(store.join("floor.db")).expect("a database");
    [
        "challenges",
        "challenges WHERE decision = 1 AND number IS NULL",
        "hot",
        "audit",
        "audit WHERE redeems IS NOT NULL",
    ]
    .map(|of| {
        let count = format!("SELECT count(*) FROM {of}");
        database.query_row(&count, [], |row| row.get::<_, i64>(0)).expect("counted").cast_unsigned()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_durable_server_said_is_in_its_database() {
    let store = tempfile::tempdir().expect("a folder");
    let listener = serve::listen().expect("a port");
    let address = listener.local_addr().expect("an address");
    let dir = store.path().to_owned();
    tokio::spawn(async move { super::serve(listener, Some(&dir)).await });
    let served = Served { algorithm: Algorithm::Ed25519, store: Some(store.path()) };
    let round = ceremonies::round(address, None, served, PACE, &[], 1).await.expect("all is well");
    let done = round.counts.redeemed;
    assert!(done > 0);
    let [challenges, decided, users, audit, redeemed] = held(store.path());
    assert_eq!([challenges, decided, audit, redeemed], [done, done, 3 * done, done]);
    assert!(0 < users && users <= ceremonies::DEVICES as u64);
    let mut rogue = Rogue::enrol(address).await;
    rogue.asked().await;
    assert_eq!(held(store.path())[0], done + 1, "its number was shown before it was stored");
}

#[tokio::test]
async fn arrivals_are_timed_from_when_they_should_have_started() {
    let address = start(Kind::Ceremony);
    let people = people::enrol(address, Algorithm::Ed25519, 8).await.expect("enrolled");
    let (waits, people, done) =
        ceremonies::arrive(people, (10, 200.0), PACE, None, 7).await.expect("all is well");
    assert_eq!((people.len(), waits.load), (8, 10));
    assert!(waits.count > 0 && waits.count <= done);
    assert!(0.0 < waits.p50_us && waits.p50_us <= waits.p99_us);
    adds_up(&people::counts(address).await.expect("counted"), done).expect("all of them");
}

/// A device that does what no person would.
struct Rogue {
    host: SocketAddr,
    user: String,
    id: DeviceId,
    key: SigningKey,
    incoming: In,
    out: Arc<Out>,
}

impl Rogue {
    async fn enrol(host: SocketAddr) -> Self {
        let key = SigningKey::from_seed(&[9; 32]);
        let stream = TcpStream::connect(host).await.expect("connected");
        let (mut incoming, out) = socket::open(stream).expect("split");
        out.send(&ws::knock(&host.to_string(), device::PATH));
        let mut status = 0;
        let welcomed = incoming.read(|data| {
            let Some((response, len)) = http::response(data)? else { return Ok(None) };
            status = response.status;
            Ok(Some(len))
        });
        assert!(welcomed.await.expect("welcomed"));
        assert_eq!(status, 101);
        let claim = device::EnrolClaim {
            proof: None,
            algorithm: Algorithm::Ed25519 as u32,
            public_key: key.public().as_bytes().to_vec().into(),
            device_name: "rogue".to_owned(),
            signature: Vec::new().into(),
        };
        let claim = bytes::to_server(client_frame::Frame::EnrolClaim(claim));
        out.send(&ws::message(&claim, true));
        let mut rogue = Self {
            host,
            user: String::new(),
            id: DeviceId::from_bytes([0; 16]),
            key,
            incoming,
            out,
        };
        let server_frame::Frame::Enrolled(enrolled) = rogue.hear().await else { panic!("no yes") };
        rogue.user = enrolled.user;
        rogue.id = DeviceId::from_slice(&enrolled.device).expect("an id");
        rogue
    }

    async fn hear(&mut self) -> server_frame::Frame {
        let mut heard = None;
        while heard.is_none() {
            let more = self.incoming.read(|data| {
                let Some((payload, len)) = ws::read(data)? else { return Ok(None) };
                heard = bytes::from_server(&payload);
                Ok(Some(len))
            });
            assert!(more.await.expect("it speaks"), "it hung up");
        }
        heard.expect("a frame")
    }

    /// Answers, and says what it is told.
    async fn answer(
        &mut self,
        challenge: &[u8],
        document: &[u8],
        number: &str,
        spoil: bool,
    ) -> (device::Result, device::State) {
        let statement = Answer {
            challenge: document,
            device: self.id,
            decision: AnswerDecision::Approve,
            number,
            user_verified: false,
            counter: 1,
        };
        let mut signature = statement.sign(&self.key);
        signature[0] ^= u8::from(spoil);
        let answer = client_frame::Frame::Answer(device::Answer {
            challenge: challenge.to_vec().into(),
            decision: device::Decision::Approve.into(),
            number: number.to_owned(),
            user_verified: false,
            counter: 1,
            signature: signature.to_vec().into(),
        });
        self.out.send(&ws::message(&bytes::to_server(answer), true));
        let server_frame::Frame::AnswerResult(told) = self.hear().await else { panic!("no reply") };
        (told.result(), told.state())
    }

    /// One call of a page's.
    async fn call(&self, path: &str, key: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let stream = TcpStream::connect(self.host).await.expect("connected");
        let (mut incoming, out) = socket::open(stream).expect("split");
        out.send(&http::ask(&self.host.to_string(), path, key, body));
        let mut got = None;
        while got.is_none() {
            let more = incoming.read(|data| {
                let Some((response, len)) = http::response(data)? else { return Ok(None) };
                got = Some((response.status, response.body.to_vec()));
                Ok(Some(len))
            });
            assert!(more.await.expect("a reply"), "it hung up");
        }
        got.expect("a reply")
    }

    /// Creates a challenge and gives its id, its number and the bytes that the device is shown.
    async fn asked(&mut self) -> (String, String, Vec<u8>) {
        let body = serde_json::json!({
            "user": self.user,
            "context": {"browser_session": "a-session", "ip": "198.18.0.1"},
        });
        let body = body.to_string();
        let (status, reply) = self.call(CHALLENGES, API_KEY, body.as_bytes()).await;
        assert_eq!(status, 200);
        let reply: serde_json::Value = serde_json::from_slice(&reply).expect("JSON");
        let server_frame::Frame::Prompt(prompt) = self.hear().await else { panic!("no prompt") };
        let text = |name: &str| reply[name].as_str().expect("a text").to_owned();
        (text("id"), text("number"), prompt.challenge.to_vec())
    }
}

#[tokio::test]
async fn what_must_not_be_is_refused_and_counted() {
    let host = start(Kind::Ceremony);
    let mut rogue = Rogue::enrol(host).await;
    let (id, number, document) = rogue.asked().await;
    let challenge = id.parse::<statement::ChallengeId>().expect("an id").as_bytes().to_vec();
    let redeem = |session: &str| {
        let body = RedeemChallenge { browser_session: session.to_owned(), return_code: None };
        serde_json::to_vec(&body).expect("JSON")
    };
    let path = format!("{CHALLENGES}/{id}/redeem");
    assert_eq!(rogue.call(&path, API_KEY, &redeem("a-session")).await.0, 409, "too early");

    let refused = (device::Result::Refused, device::State::Unspecified);
    assert_eq!(rogue.answer(&challenge, &document, &number, true).await, refused, "forged");
    assert_eq!(rogue.answer(&challenge, b"other", &number, false).await, refused, "other bytes");
    assert_eq!(rogue.answer(&[7; 24], &document, &number, false).await, refused, "unknown");
    let approved = (device::Result::Settled, device::State::Approved);
    assert_eq!(rogue.answer(&challenge, &document, &number, false).await, approved);
    assert_eq!(rogue.answer(&challenge, &document, "0", false).await, approved, "decided before");

    assert_eq!(rogue.call(&path, API_KEY, &redeem("another")).await.0, 409, "another browser");
    let (status, redeemed) = rogue.call(&path, API_KEY, &redeem("a-session")).await;
    assert_eq!(status, 200);
    let redeemed: wire::rest::Redeemed = serde_json::from_slice(&redeemed).expect("JSON");
    assert!(receipt::parses(&redeemed.receipt, &id));
    assert_eq!(rogue.call(&path, API_KEY, &redeem("a-session")).await.0, 409, "once only");

    assert_eq!(rogue.call(CHALLENGES, "csk_wrong", b"{}").await.0, 401);
    assert_eq!(rogue.call(CHALLENGES, API_KEY, b"{}").await.0, 400);
    assert_eq!(rogue.call("/nothing", API_KEY, b"{}").await.0, 404);

    let counts = people::counts(host).await.expect("counted");
    assert_eq!((counts.created, counts.verified, counts.settled), (1, 2, 1));
    assert_eq!((counts.refused, counts.already, counts.redeemed), (3, 1, 1));
    assert_eq!((counts.redeem_refused, counts.bad_requests), (3, 3));
}

#[tokio::test]
async fn a_wrong_number_decides_and_doesnt_approve() {
    let host = start(Kind::Ceremony);
    let mut rogue = Rogue::enrol(host).await;
    let (id, number, document) = rogue.asked().await;
    let challenge = id.parse::<statement::ChallengeId>().expect("an id").as_bytes().to_vec();
    let wrong = if number == "000000" { "111111" } else { "000000" };
    let mismatch = (device::Result::Settled, device::State::Mismatch);
    assert_eq!(rogue.answer(&challenge, &document, wrong, false).await, mismatch);
    assert_eq!(rogue.answer(&challenge, &document, &number, false).await, mismatch, "once");
    let (_, polled) = rogue.call(&format!("{CHALLENGES}/{id}?wait=25"), API_KEY, b"").await;
    let polled: wire::rest::Challenge = serde_json::from_slice(&polled).expect("JSON");
    assert_eq!(polled.state, wire::rest::State::Mismatch);
}
