//! The client against a small scripted server on a real socket.

use std::sync::Arc;
use std::time::Duration;

use authenticator_native::{
    Choice, Client, Decision, EnrolError, Event, InMemory, KeyFile, Passphrase, Person, Reconnect,
    Stop, Ticket,
};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use prost::bytes::Bytes;
use statement::{
    Answer, AnswerDecision, Certificate, ChallengeId, DeviceId, EnrolLink, PublicKey,
    SignedChallenge, SigningKey, Timestamp, TypedNumberError,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use wire::device::{self as proto, client_frame::Frame as FromDevice, server_frame::Frame};

const SOON: Duration = Duration::from_secs(20);

struct Server {
    listener: TcpListener,
    identity: SigningKey,
    signer: SigningKey,
}

impl Server {
    async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            identity: SigningKey::from_seed(&[1; 32]),
            signer: SigningKey::from_seed(&[2; 32]),
        }
    }

    fn ticket(&self) -> Ticket {
        let address = self.listener.local_addr().expect("an address");
        Ticket::Link(EnrolLink {
            server: format!("http://{address}").parse().expect("loopback"),
            secret: [7; 16].into(),
            identity: self.identity.public().identity_hash(),
        })
    }

    #[expect(clippy::result_large_err, reason = "the type is the library's")]
    async fn accept(&self) -> Device {
        let (stream, _) = self.listener.accept().await.expect("a connection");
        let socket = tokio_tungstenite::accept_hdr_async(
            stream,
            |request: &Request, mut response: Response| {
                assert_eq!(request.uri().path(), proto::PATH);
                let protocol = request.headers()["sec-websocket-protocol"].to_str().expect("text");
                assert_eq!(protocol, proto::SUBPROTOCOL);
                let protocol = HeaderValue::from_static(proto::SUBPROTOCOL);
                response.headers_mut().insert("sec-websocket-protocol", protocol);
                Ok(response)
            },
        );
        let mut device = Device(socket.await.expect("an upgrade"));
        assert!(matches!(device.receive().await, FromDevice::Hello(_)));
        let certificate = Certificate {
            key: self.signer.public().clone(),
            not_before: Timestamp::ZERO,
            not_after: Timestamp::ZERO,
        };
        device
            .send(Frame::Hello(proto::ServerHello {
                version: proto::VERSION,
                nonce: Bytes::from_static(&[3; 32]),
                identity: Some(public(self.identity.public())),
                certificates: vec![proto::Certificate {
                    key: Some(public(self.signer.public())),
                    not_before_ms: 0,
                    not_after_ms: 0,
                    signature: Bytes::copy_from_slice(&certificate.sign(&self.identity)),
                }],
            }))
            .await;
        device
    }

    async fn log_in(&self) -> Device {
        let mut device = self.accept().await;
        assert!(matches!(device.receive().await, FromDevice::Login(_)));
        let user = "alice".to_owned();
        device.send(Frame::Welcome(proto::Welcome { user, ..Default::default() })).await;
        device
    }

    fn prompt(&self) -> (Vec<u8>, proto::Prompt) {
        let challenge = proto::Challenge {
            id: Bytes::copy_from_slice(id().as_bytes()),
            tenant: Bytes::from_static(&[4; 16]),
            integration: Bytes::from_static(&[8; 16]),
            integration_name: "VPN".to_owned(),
            user_name: "alice".to_owned(),
            purpose: proto::Purpose::SignIn.into(),
            digits: 6,
            ..Default::default()
        };
        let bytes = challenge.encode_to_vec();
        let prompt = proto::Prompt {
            challenge: bytes.clone().into(),
            signature: Bytes::copy_from_slice(&SignedChallenge(&bytes).sign(&self.signer)),
            certificate: 0,
            alert: true,
            remaining_ms: 60_000,
        };
        (bytes, prompt)
    }
}

fn id() -> ChallengeId {
    ChallengeId::from_bytes([9; 24])
}

fn public(key: &PublicKey) -> proto::PublicKey {
    proto::PublicKey {
        algorithm: u32::from(key.algorithm() as u8),
        key: Bytes::copy_from_slice(key.as_bytes()),
    }
}

struct Device(WebSocketStream<TcpStream>);

impl Device {
    async fn receive(&mut self) -> FromDevice {
        loop {
            let message = timeout(SOON, self.0.next()).await.expect("in time");
            if let Message::Binary(frame) = message.expect("open").expect("a message") {
                let frame = proto::ClientFrame::decode(frame).expect("a client frame");
                return frame.frame.expect("of version 1");
            }
        }
    }

