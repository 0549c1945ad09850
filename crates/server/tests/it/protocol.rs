//! What the device gateway is sent by those who don't mean it well: each gets a clear refusal, and a sign-in
//! works afterwards.

use std::net::SocketAddr;

use authenticator_native::{Account, Client, Event, Reconnect, Stop};
use prost::Message as _;
use serde_json::{Value, json};
use statement::{AnswerDecision, EnrolClaim, SigningKey, ticket_secret_hash};
use wire::device::client_frame::Frame as Up;
use wire::device::server_frame::Frame as Down;
use wire::device::{self, ClientFrame, Pull, enrol_claim};

use crate::child::{Asked, ask, state};
use crate::socket::{
    BINARY, CONTINUATION, Incoming, PING, PROTOCOL, Socket, TEXT, hello, login, masked, nonce,
};
use crate::world::{Witness, World};

const MALFORMED: u16 = 4400;
const UNREADABLE: &str = "not a valid WebSocket message of at most 8192 bytes";
const NOT_A_FRAME: &str = "frame: not a ClientFrame";
const TICKET_REFUSED: &str = "ticket refused: used, expired, cancelled, unknown, or a wrong number";

fn encoded(frame: Up) -> Vec<u8> {
    ClientFrame { frame: Some(frame) }.encode_to_vec()
}

/// A frame that announces a length and brings nothing.
fn announced(length: u64) -> Vec<u8> {
    let mut bytes = vec![0x80 | BINARY, 0x80 | 127];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// What is sent first on a new connection, and the refusal.
fn bad_first_bytes() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let whole = encoded(hello(1, 1));
    let agent = |agent: &str| {
        let hello = device::ClientHello { min_version: 1, max_version: 1, agent: agent.to_owned() };
        masked(true, BINARY, &encoded(Up::Hello(hello)))
    };
    let long = "x".repeat(65);
    let said = "hello.agent: at most 64 plain characters expected";
    let versions = "supported versions: 1 to 1";
    let version = |min, max| masked(true, BINARY, &encoded(hello(min, max)));
    let kilobyte = [0; 1024];
    let mut endless = masked(false, BINARY, &kilobyte);
    endless.extend(masked(false, CONTINUATION, &kilobyte).repeat(20));
    vec![
        ("too long", masked(true, BINARY, &[0; 8193]), MALFORMED, UNREADABLE),
        ("64 KiB", masked(true, BINARY, &[0; 65_536]), MALFORMED, UNREADABLE),
        ("2^62 announced", announced(1 << 62), MALFORMED, UNREADABLE),
        ("2^64 announced", announced(u64::MAX), MALFORMED, UNREADABLE),
        ("not a frame", masked(true, BINARY, &[255; 8192]), MALFORMED, NOT_A_FRAME),
        ("cut off", masked(true, BINARY, &whole[..whole.len() - 1]), MALFORMED, NOT_A_FRAME),
        ("empty", masked(true, BINARY, &[]), MALFORMED, "frame: empty, or of an unknown kind"),
        (
            "text",
            masked(true, TEXT, b"hello"),
            MALFORMED,
            "text message: this protocol has binary messages only",
        ),
        ("garbage text", masked(true, TEXT, &[0xff, 0xfe, 0xc0]), MALFORMED, UNREADABLE),
        ("unmasked", vec![0x80 | BINARY, 1, 0], MALFORMED, UNREADABLE),
        ("reserved bits", vec![0xf0 | BINARY, 0x80, 0, 0, 0, 0], MALFORMED, UNREADABLE),
        ("reserved opcode", masked(true, 3, b"x"), MALFORMED, UNREADABLE),
        ("reserved control", masked(true, 11, b"x"), MALFORMED, UNREADABLE),
        ("continues nothing", masked(true, CONTINUATION, b"x"), MALFORMED, UNREADABLE),
        ("ping in fragments", masked(false, PING, b"x"), MALFORMED, UNREADABLE),
        ("long ping", masked(true, PING, &[0; 126]), MALFORMED, UNREADABLE),
        ("never ends", endless, MALFORMED, UNREADABLE),
        ("control in agent", agent("a\u{0}b"), MALFORMED, said),
        ("bidi in agent", agent("a\u{202e}b"), MALFORMED, said),
        ("mark in agent", agent("a\u{61c}b"), MALFORMED, said),
        ("long agent", agent(&long), MALFORMED, said),
        ("later versions", version(2, 9), 4406, versions),
        ("earlier versions", version(0, 0), 4406, versions),
        ("no version", version(9, 1), 4406, versions),
        (
            "pull first",
            masked(true, BINARY, &encoded(Up::Pull(Pull {}))),
            MALFORMED,
            "hello expected first",
        ),
        ("pings", masked(true, PING, b"").repeat(30), 4429, "too many frames: slow down"),
        ("pongs", masked(true, 10, b"").repeat(30), 4429, "too many frames: slow down"),
    ]
}

