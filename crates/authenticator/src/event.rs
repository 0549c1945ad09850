//! What goes in and out of the state machines.

use std::fmt;
use std::time::Duration;

use statement::{AnswerDecision, ChallengeId, Timestamp, TypedNumberError};
use wire::device::{self as proto, CloseCode};
use zeroize::Zeroizing;

use crate::{Card, PromptFault};

/// Something to do, to be taken in order.
#[derive(Debug)]
pub enum Output<E> {
    /// Send these bytes as one binary message.
    Send(Frame),
    /// Tell whoever runs this.
    Event(E),
    /// Close the socket with this code (RFC 6455 §7.4).
    Close(u16),
}

/// The close code of a connection that did what it was for (RFC 6455 §7.4.1).
pub(crate) const NORMAL: u16 = 1000;

/// An encoded frame. Holds secrets, so it isn't printed.
pub struct Frame(pub(crate) Vec<u8>);

impl From<Frame> for Vec<u8> {
    fn from(frame: Frame) -> Self {
        frame.0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.0.len())
    }
}

/// What happens on an account.
#[derive(Clone, Debug)]
pub enum Event {
    /// The account changed. It must be durable before the next output is taken: what follows relies on it.
    Save,
    /// Logged in.
    Connected {
        /// The user's name, as the server has it.
        user: String,
        /// The organisation's name; empty where there is only one.
        organisation: String,
    },
    /// A challenge to show. At most once per challenge.
    Prompt(Card),
    /// A challenge that can't be trusted wasn't shown.
    PromptDropped(PromptFault),
    /// The server's word on an answer of this device.
    Answered {
        /// What was answered.
        challenge: ChallengeId,
        /// What became of it.
        outcome: AnswerOutcome,
    },
    /// A challenge was decided, here or elsewhere: its card goes away.
    Settled {
        /// Which.
        challenge: ChallengeId,
        /// How.
        decision: Decision,
    },
    /// A card's time is over and the server hasn't said how it ended: the card goes away.
    Lapsed {
        /// Which.
        challenge: ChallengeId,
    },
    /// So many newer ones came that a silent card goes away before its time.
    GaveWay {
        /// Which.
        challenge: ChallengeId,
    },
    /// All silent challenges have been shown.
    Pulled {
        /// How many there were.
        prompts: u32,
    },
    /// Something that the account's owner should know.
    Notice(Notice),
    /// The account has a new TOTP secret.
    TotpRebound,
    /// The server broke the protocol, or isn't the one; the connection is being closed.
    Fault(Fault),
    /// The connection is gone, or couldn't be made.
    Disconnected {
        /// Whether it had been logged in.
        was_connected: bool,
        /// When to try again.
        retry_in: Duration,
    },
    /// The connection is gone and must not be made again by itself.
    Stopped(Stop),
}

/// What a person chose.
#[derive(Clone)]
pub enum Choice {
    /// Approve, with what they typed.
    Approve(Zeroizing<String>),
    /// Decline.
    Deny,
    /// Decline, and say that it wasn't them.
    Report,
}

impl Choice {
    /// Approve with `number`.
    #[must_use]
    pub fn approve(number: &str) -> Self {
        Self::Approve(Zeroizing::new(number.to_owned()))
    }

    pub(crate) const fn decision(&self) -> AnswerDecision {
        match self {
            Self::Approve(_) => AnswerDecision::Approve,
            Self::Deny => AnswerDecision::Deny,
            Self::Report => AnswerDecision::Report,
        }
    }

    pub(crate) fn number(&self) -> &str {
        match self {
            Self::Approve(number) => number,
            Self::Deny | Self::Report => "",
        }
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Choice({:?})", self.decision())
    }
}

/// Why an answer wasn't taken. Nothing has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// This device was never shown such a challenge, or it ended long ago.
    #[error("no such challenge here")]
    Unknown,
    /// The answer before this one is still on its way.
    #[error("an answer to this challenge is on its way")]
    InFlight,
    /// What was typed can't be the number.
    #[error(transparent)]
    Number(#[from] TypedNumberError),
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerOutcome {
    /// Decided: by this answer, or by an earlier one that said otherwise.
    Settled(Decision),
    /// Right, but not released: the sign-in page asks for a code.
    Withheld,
    /// It had expired.
    Late,
    /// Not accepted.
    Refused,
}

impl AnswerOutcome {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settled(_) => "settled",
            Self::Withheld => "withheld",
            Self::Late => "late",
            Self::Refused => "refused",
        }
    }
}

