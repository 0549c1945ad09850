//! Frames that arrive: every field is checked here, and refused by name, before anything else sees it.

use std::fmt;

use domain::directory::{MAX_NAME, NameError, is_plain, name};
use domain::ticket;
use prost::Message as _;
use prost::bytes::Bytes;
use statement::{
    Algorithm, AnswerDecision, ChallengeId, DeviceId, MAX_NUMBER_LEN, PublicKey, Signature,
    TenantId,
};
use wire::device::client_frame::Frame as WireFrame;
use wire::device::{self as wire_device, ClientFrame, MAX_FRAME, enrol_claim};

use crate::Close;

/// A device that proves its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its id.
    pub device: DeviceId,
    /// Over the login statement.
    pub signature: Signature,
}

/// What a new device shows for its permission.
#[derive(Clone, PartialEq, Eq)]
pub enum TicketProof {
    /// The secret of an enrolment link.
    Secret([u8; ticket::SECRET_LEN]),
    /// A typed code, which counts only together with its user's name.
    Code {
        /// The name as it was typed.
        user: String,
        /// The code.
        code: [u8; ticket::CODE_LEN],
    },
}

impl fmt::Debug for TicketProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(redacted)",
            Self::Code { .. } => "Code(redacted)",
        })
    }
}

/// A new device that claims a ticket for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its permission.
    pub proof: TicketProof,
    /// Its key.
    pub key: PublicKey,
    /// What it calls itself.
    pub device_name: String,
    /// Over the enrolment statement.
    pub signature: Signature,
}

/// The number that ends an enrolment.
#[derive(Clone, PartialEq, Eq)]
pub struct Confirm {
    /// The digits that were typed; empty if none were asked for.
    pub number: String,
    /// Over the enrolment confirmation.
    pub signature: Signature,
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirm(redacted)")
    }
}

/// What the person decided about a challenge.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which challenge.
    pub challenge: ChallengeId,
    /// What they chose.
    pub decision: AnswerDecision,
    /// The digits that they typed; empty unless they approve.
    pub number: String,
    /// Whether the device checked its owner.
    pub user_verified: bool,
    /// The device's counter.
    pub counter: u64,
    /// Over the answer statement.
    pub signature: Signature,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("challenge", &self.challenge)
            .field("decision", &self.decision)
            .finish_non_exhaustive()
    }
}

/// A frame whose every field is of the right shape.
pub(crate) enum Frame {
    /// The versions that the device speaks, lowest and highest.
    Hello(u32, u32),
    Login(Login),
    Claim(Box<Claim>),
    Confirm(Confirm),
    Answer(Answer),
    Pull,
    RebindTotp,
    NoticesSeen(u64),
}

/// Reads a frame.
pub(crate) fn frame(bytes: Bytes) -> Result<Frame, Close> {
    if bytes.len() > MAX_FRAME {
        return Err(Close::unreadable());
    }
    let frame = ClientFrame::decode(bytes)
        .map_err(|_| Close::malformed("frame: not a ClientFrame"))?
        .frame
        .ok_or(Close::malformed("frame: empty, or of an unknown kind"))?;
    match frame {
        WireFrame::Hello(hello) => {
            if hello.agent.chars().count() > MAX_NAME || !hello.agent.chars().all(is_plain) {
                let reason = "hello.agent: at most 64 plain characters expected";
                return Err(Close::malformed(reason));
            }
            Ok(Frame::Hello(hello.min_version, hello.max_version))
        }
        WireFrame::Login(login) => Ok(Frame::Login(Login {
            tenant: TenantId::from_slice(&login.tenant)
                .map_err(|_| Close::malformed("login.tenant: 16 bytes expected"))?,
            device: DeviceId::from_slice(&login.device)
                .map_err(|_| Close::malformed("login.device: 16 bytes expected"))?,
            signature: exactly(&login.signature, "login.signature: 64 bytes expected")?,
        })),
        WireFrame::EnrolClaim(wire) => claim(wire).map(Box::new).map(Frame::Claim),
        WireFrame::EnrolConfirm(confirm) => {
            if !is_digits(&confirm.number) {
                let reason = "enrol_confirm.number: at most 8 digits expected";
                return Err(Close::malformed(reason));
            }
            Ok(Frame::Confirm(Confirm {
                number: confirm.number,
                signature: exactly(
                    &confirm.signature,
                    "enrol_confirm.signature: 64 bytes expected",
                )?,
            }))
        }
        WireFrame::Answer(wire) => answer(wire).map(Frame::Answer),
        WireFrame::Pull(wire_device::Pull {}) => Ok(Frame::Pull),
        WireFrame::RebindTotp(wire_device::RebindTotp {}) => Ok(Frame::RebindTotp),
        WireFrame::NoticesSeen(seen) => Ok(Frame::NoticesSeen(seen.up_to)),
    }
}