#[tokio::test]
async fn a_bad_start_is_refused_by_name() {
    let world = World::new("protocol-start").await;
    let mut witness = Witness::new(&world).await;
    for (what, bytes, code, reason) in bad_first_bytes() {
        let mut socket = Socket::connect(world.address()).await;
        socket.bytes(&bytes).await;
        assert_eq!(socket.closed().await, (code, reason.to_owned()), "{what}");
        witness.signs_in(&world).await;
    }
}

#[tokio::test]
async fn an_upgrade_is_refused_before_anything_is_kept() {
    let world = World::new("protocol-upgrade").await;
    let mut witness = Witness::new(&world).await;
    let address = world.address();
    for (headers, status, code) in [
        (&[][..], 400, "malformed_request"),
        (&[("Sec-WebSocket-Protocol", "chat")][..], 400, "malformed_request"),
        (&[PROTOCOL, ("Origin", "https://evil.example")], 403, "foreign_origin"),
        (&[PROTOCOL, ("Origin", "null")], 403, "foreign_origin"),
        (&[PROTOCOL, ("Origin", "http://localhost:1")], 403, "foreign_origin"),
    ] {
        let refusal = Socket::upgrade(address, headers).await.err().unwrap();
        assert_eq!(refusal.status, status, "{headers:?}");
        let problem: Value = serde_json::from_str(&refusal.body).unwrap();
        assert_eq!(problem["code"], code, "{headers:?}");
        witness.signs_in(&world).await;
    }
    let plain = world.rest.send("", "GET", "/device", &Value::Null).await;
    assert_eq!(plain.outcome(), "400 malformed_request");
    let posted = world.rest.send("", "POST", "/device", &json!({})).await;
    assert_eq!(posted.outcome(), "405 method_not_allowed");
}

#[tokio::test]
async fn one_address_gets_few_places_whatever_its_headers_say() {
    let world = World::new("protocol-places").await;
    let mut witness = Witness::new(&world).await;
    let mut held = Vec::new();
    let refusal = loop {
        let forged = format!("198.51.100.{}", held.len());
        let headers = [PROTOCOL, ("X-Forwarded-For", forged.as_str())];
        match Socket::upgrade(world.address(), &headers).await {
            Ok(socket) => held.push(socket),
            Err(refusal) => break refusal,
        }
        assert!(held.len() <= 64, "places for strangers are bounded per address");
    };
    assert_eq!(refusal.status, 429, "{refusal:?}");
    witness.signs_in(&world).await;
    drop(held);
}

/// The refusal of `frames`, sent after a login.
async fn after_login(address: SocketAddr, account: &Account, frames: &[u8]) -> (u16, String) {
    let mut socket = Socket::log_in(address, account).await;
    socket.bytes(frames).await;
    socket.closed().await
}

#[tokio::test]
async fn every_frame_has_its_place() {
    let world = World::new("protocol-states").await;
    let mut witness = Witness::new(&world).await;
    let address = world.address();
    let account = world.enrolled("alice").await;
    let answer = Up::Answer(device::Answer {
        challenge: vec![1; 24].into(),
        decision: device::Decision::Deny.into(),
        number: String::new(),
        user_verified: false,
        counter: 1,
        signature: vec![1; 64].into(),
    });

    let mut socket = Socket::connect(address).await;
    socket.send(answer.clone()).await;
    assert_eq!(socket.closed().await, (MALFORMED, "hello expected first".to_owned()));
    witness.signs_in(&world).await;

    for early in [answer, Up::Pull(Pull {}), hello(1, 1)] {
        let (mut socket, _) = Socket::greet(address).await;
        socket.send(early).await;
        let expected = (MALFORMED, "login or enrol_claim expected".to_owned());
        assert_eq!(socket.closed().await, expected);
        witness.signs_in(&world).await;
    }

    let (mut socket, greeting) = Socket::greet(address).await;
    socket.send(login(&greeting, &account)).await;
    assert!(matches!(socket.next().await, Incoming::Frame(Down::Welcome(_))));
    socket.send(login(&greeting, &account)).await;
    let expected = (MALFORMED, "answer, pull, rebind_totp or notices_seen expected".to_owned());
    assert_eq!(socket.closed().await, expected, "login twice");
    let again = masked(true, BINARY, &encoded(hello(1, 1)));
    assert_eq!(after_login(address, &account, &again).await, expected, "hello twice");
    witness.signs_in(&world).await;

    let pulls = masked(true, BINARY, &encoded(Up::Pull(Pull {}))).repeat(40);
    let (code, reason) = after_login(address, &account, &pulls).await;
    assert_eq!((code, reason.as_str()), (4429, "too many frames: slow down"));
    witness.signs_in(&world).await;
    let broken = masked(true, BINARY, &[0x2a, 0xff]);
    let (code, reason) = after_login(address, &account, &broken).await;
    assert_eq!((code, reason.as_str()), (MALFORMED, NOT_A_FRAME));
    witness.signs_in(&world).await;
}

