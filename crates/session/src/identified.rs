//! A connection that is its device's.

use std::time::Duration;

use domain::challenge::State;
use domain::totp;
use prost::bytes::Bytes;
use statement::ChallengeId;
use wire::device::{CloseCode, Result as WireResult};

use crate::Close;
use crate::encode::{self, Notice, Prompt};
use crate::parse::{self, Answer, Frame};
use crate::vitals::{Beat, DEAD, Vitals};

/// A connection whose device logged in.
#[derive(Debug)]
pub struct Identified {
    vitals: Vitals,
}

/// What follows from an event.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Nothing.
    Wait(Identified),
    /// A WebSocket ping to send.
    Ping(Identified),
    /// An answer to decide by.
    Answer(Answering, Answer),
    /// The person opened the app: all pending challenges are wanted, silent ones too.
    Pull(Pulling),
    /// A new TOTP secret is wanted.
    Rebind(Rebinding),
    /// The person can see the notices up to this one.
    Seen(Seeing, u64),
    /// The end.
    Close(Close),
}

/// While an answer is stored.
#[derive(Debug)]
pub struct Answering {
    next: Identified,
    challenge: ChallengeId,
}

/// While the pending set is read for a pull.
#[derive(Debug)]
pub struct Pulling(Identified);

/// While a TOTP secret is made.
#[derive(Debug)]
pub struct Rebinding(Identified);

/// While it is noted how far the person has read.
#[derive(Debug)]
pub struct Seeing(Identified);

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerOutcome {
    /// The challenge is decided, by this answer or an earlier one.
    Settled(State),
    /// Right, but not released.
    Withheld,
    /// It expired before the answer was stored.
    Late,
    /// Unknown, not this user's, or the signature doesn't verify.
    Refused,
    /// Not stored: the device sends it again.
    Retry,
}

impl Identified {
    pub(crate) const fn new(vitals: Vitals) -> Self {
        Self { vitals }
    }

    /// A binary message arrived.
    pub fn on_frame(mut self, frame: Bytes, now: Duration) -> Step {
        let heard = self.vitals.heard(now);
        match heard.and_then(|()| parse::frame(frame)) {
            Err(close) => Step::Close(close),
            Ok(Frame::Answer(answer)) => {
                let challenge = answer.challenge;
                let next = self;
                Step::Answer(Answering { next, challenge }, answer)
            }
            Ok(Frame::Pull) => Step::Pull(Pulling(self)),
            Ok(Frame::RebindTotp) => Step::Rebind(Rebinding(self)),
            Ok(Frame::NoticesSeen(up_to)) => Step::Seen(Seeing(self), up_to),
            Ok(Frame::Hello(..) | Frame::Login(_) | Frame::Claim(_) | Frame::Confirm(_)) => {
                Step::Close(Close::malformed("answer, pull, rebind_totp or notices_seen expected"))
            }
        }
    }

    /// A ping or pong arrived.
    pub fn on_control(mut self, now: Duration) -> Step {
        match self.vitals.heard(now) {
            Ok(()) => Step::Wait(self),
            Err(close) => Step::Close(close),
        }
    }

    /// The time has come that [`Identified::deadline`] named. Too early is harmless.
    pub fn on_timer(mut self, now: Duration) -> Step {
        match self.vitals.beat(now) {
            Beat::Nothing => Step::Wait(self),
            Beat::Ping => Step::Ping(self),
            Beat::Dead => Step::Close(DEAD),
        }
    }

    /// When [`Identified::on_timer`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.vitals.deadline()
    }

    /// The frame that shows a challenge; `None` once it has expired.
    #[must_use]
    pub fn prompt(&self, prompt: Prompt<'_>) -> Option<Bytes> {
        (!prompt.remaining.is_zero()).then(|| prompt.frame())
    }

    /// The frame that takes a card away.
    #[must_use]
    pub fn settled(&self, challenge: ChallengeId, state: State) -> Bytes {
        encode::settled(challenge, state)
    }

    /// The frame that tells the person something.
    #[must_use]
    pub fn notice(&self, notice: Notice<'_>) -> Bytes {
        notice.frame()
    }

    /// A newer connection of the device took over.
    #[must_use]
    pub fn replaced(self) -> Close {
        let reason = "replaced by a newer connection of this device";
        Close::new(CloseCode::Replaced, reason)
    }

    /// The device was revoked.
    #[must_use]
    pub fn revoked(self) -> Close {
        Close::new(CloseCode::Revoked, "this device was revoked")
    }
}

impl Answering {
    /// What became of it, and whether the device may now ask for a new TOTP secret.
    pub fn answered(self, outcome: AnswerOutcome, totp_rebind: bool) -> (Identified, Bytes) {
        let (result, state) = match outcome {
            AnswerOutcome::Settled(state) => (WireResult::Settled, Some(state)),
            AnswerOutcome::Withheld => (WireResult::Withheld, None),
            AnswerOutcome::Late => (WireResult::Late, None),
            AnswerOutcome::Refused => (WireResult::Refused, None),
            AnswerOutcome::Retry => (WireResult::Retry, None),
        };
        let frame = encode::answer_result(self.challenge, result, state, totp_rebind);
        (self.next, frame)
    }
}

impl Pulling {
    /// The frame that shows one of the challenges; `None` once it has expired.
    #[must_use]
    pub fn prompt(&self, prompt: Prompt<'_>) -> Option<Bytes> {
        self.0.prompt(prompt)
    }

    /// All of them, `prompts` in number, were sent.
    pub fn pulled(self, prompts: u32) -> (Identified, Bytes) {
        (self.0, encode::pulled(prompts))
    }
}

impl Seeing {
    /// It is noted; nothing is sent back.
    #[must_use]
    pub fn noted(self) -> Identified {
        self.0
    }
}

impl Rebinding {
    /// The new secret; `None` if there is no right to one.
    pub fn rebound(self, secret: Option<&totp::Secret>) -> (Identified, Bytes) {
        (self.0, encode::totp_rebound(secret))
    }
}