fn claim(claim: wire_device::EnrolClaim) -> Result<Claim, Close> {
    let proof = match claim.proof {
        None => return Err(Close::malformed("enrol_claim.proof: missing")),
        Some(enrol_claim::Proof::Secret(secret)) => {
            TicketProof::Secret(exactly(&secret, "enrol_claim.secret: 16 bytes expected")?)
        }
        Some(enrol_claim::Proof::Code(typed)) => {
            let reason = "enrol_claim.code.user: 1 to 64 plain characters expected";
            name(&typed.user).map_err(|_| Close::malformed(reason))?;
            let reason = "enrol_claim.code.code: 8 characters of Crockford base32 expected";
            // devices tidy up what was typed, so that there is one form to sign
            let tidy = typed.code.len() == CODE_CHARS
                && typed.code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
            let code = ticket::parse_code(&typed.code).filter(|_| tidy);
            TicketProof::Code { user: typed.user, code: code.ok_or(Close::malformed(reason))? }
        }
    };
    let algorithm = u8::try_from(claim.algorithm).ok().and_then(Algorithm::from_code);
    let algorithm = algorithm
        .ok_or(Close::malformed("enrol_claim.algorithm: 1 (Ed25519) or 2 (P-256) expected"))?;
    Ok(Claim {
        proof,
        key: PublicKey::new(algorithm, &claim.public_key).map_err(|_| {
            Close::malformed("enrol_claim.public_key: not a key of the stated algorithm")
        })?,
        device_name: name(&claim.device_name).map_err(|error| {
            Close::malformed(match error {
                NameError::Empty => "enrol_claim.device_name: must not be empty",
                NameError::TooLong => "enrol_claim.device_name: at most 64 characters expected",
                NameError::Control => "enrol_claim.device_name: must not hold control characters",
            })
        })?,
        signature: exactly(&claim.signature, "enrol_claim.signature: 64 bytes expected")?,
    })
}

fn answer(answer: wire_device::Answer) -> Result<Answer, Close> {
    let decision = u8::try_from(answer.decision).ok().and_then(AnswerDecision::from_code);
    let decision =
        decision.ok_or(Close::malformed("answer.decision: approve, deny or report expected"))?;
    let number_fits = if decision == AnswerDecision::Approve {
        !answer.number.is_empty() && is_digits(&answer.number)
    } else {
        answer.number.is_empty()
    };
    if !number_fits {
        return Err(Close::malformed(
            "answer.number: 1 to 8 digits expected to approve, none otherwise",
        ));
    }
    Ok(Answer {
        challenge: ChallengeId::from_slice(&answer.challenge)
            .map_err(|_| Close::malformed("answer.challenge: 24 bytes expected"))?,
        decision,
        number: answer.number,
        user_verified: answer.user_verified,
        counter: answer.counter,
        signature: exactly(&answer.signature, "answer.signature: 64 bytes expected")?,
    })
}

/// Length of a typed code in characters.
const CODE_CHARS: usize = ticket::CODE_LEN * 8 / 5;

fn exactly<const N: usize>(bytes: &[u8], reason: &'static str) -> Result<[u8; N], Close> {
    bytes.try_into().map_err(|_| Close::malformed(reason))
}

fn is_digits(text: &str) -> bool {
    text.len() <= MAX_NUMBER_LEN && text.bytes().all(|b| b.is_ascii_digit())
}

const _: () = assert!(
    MAX_NAME == 64
        && MAX_NUMBER_LEN == 8
        && CODE_CHARS == 8
        && ticket::SECRET_LEN == 16
        && TenantId::LEN == 16
        && DeviceId::LEN == 16
        && ChallengeId::LEN == 24
        && statement::SIGNATURE_LEN == 64,
    "the reasons above name these"
);