#[tokio::test]
async fn a_message_in_single_bytes_is_the_same_message() {
    let world = World::new("protocol-fragments").await;
    let mut witness = Witness::new(&world).await;
    let account = world.enrolled("alice").await;
    let mut socket = Socket::connect(world.address()).await;
    send_in_bytes(&mut socket, &encoded(hello(1, 1))).await;
    let Incoming::Frame(Down::Hello(greeting)) = socket.next().await else { panic!("no hello") };
    // a ping between fragments is allowed (RFC 6455 §5.4)
    let bytes = encoded(login(&greeting, &account));
    socket.frame(false, BINARY, &bytes[..10]).await;
    socket.frame(true, PING, b"x").await;
    socket.frame(true, CONTINUATION, &bytes[10..]).await;
    assert!(matches!(socket.next().await, Incoming::Frame(Down::Welcome(_))));
    witness.signs_in(&world).await;

    // the longest message that is read, in as many frames as it has bytes
    let mut socket = Socket::connect(world.address()).await;
    send_in_bytes(&mut socket, &[255; 8192]).await;
    assert_eq!(socket.closed().await, (MALFORMED, NOT_A_FRAME.to_owned()));
    witness.signs_in(&world).await;
}

async fn send_in_bytes(socket: &mut Socket, message: &[u8]) {
    let mut frames = Vec::new();
    for (at, byte) in message.iter().enumerate() {
        let opcode = if at == 0 { BINARY } else { CONTINUATION };
        frames.extend(masked(at + 1 == message.len(), opcode, &[*byte]));
    }
    socket.bytes(&frames).await;
}

/// Takes as long as the deadlines that it waits for: ten seconds.
#[tokio::test]
async fn who_says_nothing_is_cut_off() {
    let world = World::new("protocol-silence").await;
    let mut witness = Witness::new(&world).await;
    let mut silent = Socket::connect(world.address()).await;
    let (mut greeted, _) = Socket::greet(world.address()).await;
    // a message that goes on for ever, and never grows
    let mut empty = Socket::connect(world.address()).await;
    empty.frame(false, BINARY, &[]).await;
    let nothing = masked(false, CONTINUATION, &[]).repeat(1000);
    while empty.bytes(&nothing).await {}
    let closed = (4408, "no hello within 5 seconds".to_owned());
    assert_eq!(silent.closed().await, closed);
    witness.signs_in(&world).await;
    let closed = (4408, "no login or enrol_claim within 10 seconds".to_owned());
    assert_eq!(greeted.closed().await, closed);
    witness.signs_in(&world).await;
}

#[tokio::test]
async fn a_newer_connection_takes_over_for_good() {
    let world = World::new("protocol-replaced").await;
    let mut witness = Witness::new(&world).await;
    let account = world.enrolled("alice").await;
    let mut older = Socket::log_in(world.address(), &account).await;
    let mut session = Client::new("test").connect(account.clone(), Reconnect::Forever);
    let replaced = "replaced by a newer connection of this device".to_owned();
    assert_eq!(older.closed().await, (4409, replaced));
    // the native client was let in; now it is replaced, and stays away by itself
    let newest = Socket::log_in(world.address(), &account).await;
    let mut stopped = None;
    let events = async {
        while let Some((_, event)) = session.events.recv().await {
            if let Event::Stopped(why) = event {
                stopped = Some(why);
            }
        }
    };
    tokio::time::timeout(crate::socket::PATIENCE, events).await.expect("the session must end");
    session.task.await.unwrap();
    assert_eq!(stopped, Some(Stop::Replaced));
    approve(&world, newest, &account).await;
    witness.signs_in(&world).await;
}

