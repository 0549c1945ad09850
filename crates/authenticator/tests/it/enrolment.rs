//! From a ticket to an account, frame by frame.

use crate::common::{Server, decode, encode};
use authenticator::{EnrolError, EnrolEvent, Enrolment, Fault, KeySeed, Output, Ticket};
use prost::bytes::Bytes;
use statement::{
    EnrolClaim, EnrolConfirm, EnrolLink, SigningKey, crockford, fingerprint, ticket_code_hash,
    ticket_secret_hash,
};
use wire::device::{self as proto, client_frame, enrol_claim, server_frame};

const SEED: [u8; 32] = [21; 32];

fn link(server: &Server) -> Ticket {
    Ticket::Link(EnrolLink {
        server: "https://mfa.example.org".parse().expect("an address"),
        secret: [22; 16].into(),
        identity: server.identity.public().identity_hash(),
    })
}

fn enrolment(ticket: Ticket) -> Enrolment {
    let mut core = Enrolment::new(ticket, KeySeed::ed25519(SEED), "laptop", "test");
    core.open();
    assert!(matches!(sent(&mut core), Some(client_frame::Frame::Hello(_))));
    core
}

fn sent(core: &mut Enrolment) -> Option<client_frame::Frame> {
    match core.poll_output() {
        Some(Output::Send(frame)) => Some(decode(frame.into())),
        _ => None,
    }
}

fn told(core: &mut Enrolment) -> EnrolEvent {
    match core.poll_output() {
        Some(Output::Event(event)) => event,
        other => panic!("an event expected, not {other:?}"),
    }
}

fn hello(core: &mut Enrolment, server: &Server) {
    core.on_frame(&encode(server_frame::Frame::Hello(server.hello())));
}

fn pending(core: &mut Enrolment, digits: u32) {
    core.on_frame(&encode(server_frame::Frame::EnrolPending(proto::EnrolPending { digits })));
}

fn enrolled(core: &mut Enrolment) {
    core.on_frame(&encode(server_frame::Frame::Enrolled(proto::Enrolled {
        tenant: Bytes::from_static(&[4; 16]),
        device: Bytes::from_static(&[5; 16]),
        user: "alice".to_owned(),
        organisation: String::new(),
        totp: Some(proto::Totp {
            secret: Bytes::from_static(b"12345678901234567890"),
            algorithm: "SHA1".to_owned(),
            digits: 6,
            period_s: 30,
        }),
    })));
}

#[test]
fn a_link_ends_in_an_account() {
    let server = Server::new();
    let key = SigningKey::from_seed(&SEED);
    let mut core = enrolment(link(&server));
    hello(&mut core, &server);
    let Some(client_frame::Frame::EnrolClaim(claim)) = sent(&mut core) else { panic!("a claim") };
    let ticket = ticket_secret_hash(&[22; 16]);
    let identity = server.identity.public().identity_hash();
    EnrolClaim { ticket: &ticket, server: &identity, nonce: &server.nonce }
        .verify(key.public(), &claim.signature)
        .expect("verifies");
    assert_eq!(claim.public_key, key.public().as_bytes());

    pending(&mut core, 6);
    assert!(matches!(told(&mut core), EnrolEvent::Number { digits: 6 }));
    core.confirm_number("12345").expect_err("too short: asked again");
    assert!(sent(&mut core).is_none());
    core.confirm_number("123 456").expect("taken");
    let Some(client_frame::Frame::EnrolConfirm(confirm)) = sent(&mut core) else { panic!("sent") };
    EnrolConfirm { ticket: &ticket, nonce: &server.nonce, number: "123456" }
        .verify(key.public(), &confirm.signature)
        .expect("verifies");

    enrolled(&mut core);
    let EnrolEvent::Enrolled(account) = told(&mut core) else { panic!("an account") };
    assert_eq!(account.name, "alice@mfa.example.org");
    assert_eq!((account.identity, account.counter), (identity, 0));
    assert_eq!(account.seed.key().public(), key.public());
    assert!(account.totp.is_some() && matches!(core.poll_output(), Some(Output::Close(1000))));
}

