//! The guard alone, on virtual time: anybody's traffic in, every decision out. One organisation, fresh at
//! start, no store, no device; the same rules as the service, called in the same order.

mod codes;
mod cookies;
mod engine;
mod ids;
mod names;

use crate::challenge::{Decision, Methods, Purpose};
use crate::guard::{Alert, EnrolmentDecision, LAST, Place, Reason};

pub use engine::Lab;

/// Longest life of a challenge here, in milliseconds (NIST 800-63B-4 §3.1.3.2 allows ten minutes).
pub const MAX_TTL_MS: u64 = 600_000;

/// The last time that is told apart from later ones, in milliseconds since the epoch: in the year 2105.
pub const MAX_T_MS: u64 = LAST as u64 * 1000 + 999;

/// Who asks, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user that is asked for.
    pub user: String,
    /// The integration that asks.
    pub integration: String,
    /// The browser session; one that is absent is unlike every other.
    pub session: Option<String>,
    /// Where the browser is.
    pub place: Place,
    /// The device cookie, verified already.
    pub cookie: Option<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the API")]
pub enum Op {
    /// A request for a challenge, with a first factor.
    Push { id: String, caller: Caller, purpose: Purpose, ttl_ms: u64 },
    /// How a challenge ended.
    Outcome { id: String, outcome: Decision },
    /// A TOTP code.
    Totp { id: String, for_challenge: Option<String>, caller: Caller, valid: bool },
    /// A recovery code.
    Recovery { id: String, for_challenge: Option<String>, caller: Caller, code_known: bool },
    /// The person opens the app.
    Pull { user: String },
    /// What a user has.
    User { user: String, factors: Methods, break_glass: bool },
    /// Somebody asks for a new device.
    Enrol { user: String },
    /// Somebody asks for a reset.
    Reset { user: String },
    /// An operator says that the attack is over.
    Clear { user: String, by: String },
    /// An operator contains a user.
    Contain { user: String, by: String },
    /// A crash and a restart.
    Restart,
}

/// What the guard says of an event.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "named as in the API")]
pub enum Said {
    /// Of a push, an outcome or a code.
    Judged(Judged),
    /// The challenges that the app shows.
    Pending(Vec<String>),
    /// Of an enrolment or reset.
    Enrolment { decision: EnrolmentDecision, wait_ms: u64, alerts: Vec<Raised> },
    /// Where a user stands now.
    Level { level: u8, score: f32 },
    /// Nothing to say.
    Nothing,
}

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Of which event.
    pub id: String,
    /// What.
    pub decision: Word,
    /// The open challenge that it is.
    pub into: Option<String>,
    /// How alarmed the guard is about the user.
    pub level: u8,
    /// The number behind the level.
    pub score: f32,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What security staff should see.
    pub alerts: Vec<Raised>,
}

/// A decision in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in the API")]
pub enum Word {
    Ring,
    Silent,
    Merge,
    Decoy,
    Release,
    Withhold,
    None,
    Accept,
    Reject,
    Refuse,
}

impl Word {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Silent => "silent",
            Self::Merge => "merge",
            Self::Decoy => "decoy",
            Self::Release => "release",
            Self::Withhold => "withhold",
            Self::None => "none",
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Refuse => "refuse",
        }
    }
}

/// An alert with whom or what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The alert.
    pub alert: Alert,
    /// The user, if it is about one.
    pub user: Option<String>,
    /// The address, network or integration, if it is about one.
    pub source: Option<String>,
}

/// An event that can't be; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each is")]
pub enum LabError {
    #[error("t: {t} is before {last}; time never goes back")]
    TimeGoesBack { t: u64, last: u64 },
    #[error("id: {0:?} was used before")]
    UsedBefore(String),
    #[error("ttl_ms: {0} is not from 1 to {MAX_TTL_MS}")]
    Ttl(u64),
    #[error("{0}: there is no challenge {1:?}")]
    Unknown(&'static str, String),
    #[error("for: challenge {0:?} is another user's")]
    Foreign(String),
    #[error("id: challenge {id:?} ended before, as {ended}")]
    Ended { id: String, ended: &'static str },
    #[error("id: challenge {0:?} is withheld already: a code approves it, or it ends otherwise")]
    Withheld(String),
    #[error("{0}: must have from 1 to 256 bytes")]
    Length(&'static str),
}

impl LabError {
    /// The field of the event that is wrong.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::TimeGoesBack { .. } => "t",
            Self::Ttl(_) => "ttl_ms",
            Self::UsedBefore(_) | Self::Ended { .. } | Self::Withheld(_) => "id",
            Self::Foreign(_) => "for",
            Self::Unknown(field, _) | Self::Length(field) => field,
        }
    }
}