/// A challenge that rings on `socket` is approved there.
async fn approve(world: &World, mut socket: Socket, account: &Account) {
    let asked = ask(&world.own, &account.user, "approve").await;
    let document = prompt(&mut socket).await;
    let right = answer(account, &document, AnswerDecision::Approve, &asked.number);
    assert_eq!(told(&mut socket, right).await, device::Result::Settled);
    assert_eq!(state(&world.own, &asked).await, "approved");
}

async fn prompt(socket: &mut Socket) -> Vec<u8> {
    match socket.next_of_note().await {
        Incoming::Frame(Down::Prompt(prompt)) => prompt.challenge.to_vec(),
        other => panic!("no prompt: {other:?}"),
    }
}

/// Sends an answer; what became of it.
async fn told(socket: &mut Socket, answer: device::Answer) -> device::Result {
    socket.send(Up::Answer(answer)).await;
    loop {
        match socket.next_of_note().await {
            Incoming::Frame(Down::AnswerResult(result)) => return result.result(),
            Incoming::Frame(Down::Settled(_) | Down::Prompt(_)) => {}
            other => panic!("no result: {other:?}"),
        }
    }
}

fn answer(
    account: &Account,
    document: &[u8],
    decision: AnswerDecision,
    number: &str,
) -> device::Answer {
    let counter = account.counter + 1;
    let statement = statement::Answer {
        challenge: document,
        device: account.device,
        decision,
        number,
        user_verified: false,
        counter,
    };
    let id = device::Challenge::decode(document).unwrap().id;
    device::Answer {
        challenge: id,
        decision: decision as i32,
        number: number.to_owned(),
        user_verified: false,
        counter,
        signature: statement.sign(&account.seed.key()).to_vec().into(),
    }
}

#[tokio::test]
async fn a_ticket_is_used_once() {
    let world = World::new("protocol-tickets").await;
    let mut witness = Witness::new(&world).await;
    let address = world.address();
    for (user, confirms) in [("alice", true), ("bob", false)] {
        let put = world.own.send("PUT", &format!("/v1/users/name:{user}"), Value::Null).await;
        assert_eq!(put.unwrap().status, 201);
        let tickets = format!("/v1/users/name:{user}/tickets");
        let ticket = world.own.send("POST", &tickets, json!({})).await.unwrap();
        let link: statement::EnrolLink = ticket.text("link").parse().unwrap();
        let (mut first, greeting) = Socket::greet(address).await;
        first.send(claim(&link, &greeting, 1)).await;
        assert!(matches!(first.next().await, Incoming::Frame(Down::EnrolPending(_))));
        let refused = (4410, TICKET_REFUSED.to_owned());
        // while it is held, and when it was used or spoiled
        for held in [true, false] {
            if !held {
                let shown = format!("{tickets}/{}", ticket.text("ticket"));
                let number = world.get(&shown).await["number"].as_str().unwrap().to_owned();
                let asked = Asked { number, id: String::new(), session: String::new() };
                let number = if confirms { asked.number.clone() } else { asked.wrong_number() };
                first.send(confirm(&link, &greeting, &number)).await;
                if confirms {
                    assert!(matches!(first.next().await, Incoming::Frame(Down::Enrolled(_))));
                } else {
                    assert_eq!(first.closed().await, refused);
                }
            }
            let (mut second, greeting) = Socket::greet(address).await;
            second.send(claim(&link, &greeting, 2)).await;
            assert_eq!(second.closed().await, refused, "{user} {held}");
            witness.signs_in(&world).await;
        }
        let devices = world.get(&format!("/v1/users/name:{user}/devices")).await;
        assert_eq!(devices["data"].as_array().unwrap().len(), usize::from(confirms));
    }
}

fn claim(link: &statement::EnrolLink, greeting: &device::ServerHello, seed: u8) -> Up {
    let key = SigningKey::from_seed(&[seed; 32]);
    let hash = ticket_secret_hash(link.secret.as_slice());
    let nonce = nonce(greeting);
    let claim = EnrolClaim { ticket: &hash, server: &link.identity, nonce: &nonce };
    Up::EnrolClaim(device::EnrolClaim {
        algorithm: 1,
        public_key: key.public().as_bytes().to_vec().into(),
        device_name: "phone".to_owned(),
        signature: claim.sign(&key).to_vec().into(),
        proof: Some(enrol_claim::Proof::Secret(link.secret.to_vec().into())),
    })
}