#[test]
fn without_a_number_nobody_is_asked() {
    let server = Server::new();
    let mut core = enrolment(link(&server));
    hello(&mut core, &server);
    sent(&mut core);
    pending(&mut core, 0);
    let Some(client_frame::Frame::EnrolConfirm(confirm)) = sent(&mut core) else { panic!("sent") };
    assert_eq!(confirm.number, "");
    enrolled(&mut core);
    assert!(matches!(told(&mut core), EnrolEvent::Enrolled(_)));
}

#[test]
fn a_code_asks_who_the_server_is_first() {
    let server = Server::new();
    let identity = server.identity.public().identity_hash();
    let url = "https://mfa.example.org".parse().expect("an address");
    let ticket = Ticket::from_code(url, " alice ", "k9t0-2xq7").expect("a code");
    let mut core = enrolment(ticket);
    hello(&mut core, &server);
    let EnrolEvent::ConfirmServer { fingerprint: shown } = told(&mut core) else { panic!("asked") };
    assert_eq!(shown, fingerprint(&identity));
    assert!(matches!(core.poll_output(), Some(Output::Close(_))));
    core.confirm_server();
    core.open();
    sent(&mut core);
    hello(&mut core, &server);
    let Some(client_frame::Frame::EnrolClaim(claim)) = sent(&mut core) else { panic!("a claim") };
    let Some(enrol_claim::Proof::Code(typed)) = &claim.proof else { panic!("by code") };
    assert_eq!((typed.user.as_str(), typed.code.as_str()), ("alice", "K9T02XQ7"));
    let ticket = ticket_code_hash("alice", &crockford::decode("K9T02XQ7").expect("a code"));
    EnrolClaim { ticket: &ticket, server: &identity, nonce: &server.nonce }
        .verify(SigningKey::from_seed(&SEED).public(), &claim.signature)
        .expect("verifies");
}

#[test]
fn another_server_than_confirmed_or_linked_gets_nothing() {
    let server = Server::new();
    let rogue = Server { identity: SigningKey::from_seed(&[99; 32]), ..Server::new() };
    let mut by_link = enrolment(link(&server));
    hello(&mut by_link, &rogue);
    let url = "https://mfa.example.org".parse().expect("an address");
    let ticket = Ticket::from_code(url, "alice", "K9T02XQ7").expect("a code");
    let mut by_code = enrolment(ticket);
    hello(&mut by_code, &server);
    while by_code.poll_output().is_some() {}
    by_code.confirm_server();
    by_code.open();
    sent(&mut by_code);
    hello(&mut by_code, &rogue);
    for mut core in [by_link, by_code] {
        assert!(matches!(told(&mut core), EnrolEvent::Fault(Fault::WrongServer)));
        assert!(matches!(core.poll_output(), Some(Output::Close(_))));
        assert!(core.poll_output().is_none());
    }
}

#[test]
fn frames_out_of_order_and_odd_secrets_are_refused() {
    let server = Server::new();
    let mut early = enrolment(link(&server));
    enrolled(&mut early);
    let mut many = enrolment(link(&server));
    hello(&mut many, &server);
    sent(&mut many);
    pending(&mut many, 9);
    for mut core in [early, many] {
        assert!(matches!(told(&mut core), EnrolEvent::Fault(Fault::Malformed)));
    }
}

#[test]
fn a_close_says_why() {
    let reason = || "why".to_owned();
    for (code, error) in [
        (Some(4410), EnrolError::Ticket { reason: reason() }),
        (Some(4401), EnrolError::Refused { reason: reason() }),
        (Some(4406), EnrolError::Version { supported: reason() }),
        (Some(4429), EnrolError::TooMany),
        (Some(4503), EnrolError::Unavailable),
        (None, EnrolError::Lost),
        (Some(1006), EnrolError::Lost),
    ] {
        assert_eq!(EnrolError::from_close(code, "why\u{7}"), error);
    }
}
