//! The server half of one device connection, without I/O: frames and times in, frames and requests out.
//!
//! A connection begins as a [`Handshake`] and becomes an [`Identified`] only through
//! [`LoggingIn::logged_in`]: what only a device may do is a move that an unidentified connection doesn't have.
//! Every move consumes the state that it leaves. While a request is with the use cases the connection is a
//! third type ([`LoggingIn`], [`Answering`], ..) that takes nothing but the reply, so at most one request per
//! connection is ever under way; the shell leaves later frames in the socket, where TCP holds them back.
//! A step that closes hands back no state at all.
//!
//! Architecture invariant: nothing here knows a number. What people type passes through to the use cases, and
//! no frame that leaves is made from it.
//!
//! Time is the time since the connection was accepted, on a clock that doesn't jump.

mod encode;
mod handshake;
mod identified;
mod parse;
mod vitals;

use std::time::Duration;

use prost::bytes::Bytes;
use wire::device::CloseCode;

pub use encode::{Enrolled, HelloFacts, Notice, NoticeKind, Prompt, Welcome};
pub use handshake::{Claiming, Confirming, EnrolRefusal, Handshake, HandshakeStep, LoggingIn};
pub use identified::{AnswerOutcome, Answering, Identified, Pulling, Rebinding, Seeing, Step};
pub use parse::{Answer, Claim, Confirm, Login, TicketProof};

/// How long a new connection may take to say hello: one round trip on the worst of mobile networks.
pub const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How long after its hello, or after an enrolment, a connection may take to log in or to claim a ticket:
/// both are made by the program, not by its person.
pub const IDENTIFY_WITHIN: Duration = Duration::from_secs(10);
/// How long a person may take to type the number that ends an enrolment: a ticket doesn't live longer.
pub const CONFIRM_WITHIN: Duration = domain::ticket::LIFE;
/// Between two pings: below the 30 s after which the strictest common proxies and NATs forget a connection.
pub const PING_EVERY: Duration = Duration::from_secs(25);
/// Silence after which a connection is taken for dead: two pings went unanswered, with time for the second.
pub const SILENT_AFTER: Duration = Duration::from_secs(60);
/// Frames that may come at once: a device that comes back answers its cards and pulls.
pub const FRAME_BURST: u32 = 20;
/// What one frame costs of that: five a second for ever, more than a person can tap.
pub const FRAME_COST: Duration = Duration::from_millis(200);

/// The end of a connection: an optional last frame, then a close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Sent before closing.
    pub farewell: Option<Bytes>,
    /// Why, for programs.
    pub code: CloseCode,
    /// Why, for people: at most 123 bytes (RFC 6455 §5.5). A constant, so it can't echo what was received.
    pub reason: &'static str,
}

impl Close {
    const fn new(code: CloseCode, reason: &'static str) -> Self {
        Self { farewell: None, code, reason }
    }

    const fn malformed(reason: &'static str) -> Self {
        Self::new(CloseCode::Malformed, reason)
    }

    /// For a text message, in any state.
    #[must_use]
    pub const fn text_message() -> Self {
        Self::malformed("text message: this protocol has binary messages only")
    }

    /// For what the WebSocket layer refused to read, in any state.
    #[must_use]
    pub const fn unreadable() -> Self {
        Self::malformed("not a valid WebSocket message of at most 8192 bytes")
    }

    /// For a server that stops, in any state: come back after `retry_after`.
    #[must_use]
    pub fn restart(retry_after: Duration) -> Self {
        Self {
            farewell: Some(encode::goodbye(retry_after)),
            code: CloseCode::Restart,
            reason: "the server restarts",
        }
    }

    /// For a connection that took its time to say who it is while others wait for its place.
    #[must_use]
    pub const fn make_room() -> Self {
        Self::new(CloseCode::TooMany, "others wait: log in faster, or come back later")
    }

    /// For a store that didn't do what a request needed.
    #[must_use]
    pub const fn unavailable() -> Self {
        Self::new(CloseCode::Unavailable, "unavailable: come back later")
    }
}

const _: () = assert!(wire::device::MAX_FRAME == 8192, "Close::unreadable names it");