fn confirm(link: &statement::EnrolLink, greeting: &device::ServerHello, number: &str) -> Up {
    let key = SigningKey::from_seed(&[1; 32]);
    let hash = ticket_secret_hash(link.secret.as_slice());
    let nonce = nonce(greeting);
    let signed = statement::EnrolConfirm { ticket: &hash, nonce: &nonce, number }.sign(&key);
    let (number, signature) = (number.to_owned(), signed.to_vec().into());
    Up::EnrolConfirm(device::EnrolConfirm { number, signature })
}

#[tokio::test]
async fn a_signature_is_worth_nothing_elsewhere() {
    let world = World::new("protocol-replay").await;
    let mut witness = Witness::new(&world).await;
    let address = world.address();
    let (alice, mallory) = (world.enrolled("alice").await, world.enrolled("mallory").await);
    let (mut socket, greeting) = Socket::greet(address).await;
    let Up::Login(logged_in) = login(&greeting, &alice) else { panic!("not a login") };
    socket.send(Up::Login(logged_in.clone())).await;
    assert!(matches!(socket.next().await, Incoming::Frame(Down::Welcome(_))));
    let asked = ask(&world.own, "alice", "replay").await;
    let document = prompt(&mut socket).await;

    let right = answer(&alice, &document, AnswerDecision::Approve, &asked.number);
    let denial = answer(&alice, &document, AnswerDecision::Deny, "");
    let key = alice.seed.key();
    let hash = statement::sha256(&[&document]);
    let enrolment = EnrolClaim { ticket: &hash, server: &alice.identity, nonce: &hash }.sign(&key);
    let confirmation =
        statement::EnrolConfirm { ticket: &hash, nonce: &hash, number: &asked.number }.sign(&key);
    let others = answer(&mallory, &document, AnswerDecision::Approve, &asked.number);
    for (what, signature) in [
        ("a login's", logged_in.signature.clone()),
        ("a claim's", enrolment.to_vec().into()),
        ("a confirmation's", confirmation.to_vec().into()),
        ("a denial's", denial.signature),
        ("another device's", others.signature.clone()),
        ("nobody's", vec![0; 64].into()),
    ] {
        let forged = device::Answer { signature, ..right.clone() };
        assert_eq!(told(&mut socket, forged).await, device::Result::Refused, "{what}");
        assert_eq!(state(&world.own, &asked).await, "pending", "{what}");
        witness.signs_in(&world).await;
    }
    // her own signature, on a challenge of another's
    let mut mallorys = Socket::log_in(address, &mallory).await;
    assert_eq!(told(&mut mallorys, others).await, device::Result::Refused);
    // another number than the one that was signed
    let moved = device::Answer { number: asked.wrong_number(), ..right.clone() };
    assert_eq!(told(&mut socket, moved).await, device::Result::Refused);
    assert_eq!(state(&world.own, &asked).await, "pending");

    // a login on another connection, by an answer, and in another's name
    let Up::Login(of_another) = login(&greeting, &mallory) else { panic!("not a login") };
    for (signature, device) in [
        (logged_in.signature.clone(), &alice),
        (right.signature.clone(), &alice),
        (of_another.signature, &alice),
        (logged_in.signature.clone(), &mallory),
    ] {
        let (mut elsewhere, _) = Socket::greet(address).await;
        let id = device.device.as_bytes().to_vec().into();
        let stolen = device::Login { signature, device: id, ..logged_in.clone() };
        elsewhere.send(Up::Login(stolen)).await;
        assert_eq!(elsewhere.closed().await, (4401, "login refused".to_owned()));
        witness.signs_in(&world).await;
    }
    assert_eq!(told(&mut socket, right).await, device::Result::Settled);
    assert_eq!(state(&world.own, &asked).await, "approved");
}

#[tokio::test]
async fn a_revoked_device_is_told_and_stays_out() {
    let world = World::new("protocol-revoked").await;
    let mut witness = Witness::new(&world).await;
    let account = world.enrolled("alice").await;
    let mut socket = Socket::log_in(world.address(), &account).await;
    let path = format!("/v1/users/name:alice/devices/{}", account.device);
    assert_eq!(world.own.send("DELETE", &path, Value::Null).await.unwrap().status, 200);
    assert_eq!(socket.closed().await, (4403, "this device was revoked".to_owned()));
    let (mut socket, greeting) = Socket::greet(world.address()).await;
    socket.send(login(&greeting, &account)).await;
    assert_eq!(socket.closed().await, (4401, "login refused".to_owned()));
    witness.signs_in(&world).await;
}