/// How a challenge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The right number, or a right code.
    Approved,
    /// Declined.
    Denied,
    /// Declined as not theirs.
    Reported,
    /// A wrong number.
    Mismatch,
    /// Nobody answered in time.
    Expired,
    /// Taken back.
    Cancelled,
    /// Replaced by a newer one of the same browser.
    Superseded,
}

impl Decision {
    pub(crate) const fn from_wire(state: proto::State) -> Option<Self> {
        Some(match state {
            proto::State::Approved => Self::Approved,
            proto::State::Denied => Self::Denied,
            proto::State::Reported => Self::Reported,
            proto::State::Mismatch => Self::Mismatch,
            proto::State::Expired => Self::Expired,
            proto::State::Cancelled => Self::Cancelled,
            proto::State::Superseded => Self::Superseded,
            proto::State::Unspecified | proto::State::Pending => return None,
        })
    }

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Reported => "reported",
            Self::Mismatch => "mismatch",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// A device was enrolled.
    DeviceEnrolled,
    /// Somebody may enrol a device.
    TicketCreated,
    /// A factor was reset.
    FactorReset,
    /// A recovery code was used.
    RecoveryCodeUsed,
    /// Codes keep failing.
    RepeatedFailures,
    /// A factor was added.
    FactorCreated,
    /// A device was revoked.
    DeviceRevoked,
    /// This device doesn't count yet.
    DeviceWaiting,
    /// How many requests were kept silent.
    Digest,
    /// Of a kind that this authenticator doesn't know.
    Other,
}

impl NoticeKind {
    pub(crate) const fn from_wire(kind: proto::notice::Kind) -> Self {
        match kind {
            proto::notice::Kind::DeviceEnrolled => Self::DeviceEnrolled,
            proto::notice::Kind::TicketCreated => Self::TicketCreated,
            proto::notice::Kind::FactorReset => Self::FactorReset,
            proto::notice::Kind::RecoveryCodeUsed => Self::RecoveryCodeUsed,
            proto::notice::Kind::RepeatedFailures => Self::RepeatedFailures,
            proto::notice::Kind::FactorCreated => Self::FactorCreated,
            proto::notice::Kind::DeviceRevoked => Self::DeviceRevoked,
            proto::notice::Kind::DeviceWaiting => Self::DeviceWaiting,
            proto::notice::Kind::Digest => Self::Digest,
            proto::notice::Kind::Unspecified => Self::Other,
        }
    }

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeviceEnrolled => "device_enrolled",
            Self::TicketCreated => "ticket_created",
            Self::FactorReset => "factor_reset",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::RepeatedFailures => "repeated_failures",
            Self::FactorCreated => "factor_created",
            Self::DeviceRevoked => "device_revoked",
            Self::DeviceWaiting => "device_waiting",
            Self::Digest => "digest",
            Self::Other => "other",
        }
    }
}

/// Something that the account's owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// When it happened, by the server's clock.
    pub at: Timestamp,
    /// In words.
    pub text: String,
}

/// What made this side close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A frame that doesn't parse or isn't allowed now.
    #[error("the server broke the protocol")]
    Malformed,
    /// A version that this side didn't offer.
    #[error("the server speaks another version")]
    Version,
    /// The identity key isn't the pinned one.
    #[error("this is not the server that this account was enrolled with")]
    WrongServer,
}

impl Fault {
    pub(crate) const fn close_code(self) -> CloseCode {
        match self {
            Self::Version => CloseCode::Version,
            Self::Malformed | Self::WrongServer => CloseCode::Malformed,
        }
    }
}

/// What to do after a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make another after this long.
    Retry {
        /// From now.
        after: Duration,
    },
    /// Make none until a person wants one.
    Stop(Stop),
}

/// Why a connection must not be made again by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The same account connected from somewhere else.
    #[error("another connection of this device took over")]
    Replaced,
    /// The device was revoked.
    #[error("this device was revoked")]
    Revoked,
    /// The server doesn't know the device or its key.
    #[error("the server does not accept this device: it may have been revoked")]
    Unauthenticated,
    /// No common version.
    #[error("the server speaks another version: {supported}")]
    Version {
        /// What the server said that it supports.
        supported: String,
    },
    /// The account couldn't be saved, so nothing may be sent.
    #[error("the account could not be saved")]
    NotSaved,
}

impl Stop {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::Unauthenticated => "unauthenticated",
            Self::Version { .. } => "version",
            Self::NotSaved => "not_saved",
        }
    }
}
