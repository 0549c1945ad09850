//! A connection that hasn't proved who it is.

use std::sync::Arc;
use std::time::Duration;

use prost::bytes::Bytes;
use wire::device::{CloseCode, VERSION};

use crate::encode::{Enrolled, HelloFacts, Welcome, enrol_pending};
use crate::parse::{self, Claim, Confirm, Frame, Login};
use crate::vitals::{Beat, DEAD, Vitals};
use crate::{CONFIRM_WITHIN, Close, HELLO_WITHIN, IDENTIFY_WITHIN, Identified};

/// A connection that is waiting for the device to say hello, to log in or to enrol.
#[derive(Debug)]
pub struct Handshake {
    nonce: [u8; 32],
    hello: Arc<HelloFacts>,
    stage: Stage,
    until: Duration,
    vitals: Vitals,
}

/// What the device has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Say which versions it speaks.
    Hello,
    /// Log in, or claim a ticket.
    Identify,
    /// Send the number that its person types.
    Number,
    /// Log in with the key that was just enrolled.
    Enrolled,
}

/// What follows from an event.
#[derive(Debug)]
#[must_use]
pub enum HandshakeStep {
    /// Nothing.
    Wait(Handshake),
    /// A frame to send.
    Send(Handshake, Bytes),
    /// A WebSocket ping to send.
    Ping(Handshake),
    /// A login to check.
    Login(LoggingIn, Login),
    /// A ticket to claim.
    Claim(Claiming, Box<Claim>),
    /// An enrolment to end.
    Confirm(Confirming, Confirm),
    /// The end.
    Close(Close),
}

/// Why an enrolment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolRefusal {
    /// The ticket is used, expired, cancelled or was never there, or its number was wrong: all alike.
    Ticket,
    /// The signature isn't the claiming key's.
    Signature,
    /// The user has as many devices as are allowed.
    TooManyDevices,
}

/// While a login is checked.
#[derive(Debug)]
pub struct LoggingIn(Handshake);

/// While a claim is checked.
#[derive(Debug)]
pub struct Claiming(Handshake);

/// While the end of an enrolment is checked.
#[derive(Debug)]
pub struct Confirming(Handshake);

impl Handshake {
    /// A connection that was just accepted. `nonce` is fresh from a CSPRNG; `phase`, random below
    /// [`crate::PING_EVERY`], keeps the pings of many connections apart.
    #[must_use]
    pub fn new(nonce: [u8; 32], hello: Arc<HelloFacts>, phase: Duration) -> Self {
        Self {
            nonce,
            hello,
            stage: Stage::Hello,
            until: HELLO_WITHIN,
            vitals: Vitals::new(Duration::ZERO, phase),
        }
    }

    /// A binary message arrived.
    pub fn on_frame(mut self, frame: Bytes, now: Duration) -> HandshakeStep {
        let heard = self.vitals.heard(now);
        match heard.and_then(|()| parse::frame(frame)) {
            Err(close) => HandshakeStep::Close(close),
            Ok(frame) => self.take(frame, now),
        }
    }

    fn take(mut self, frame: Frame, now: Duration) -> HandshakeStep {
        match (self.stage, frame) {
            (Stage::Hello, Frame::Hello(min, max)) => {
                if !(min..=max).contains(&VERSION) {
                    let close = Close::new(CloseCode::Version, "supported versions: 1 to 1");
                    return HandshakeStep::Close(close);
                }
                self.stage = Stage::Identify;
                self.until = now.saturating_add(IDENTIFY_WITHIN);
                let hello = self.hello.frame(&self.nonce);
                HandshakeStep::Send(self, hello)
            }
            (Stage::Identify | Stage::Enrolled, Frame::Login(login)) => {
                HandshakeStep::Login(LoggingIn(self), login)
            }
            (Stage::Identify, Frame::Claim(claim)) => HandshakeStep::Claim(Claiming(self), claim),
            (Stage::Number, Frame::Confirm(confirm)) => {
                HandshakeStep::Confirm(Confirming(self), confirm)
            }
            (Stage::Hello, _) => HandshakeStep::Close(Close::malformed("hello expected first")),
            (Stage::Identify, _) => {
                HandshakeStep::Close(Close::malformed("login or enrol_claim expected"))
            }
            (Stage::Number, _) => HandshakeStep::Close(Close::malformed("enrol_confirm expected")),
            (Stage::Enrolled, _) => HandshakeStep::Close(Close::malformed("login expected")),
        }
    }