    async fn send(&mut self, frame: Frame) {
        let frame = proto::ServerFrame { frame: Some(frame) }.encode_to_vec();
        self.0.send(Message::Binary(frame.into())).await.expect("sent");
    }

    async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.0.close(Some(frame)).await.expect("sent");
        while let Some(Ok(_)) = self.0.next().await {}
    }

    /// Serves an enrolment up to its end.
    async fn enrol(mut self, typist: &Typist) -> PublicKey {
        let FromDevice::EnrolClaim(claim) = self.receive().await else { panic!("a claim") };
        self.send(Frame::EnrolPending(proto::EnrolPending { digits: 6 })).await;
        // a ping in the middle: answered although the person hasn't typed yet
        self.0.send(Message::Ping(Bytes::from_static(b"x"))).await.expect("sent");
        let pong = timeout(SOON, self.0.next()).await.expect("in time").expect("open");
        assert!(matches!(pong, Ok(Message::Pong(_))), "{pong:?}");
        typist.may_type.notify_one();
        let FromDevice::EnrolConfirm(confirm) = self.receive().await else { panic!("a number") };
        assert_eq!(confirm.number, "123456");
        self.send(Frame::Enrolled(proto::Enrolled {
            tenant: Bytes::from_static(&[4; 16]),
            device: Bytes::from_static(&[5; 16]),
            user: "alice".to_owned(),
            ..Default::default()
        }))
        .await;
        PublicKey::new(statement::Algorithm::Ed25519, &claim.public_key).expect("a key")
    }
}

/// Types something that can't be the number first, and nothing before it may.
#[derive(Clone, Default)]
struct Typist {
    may_type: Arc<Notify>,
    tried: bool,
}

impl Person for Typist {
    async fn confirm_server(&mut self, _: &str) -> bool {
        panic!("a link says who the server is")
    }

    async fn number(&mut self, digits: u8, wrong: Option<TypedNumberError>) -> Option<String> {
        assert_eq!((digits, wrong.is_some()), (6, self.tried));
        if std::mem::replace(&mut self.tried, true) {
            return Some("123 456".to_owned());
        }
        self.may_type.notified().await;
        Some("123".to_owned())
    }
}

async fn next(events: &mut mpsc::Receiver<(DeviceId, Event)>) -> Event {
    timeout(SOON, events.recv()).await.expect("in time").expect("the session lives").1
}

