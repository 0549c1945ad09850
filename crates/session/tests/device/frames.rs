//! Frames that a device could send, and a handshake in any stage.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use session::{Enrolled, Handshake, HandshakeStep, HelloFacts, Identified, Welcome};
use statement::{Certificate, DeviceId, SigningKey, TenantId, Timestamp, crockford};
use wire::device::client_frame::Frame;
use wire::device::{
    self, Answer, ClientFrame, ClientHello, Decision, EnrolClaim, EnrolConfirm, Login, NoticesSeen,
    Pull, RebindTotp, ServerFrame, TypedCode, enrol_claim, server_frame,
};

pub(crate) const NONCE: [u8; 32] = [9; 32];
pub(crate) const NOW: Duration = Duration::from_secs(1);

pub(crate) fn encode(frame: Frame) -> Bytes {
    ClientFrame { frame: Some(frame) }.encode_to_vec().into()
}

pub(crate) fn decode(frame: Bytes) -> server_frame::Frame {
    let frame = ServerFrame::decode(frame).expect("a server frame");
    frame.frame.expect("of a known kind")
}

pub(crate) fn hello() -> ClientHello {
    ClientHello { min_version: 1, max_version: 1, agent: "test 1 (linux)".to_owned() }
}

pub(crate) fn login() -> Login {
    Login { tenant: vec![1; 16].into(), device: vec![2; 16].into(), signature: vec![3; 64].into() }
}

pub(crate) fn claim() -> EnrolClaim {
    let key = SigningKey::from_seed(&[5; 32]);
    EnrolClaim {
        algorithm: 1,
        public_key: Bytes::copy_from_slice(key.public().as_bytes()),
        device_name: " laptop ".to_owned(),
        signature: vec![3; 64].into(),
        proof: Some(enrol_claim::Proof::Secret(vec![7; 16].into())),
    }
}

pub(crate) fn code(user: &str, code: &str) -> EnrolClaim {
    let (user, code) = (user.to_owned(), code.to_owned());
    EnrolClaim { proof: Some(enrol_claim::Proof::Code(TypedCode { user, code })), ..claim() }
}

pub(crate) fn good_code() -> EnrolClaim {
    code("alice", &crockford::encode(&[1, 2, 3, 4, 5]))
}

pub(crate) fn confirm() -> EnrolConfirm {
    EnrolConfirm { number: "042137".to_owned(), signature: vec![3; 64].into() }
}

pub(crate) fn answer() -> Answer {
    Answer {
        challenge: vec![4; 24].into(),
        decision: Decision::Approve.into(),
        number: "042137".to_owned(),
        user_verified: true,
        counter: 1,
        signature: vec![3; 64].into(),
    }
}

/// One good frame of each kind.
pub(crate) fn all_frames() -> [(&'static str, Frame); 8] {
    [
        ("hello", Frame::Hello(hello())),
        ("login", Frame::Login(login())),
        ("claim", Frame::EnrolClaim(claim())),
        ("confirm", Frame::EnrolConfirm(confirm())),
        ("answer", Frame::Answer(answer())),
        ("pull", Frame::Pull(Pull {})),
        ("rebind", Frame::RebindTotp(RebindTotp {})),
        ("seen", Frame::NoticesSeen(NoticesSeen { up_to: 7 })),
    ]
}

pub(crate) fn fresh() -> Handshake {
    let identity = SigningKey::from_seed(&[1; 32]);
    let certificate = Certificate {
        key: SigningKey::from_seed(&[2; 32]).public().clone(),
        not_before: Timestamp::from_millis(1),
        not_after: Timestamp::from_millis(2),
    };
    let signature = certificate.sign(&identity);
    let facts = HelloFacts::new(identity.public(), [(&certificate, &signature)]);
    Handshake::new(NONCE, Arc::new(facts), Duration::from_secs(20))
}

pub(crate) fn greeted() -> Handshake {
    match fresh().on_frame(encode(Frame::Hello(hello())), NOW) {
        HandshakeStep::Send(next, _) => next,
        step => panic!("{step:?}"),
    }
}

pub(crate) fn claimed() -> Handshake {
    match greeted().on_frame(encode(Frame::EnrolClaim(claim())), NOW) {
        HandshakeStep::Claim(asking, _) => asking.claimed(6, NOW).0,
        step => panic!("{step:?}"),
    }
}

pub(crate) fn enrolled_facts() -> Enrolled {
    Enrolled {
        tenant: TenantId::from_bytes([1; 16]),
        device: DeviceId::from_bytes([2; 16]),
        user: "alice".to_owned(),
        organisation: String::new(),
        totp: Some([6; 20].into()),
    }
}

pub(crate) fn enrolled() -> Handshake {
    match claimed().on_frame(encode(Frame::EnrolConfirm(confirm())), NOW) {
        HandshakeStep::Confirm(asking, _) => asking.enrolled(enrolled_facts(), NOW).0,
        step => panic!("{step:?}"),
    }
}

pub(crate) fn welcome() -> Welcome {
    Welcome { user: "alice".to_owned(), organisation: "Acme".to_owned(), totp_rebind: true }
}

pub(crate) fn identified() -> Identified {
    match greeted().on_frame(encode(Frame::Login(login())), NOW) {
        HandshakeStep::Login(asking, _) => asking.logged_in(welcome()).0,
        step => panic!("{step:?}"),
    }
}

pub(crate) fn kind(decision: Decision) -> i32 {
    device::Decision::into(decision)
}
