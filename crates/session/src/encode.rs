//! Frames that leave.

use std::time::Duration;

use domain::challenge::{Decision, State};
use domain::totp;
use prost::Message as _;
use prost::bytes::Bytes;
use statement::{Certificate, ChallengeId, DeviceId, PublicKey, Signature, TenantId, Timestamp};
use wire::device::server_frame::Frame;
use wire::device::{self as wire_device, ServerFrame, VERSION};

/// What every ServerHello of this server says beside its nonce. Made once, shared by all connections.
#[derive(Clone, Debug)]
pub struct HelloFacts {
    identity: wire_device::PublicKey,
    certificates: Vec<wire_device::Certificate>,
}

impl HelloFacts {
    /// From the identity key and the certificates that it signed. Prompts name a certificate by its place
    /// in this order.
    #[must_use]
    pub fn new<'a>(
        identity: &PublicKey,
        certificates: impl IntoIterator<Item = (&'a Certificate, &'a Signature)>,
    ) -> Self {
        let certificates = certificates
            .into_iter()
            .map(|(certificate, signature)| wire_device::Certificate {
                key: Some(public_key(&certificate.key)),
                not_before_ms: certificate.not_before.millis(),
                not_after_ms: certificate.not_after.millis(),
                signature: Bytes::copy_from_slice(signature),
            })
            .collect();
        Self { identity: public_key(identity), certificates }
    }

    pub(crate) fn frame(&self, nonce: &[u8; 32]) -> Bytes {
        frame(Frame::Hello(wire_device::ServerHello {
            version: VERSION,
            nonce: Bytes::copy_from_slice(nonce),
            identity: Some(self.identity.clone()),
            certificates: self.certificates.clone(),
        }))
    }
}

/// Who logged in.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// The user's name.
    pub user: String,
    /// The organisation's name; empty where an installation has only one.
    pub organisation: String,
    /// Whether the user's TOTP factor is locked or missing.
    pub totp_rebind: bool,
}

impl Welcome {
    pub(crate) fn frame(self) -> Bytes {
        frame(Frame::Welcome(wire_device::Welcome {
            user: self.user,
            organisation: self.organisation,
            totp_rebind: self.totp_rebind,
        }))
    }
}

/// What a new device is told when it is enrolled.
pub struct Enrolled {
    /// Its tenant.
    pub tenant: TenantId,
    /// The id by which it logs in.
    pub device: DeviceId,
    /// The user's name.
    pub user: String,
    /// The organisation's name; empty where an installation has only one.
    pub organisation: String,
    /// A TOTP secret to keep; `None` if the user has a working one that stays.
    pub totp: Option<totp::Secret>,
}

impl Enrolled {
    pub(crate) fn frame(self) -> Bytes {
        frame(Frame::Enrolled(wire_device::Enrolled {
            tenant: Bytes::copy_from_slice(self.tenant.as_bytes()),
            device: Bytes::copy_from_slice(self.device.as_bytes()),
            user: self.user,
            organisation: self.organisation,
            totp: self.totp.as_ref().map(totp),
        }))
    }
}

/// A challenge to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// The challenge bytes as they were signed.
    pub document: &'a [u8],
    /// The signature over them.
    pub signature: &'a [u8],
    /// Place of the key that signed among the certificates of this connection's ServerHello.
    pub certificate: u32,
    /// Whether the device rings.
    pub alert: bool,
    /// Until it expires, as of now.
    pub remaining: Duration,
}

impl Prompt<'_> {
    pub(crate) fn frame(self) -> Bytes {
        frame(Frame::Prompt(wire_device::Prompt {
            challenge: Bytes::copy_from_slice(self.document),
            signature: Bytes::copy_from_slice(self.signature),
            certificate: self.certificate,
            alert: self.alert,
            remaining_ms: millis(self.remaining),
        }))
    }
}

/// Something to tell the person beside challenges.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Its place in the order of all that are kept; `None` if it isn't.
    pub id: Option<u64>,
    /// Whether another one follows at once.
    pub more: bool,
    /// About what.
    pub kind: NoticeKind,
    /// When it happened.
    pub at: Timestamp,
    /// One plain sentence.
    pub text: &'a str,
}

/// What notices are about, as on the wire.
pub use wire_device::notice::Kind as NoticeKind;

impl Notice<'_> {
    pub(crate) fn frame(self) -> Bytes {
        frame(Frame::Notice(wire_device::Notice {
            kind: self.kind.into(),
            at_ms: self.at.millis(),
            text: self.text.to_owned(),
            id: self.id.unwrap_or_default(),
            more: self.more,
        }))
    }
}

pub(crate) fn enrol_pending(digits: u8) -> Bytes {
    frame(Frame::EnrolPending(wire_device::EnrolPending { digits: digits.into() }))
}

pub(crate) fn settled(challenge: ChallengeId, to: State) -> Bytes {
    frame(Frame::Settled(wire_device::Settled {
        challenge: Bytes::copy_from_slice(challenge.as_bytes()),
        state: state(to).into(),
    }))
}

pub(crate) fn answer_result(
    challenge: ChallengeId,
    result: wire_device::Result,
    to: Option<State>,
    totp_rebind: bool,
) -> Bytes {
    let state = to.map_or(wire_device::State::Unspecified, state);
    frame(Frame::AnswerResult(wire_device::AnswerResult {
        challenge: Bytes::copy_from_slice(challenge.as_bytes()),
        result: result.into(),
        state: state.into(),
        totp_rebind,
    }))
}

pub(crate) fn pulled(prompts: u32) -> Bytes {
    frame(Frame::Pulled(wire_device::Pulled { prompts }))
}

pub(crate) fn totp_rebound(secret: Option<&totp::Secret>) -> Bytes {
    frame(Frame::TotpRebound(wire_device::TotpRebound { totp: secret.map(totp) }))
}

pub(crate) fn goodbye(retry_after: Duration) -> Bytes {
    frame(Frame::Goodbye(wire_device::Goodbye { retry_after_ms: millis(retry_after) }))
}

fn frame(frame: Frame) -> Bytes {
    ServerFrame { frame: Some(frame) }.encode_to_vec().into()
}

fn public_key(key: &PublicKey) -> wire_device::PublicKey {
    wire_device::PublicKey {
        algorithm: u32::from(key.algorithm() as u8),
        key: Bytes::copy_from_slice(key.as_bytes()),
    }
}

fn totp(secret: &totp::Secret) -> wire_device::Totp {
    wire_device::Totp {
        secret: Bytes::copy_from_slice(secret.as_slice()),
        algorithm: "SHA1".to_owned(),
        digits: totp::DIGITS.into(),
        period_s: u32::try_from(totp::PERIOD_S).unwrap_or(u32::MAX),
    }
}

const fn state(state: State) -> wire_device::State {
    let State::Decided(decided) = state else {
        return wire_device::State::Pending;
    };
    match decided.decision {
        Decision::Approved => wire_device::State::Approved,
        Decision::Denied => wire_device::State::Denied,
        Decision::Reported => wire_device::State::Reported,
        Decision::Mismatch => wire_device::State::Mismatch,
        Decision::Expired => wire_device::State::Expired,
        Decision::Cancelled => wire_device::State::Cancelled,
        Decision::Superseded => wire_device::State::Superseded,
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