#[tokio::test]
async fn enrolled_then_asked_then_answered_then_back_after_a_restart() {
    let server = Server::start().await;
    let client = Client::default();
    let typist = Typist::default();
    let mut person = typist.clone();
    let (account, key) =
        tokio::join!(client.enrol(server.ticket(), "laptop", Vec::new(), &mut person), async {
            server.accept().await.enrol(&typist).await
        },);
    let account = account.expect("enrolled");

    let home = tempfile::tempdir().expect("a folder");
    let passphrase = Passphrase::new("correct horse").expect("not empty");
    let file = KeyFile::open_or_create(home.path(), &passphrase).expect("made");
    let account = file.add(account).expect("kept");
    let (sender, mut events) = mpsc::channel(8);
    let (handle, task) =
        client.run(account.clone(), Arc::new(file.clone()), sender, Reconnect::Forever);

    let mut device = server.log_in().await;
    assert!(matches!(next(&mut events).await, Event::Connected { .. }));
    let (document, prompt) = server.prompt();
    device.send(Frame::Prompt(prompt.clone())).await;
    assert!(matches!(next(&mut events).await, Event::Prompt(card) if card.challenge == id()));
    handle.answer(id(), Choice::approve("000042"), false).await.expect("open").expect("taken");
    let FromDevice::Answer(answer) = device.receive().await else { panic!("an answer") };
    let statement = Answer {
        challenge: &document,
        device: account.device,
        decision: AnswerDecision::Approve,
        number: "000042",
        user_verified: false,
        counter: 1,
    };
    statement.verify(&key, &answer.signature).expect("verifies");
    assert_eq!(file.accounts().expect("readable")[0].counter, 1, "kept before it was sent");

    // the server restarts before it has told the result
    device.send(Frame::Goodbye(proto::Goodbye { retry_after_ms: 1 })).await;
    device.close(1012).await;
    assert!(matches!(next(&mut events).await, Event::Disconnected { was_connected: true, .. }));
    let mut device = server.log_in().await;
    assert!(matches!(next(&mut events).await, Event::Connected { .. }));
    let FromDevice::Answer(again) = device.receive().await else { panic!("the answer again") };
    assert_eq!((again.number.as_str(), again.counter), ("000042", 2));
    device.send(Frame::Prompt(prompt)).await;
    device
        .send(Frame::AnswerResult(proto::AnswerResult {
            challenge: Bytes::copy_from_slice(id().as_bytes()),
            result: proto::Result::Settled.into(),
            state: proto::State::Approved.into(),
            totp_rebind: false,
        }))
        .await;
    assert!(matches!(next(&mut events).await, Event::Answered { .. }));
    let settled = next(&mut events).await;
    assert!(matches!(settled, Event::Settled { decision: Decision::Approved, .. }), "{settled:?}");
    handle.pull().await.expect("open");
    assert!(matches!(device.receive().await, FromDevice::Pull(_)));

    // another connection took over: this one stays away
    device.close(4409).await;
    assert!(matches!(next(&mut events).await, Event::Stopped(Stop::Replaced)));
    timeout(SOON, task).await.expect("in time").expect("ended");
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn a_closed_session_says_goodbye_and_a_refused_ticket_is_an_error() {
    let server = Server::start().await;
    let client = Client::default();
    let typist = Typist::default();
    let mut person = typist.clone();
    let (refused, ()) =
        tokio::join!(client.enrol(server.ticket(), "laptop", Vec::new(), &mut person), async {
            let mut device = server.accept().await;
            assert!(matches!(device.receive().await, FromDevice::EnrolClaim(_)));
            device.close(4410).await;
        },);
    assert!(matches!(refused, Err(EnrolError::Refused(authenticator::EnrolError::Ticket { .. }))));

    let typist = Typist::default();
    let mut person = typist.clone();
    let (account, _) =
        tokio::join!(client.enrol(server.ticket(), "laptop", Vec::new(), &mut person), async {
            server.accept().await.enrol(&typist).await
        },);
    let session = client.connect(account.expect("enrolled"), Reconnect::Forever);
    let mut device = server.log_in().await;
    let (bye, ()) = tokio::join!(timeout(SOON, device.0.next()), session.handle.close());
    let Some(Ok(Message::Close(Some(frame)))) = bye.expect("in time") else { panic!("a close") };
    assert_eq!(u16::from(frame.code), 1000);
    timeout(SOON, session.task).await.expect("in time").expect("ended");
}

#[tokio::test]
async fn another_network_drops_the_connection_without_a_word_and_makes_another() {
    let server = Server::start().await;
    let client = Client::default();
    let typist = Typist::default();
    let mut person = typist.clone();
    let (account, _) =
        tokio::join!(client.enrol(server.ticket(), "laptop", Vec::new(), &mut person), async {
            server.accept().await.enrol(&typist).await
        },);
    let session = client.connect(account.expect("enrolled"), Reconnect::Forever);
    let mut device = server.log_in().await;
    session.handle.network_changed().await.expect("a session");
    let last = timeout(SOON, device.0.next()).await.expect("in time");
    assert!(!matches!(last, Some(Ok(Message::Close(_)))), "no goodbye: {last:?}");
    // and it is there again
    let mut device = server.log_in().await;
    session.handle.close().await;
    let bye = timeout(SOON, device.0.next()).await.expect("in time");
    assert!(matches!(bye, Some(Ok(Message::Close(_)))), "{bye:?}");
    timeout(SOON, session.task).await.expect("in time").expect("ended");
}

#[tokio::test]
async fn nobody_there_is_an_error_for_enrolment_and_a_wait_for_a_session() {
    let server = Server::start().await;
    let client = Client::default();
    let ticket = server.ticket();
    let typist = Typist::default();
    let mut person = typist.clone();
    let (account, _) =
        tokio::join!(client.enrol(server.ticket(), "laptop", Vec::new(), &mut person), async {
            server.accept().await.enrol(&typist).await
        },);
    drop(server);
    let unreachable = client.enrol(ticket, "laptop", Vec::new(), &mut person).await;
    assert!(matches!(unreachable, Err(EnrolError::Connect(_))));
    let (sender, mut events) = mpsc::channel(8);
    let account = account.expect("enrolled");
    let (handle, task) = client.run(account, Arc::new(InMemory), sender, Reconnect::Forever);
    for _ in 0..2 {
        let event = next(&mut events).await;
        assert!(matches!(event, Event::Disconnected { was_connected: false, .. }), "{event:?}");
    }
    drop(handle);
    timeout(SOON, task).await.expect("in time").expect("ended");
}