    /// A ping or pong arrived.
    pub fn on_control(mut self, now: Duration) -> HandshakeStep {
        match self.vitals.heard(now) {
            Ok(()) => HandshakeStep::Wait(self),
            Err(close) => HandshakeStep::Close(close),
        }
    }

    /// The time has come that [`Handshake::deadline`] named. Too early is harmless.
    pub fn on_timer(mut self, now: Duration) -> HandshakeStep {
        if now >= self.until {
            let reason = match self.stage {
                Stage::Hello => "no hello within 5 seconds",
                Stage::Identify | Stage::Enrolled => "no login or enrol_claim within 10 seconds",
                Stage::Number => "no enrol_confirm within 5 minutes",
            };
            return HandshakeStep::Close(Close::new(CloseCode::Deadline, reason));
        }
        match self.vitals.beat(now) {
            Beat::Nothing => HandshakeStep::Wait(self),
            Beat::Ping => HandshakeStep::Ping(self),
            Beat::Dead => HandshakeStep::Close(DEAD),
        }
    }

    /// When [`Handshake::on_timer`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.until.min(self.vitals.deadline())
    }
}

impl LoggingIn {
    /// The nonce that this connection was given, over which logins are signed.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; 32] {
        &self.0.nonce
    }

    /// The login is good: the connection is its device's.
    pub fn logged_in(self, welcome: Welcome) -> (Identified, Bytes) {
        (Identified::new(self.0.vitals), welcome.frame())
    }

    /// It isn't.
    #[must_use]
    pub fn refused(self) -> Close {
        Close::new(CloseCode::Unauthenticated, "login refused")
    }
}

impl Claiming {
    /// The nonce that this connection was given, over which claims are signed.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; 32] {
        &self.0.nonce
    }

    /// The ticket is this device's; its person is asked for `digits` digits, or for nothing if that is 0.
    pub fn claimed(self, digits: u8, now: Duration) -> (Handshake, Bytes) {
        let next =
            Handshake { stage: Stage::Number, until: now.saturating_add(CONFIRM_WITHIN), ..self.0 };
        (next, enrol_pending(digits))
    }

    /// It didn't work.
    #[must_use]
    pub fn refused(self, why: EnrolRefusal) -> Close {
        why.close()
    }
}

impl Confirming {
    /// The device is enrolled, and may log in on the same connection.
    pub fn enrolled(self, enrolled: Enrolled, now: Duration) -> (Handshake, Bytes) {
        let next = Handshake {
            stage: Stage::Enrolled,
            until: now.saturating_add(IDENTIFY_WITHIN),
            ..self.0
        };
        (next, enrolled.frame())
    }

    /// It didn't work.
    #[must_use]
    pub fn refused(self, why: EnrolRefusal) -> Close {
        why.close()
    }
}

impl EnrolRefusal {
    const fn close(self) -> Close {
        let (code, reason) = match self {
            Self::Ticket => (
                CloseCode::Ticket,
                "ticket refused: used, expired, cancelled, unknown, or a wrong number",
            ),
            Self::Signature => (CloseCode::Unauthenticated, "signature does not verify"),
            Self::TooManyDevices => {
                (CloseCode::Ticket, "the user has as many devices as are allowed")
            }
        };
        Close::new(code, reason)
    }
}

const _: () = assert!(
    VERSION == 1
        && HELLO_WITHIN.as_secs() == 5
        && IDENTIFY_WITHIN.as_secs() == 10
        && CONFIRM_WITHIN.as_secs() == 300,
    "the reasons above name these"
);
