//! A server's half of the frames, made by hand: enough to talk to the core without one.

use std::time::Duration;

use authenticator::{Account, Connection, Event, KeySeed, Output};
use prost::Message as _;
use prost::bytes::Bytes;
use statement::{
    Certificate, ChallengeId, DeviceId, SignedChallenge, SigningKey, TenantId, Timestamp,
};
use wire::device::{self as proto, client_frame, server_frame};

/// Keys that never change, so that what is signed with them doesn't either.
pub(crate) struct Server {
    pub(crate) identity: SigningKey,
    pub(crate) signer: SigningKey,
    pub(crate) nonce: [u8; 32],
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            identity: SigningKey::from_seed(&[1; 32]),
            signer: SigningKey::from_seed(&[2; 32]),
            nonce: [3; 32],
        }
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Certificate {
            key: self.signer.public().clone(),
            not_before: Timestamp::from_millis(1_700_000_000_000),
            not_after: Timestamp::from_millis(1_800_000_000_000),
        }
    }

    pub(crate) fn hello(&self) -> proto::ServerHello {
        let certificate = self.certificate();
        proto::ServerHello {
            version: proto::VERSION,
            nonce: Bytes::copy_from_slice(&self.nonce),
            identity: Some(public(&self.identity)),
            certificates: vec![proto::Certificate {
                key: Some(public(&self.signer)),
                not_before_ms: certificate.not_before.millis(),
                not_after_ms: certificate.not_after.millis(),
                signature: Bytes::copy_from_slice(&certificate.sign(&self.identity)),
            }],
        }
    }

    /// A signed prompt for `challenge`.
    pub(crate) fn prompt(&self, challenge: &proto::Challenge) -> proto::Prompt {
        let bytes = challenge.encode_to_vec();
        proto::Prompt {
            signature: Bytes::copy_from_slice(&SignedChallenge(&bytes).sign(&self.signer)),
            challenge: bytes.into(),
            certificate: 0,
            alert: true,
            remaining_ms: 60_000,
        }
    }
}

fn public(key: &SigningKey) -> proto::PublicKey {
    proto::PublicKey {
        algorithm: u32::from(key.public().algorithm() as u8),
        key: Bytes::copy_from_slice(key.public().as_bytes()),
    }
}

pub(crate) fn account(server: &Server) -> Account {
    Account {
        name: "alice@mfa.example.org".to_owned(),
        server: "https://mfa.example.org".parse().expect("an address"),
        tenant: TenantId::from_bytes([4; 16]),
        device: DeviceId::from_bytes([5; 16]),
        user: "alice".to_owned(),
        organisation: String::new(),
        device_name: "laptop".to_owned(),
        identity: server.identity.public().identity_hash(),
        seed: KeySeed::ed25519([6; 32]),
        counter: 41,
        totp: None,
        roots: Vec::new(),
    }
}

pub(crate) fn id(n: u8) -> ChallengeId {
    ChallengeId::new(Timestamp::from_millis(1_750_000_000_000 + u64::from(n)), 7, [n; 16])
}

pub(crate) fn challenge(n: u8) -> proto::Challenge {
    proto::Challenge {
        id: Bytes::copy_from_slice(id(n).as_bytes()),
        tenant: Bytes::from_static(&[4; 16]),
        integration: Bytes::from_static(&[8; 16]),
        integration_name: "VPN".to_owned(),
        user: Bytes::from_static(&[9; 16]),
        user_name: "alice".to_owned(),
        origin: "https://vpn.example.org".to_owned(),
        browser_session: Bytes::from_static(&[10; 32]),
        created_ms: 1_750_000_000_000,
        expires_ms: 1_750_000_090_000,
        nonce: Bytes::from_static(&[11; 32]),
        purpose: proto::Purpose::SignIn.into(),
        digits: 6,
        context: Some(proto::Context {
            address: "203.0.113.9".to_owned(),
            browser: "Firefox on Linux".to_owned(),
            place: "Berlin, DE".to_owned(),
        }),
        details: vec![proto::Detail { label: "Amount".to_owned(), value: "20 EUR".to_owned() }],
    }
}

pub(crate) fn encode(frame: server_frame::Frame) -> Vec<u8> {
    proto::ServerFrame { frame: Some(frame) }.encode_to_vec()
}

/// What a core wanted done.
#[derive(Debug)]
pub(crate) enum Did {
    Sent(client_frame::Frame),
    Event(Event),
    Closed(u16),
}

pub(crate) fn drain(core: &mut Connection) -> Vec<Did> {
    std::iter::from_fn(|| core.poll_output())
        .map(|output| match output {
            Output::Send(frame) => Did::Sent(decode(frame.into())),
            Output::Event(event) => Did::Event(event),
            Output::Close(code) => Did::Closed(code),
        })
        .collect()
}

pub(crate) fn decode(frame: Vec<u8>) -> client_frame::Frame {
    let frame = proto::ClientFrame::decode(frame.as_slice()).expect("a client frame");
    frame.frame.expect("a frame of version 1")
}

pub(crate) fn events(did: Vec<Did>) -> Vec<Event> {
    did.into_iter()
        .filter_map(|did| match did {
            Did::Event(event) => Some(event),
            Did::Sent(_) | Did::Closed(_) => None,
        })
        .collect()
}

pub(crate) const NOW: Duration = Duration::from_secs(1000);

/// A core that is logged in, with nothing left to do.
pub(crate) fn online(server: &Server) -> Connection {
    let mut core = Connection::new(account(server), "test");
    log_in(&mut core, server, NOW);
    core
}

pub(crate) fn log_in(core: &mut Connection, server: &Server, now: Duration) -> Vec<Did> {
    core.open();
    core.on_frame(&encode(server_frame::Frame::Hello(server.hello())), now);
    drain(core);
    core.on_frame(&encode(server_frame::Frame::Welcome(welcome())), now);
    drain(core)
}

pub(crate) fn welcome() -> proto::Welcome {
    proto::Welcome { user: "alice".to_owned(), organisation: String::new(), totp_rebind: false }
}

pub(crate) fn show(core: &mut Connection, server: &Server, n: u8) {
    let prompt = server.prompt(&challenge(n));
    core.on_frame(&encode(server_frame::Frame::Prompt(prompt)), NOW);
}

pub(crate) fn result(n: u8, result: proto::Result, state: proto::State) -> Vec<u8> {
    encode(server_frame::Frame::AnswerResult(proto::AnswerResult {
        challenge: Bytes::copy_from_slice(id(n).as_bytes()),
        result: result.into(),
        state: state.into(),
        totp_rebind: false,
    }))
}

pub(crate) fn settled(n: u8, state: proto::State) -> Vec<u8> {
    encode(server_frame::Frame::Settled(proto::Settled {
        challenge: Bytes::copy_from_slice(id(n).as_bytes()),
        state: state.into(),
    }))
}
