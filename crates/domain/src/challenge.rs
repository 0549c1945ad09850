//! One request to a user to prove presence, and its life: pending, then exactly one decision for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statement::{ChallengeId, DeviceId, FactorId, IntegrationId, TenantId, Timestamp, UserId};

use crate::cookie::CookieId;
use crate::guard::Familiarity;

/// Shortest life of a challenge.
pub const MIN_TTL: Duration = Duration::from_secs(30);
/// Longest life of a challenge: for people who need time to read and type; NIST 800-63B-4 §3.1.3.2 allows 600 s.
pub const MAX_TTL: Duration = Duration::from_secs(300);
/// Life of a challenge unless asked otherwise.
pub const DEFAULT_TTL: Duration = Duration::from_secs(90);
/// How long an approval waits to be redeemed.
pub const COLLECT_WINDOW: Duration = Duration::from_secs(60);
/// Redeem tries with a wrong browser session, after which the approval lapses.
pub const MAX_WRONG_SESSIONS: u8 = 5;

/// Why presence is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To sign in.
    SignIn,
    /// To do something that needs more assurance.
    StepUp,
    /// To confirm a transaction that the details describe.
    Transaction,
    /// To enrol another authenticator.
    Enrolment,
    /// To reset a credential.
    Reset,
    /// To prove to a help desk who is calling.
    HelpDesk,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 6] = [
        Self::SignIn,
        Self::StepUp,
        Self::Transaction,
        Self::Enrolment,
        Self::Reset,
        Self::HelpDesk,
    ];

    /// What every integration may ask for. The others let somebody in by another door, so an integration has
    /// them only if it was registered with them.
    pub const EVERYDAY: [Self; 3] = [Self::SignIn, Self::StepUp, Self::Transaction];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::StepUp => "step_up",
            Self::Transaction => "transaction",
            Self::Enrolment => "enrolment",
            Self::Reset => "reset",
            Self::HelpDesk => "help_desk",
        }
    }

    /// From its name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// A way to pass a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The number, typed into an enrolled authenticator.
    Push,
    /// A time-based code (RFC 6238).
    Totp,
    /// A printed single-use code.
    RecoveryCode,
}

impl Method {
    /// All methods, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Push, Self::Totp, Self::RecoveryCode];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
        }
    }

    /// From its name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A set of methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Methods(u8);

impl Methods {
    /// Every method.
    pub const ALL: Self = Self(0b111);
    /// Push alone.
    pub const PUSH: Self = Self(0b001);

    const fn bit(method: Method) -> u8 {
        1 << method as u8
    }

    /// With `method` added.
    #[must_use]
    pub const fn with(self, method: Method) -> Self {
        Self(self.0 | Self::bit(method))
    }

    /// Those in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `method` is in the set.
    #[must_use]
    pub const fn has(self, method: Method) -> bool {
        self.0 & Self::bit(method) != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As a bit mask, for storing and hashing.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From a stored bit mask; unknown bits are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The methods in their listed order.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.has(*method))
    }
}

impl FromIterator<Method> for Methods {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        methods.into_iter().fold(Self::default(), Self::with)
    }
}

/// How a challenge reaches its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The device alerts.
    Ring,
    /// It exists, and is seen by opening the app.
    Silent,
    /// Same shape for the caller; nobody can approve it by push.
    Decoy,
}

/// One request to a user. Made once, then only its [`State`] moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Its id.
    pub id: ChallengeId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Who asked.
    pub integration: IntegrationId,
    /// Who is asked: a user, or the stand-in of an unknown name.
    pub user: UserId,
    /// SHA-256 of the integration's browser session.
    pub session: [u8; 32],
    /// Hash of what was asked for: purpose, details, methods, presence of a first factor. The same session
    /// asking for the same thing is given the same challenge.
    pub request: [u8; 32],
    /// Why.
    pub purpose: Purpose,
    /// The ways to pass it.
    pub methods: Methods,
    /// How many digits its number has.
    pub digits: u8,
    /// How it reaches its user.
    pub mode: Mode,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// The number, sealed (AAD: tenant, challenge).
    pub number: Vec<u8>,
    /// The signed challenge bytes that devices receive.
    pub document: Vec<u8>,
    /// The signature over the document.
    pub signature: Vec<u8>,
    /// Number of the key that signed.
    pub signing_key: u32,
    /// Whether the caller vouched for a first factor; without one nothing rings.
    pub first_factor: bool,
    /// The valid device cookie that came with it: what makes its context familiar.
    pub cookie: Option<CookieId>,
    /// How familiar the place was that it came from.
    pub familiarity: Familiarity,
    /// Whether its browser comes back from a hosted page: to redeem it then takes what only that page gives.
    pub returns: bool,
}

impl Challenge {
    /// Whether its context is known to be the user's own.
    #[must_use]
    pub fn is_familiar(&self) -> bool {
        self.familiarity.is_known()
    }

    /// Whether a person can answer it on a device.
    #[must_use]
    pub fn reaches_devices(&self) -> bool {
        self.mode != Mode::Decoy && self.methods.has(Method::Push)
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_past(&self, now: Timestamp) -> bool {
        now >= self.expires
    }
}

/// How a challenge ended. Exactly one per challenge, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Decision {
    /// The right number from an enrolled device, or a right code.
    Approved = 1,
    /// The person declined.
    Denied = 2,
    /// The person says that it wasn't them.
    Reported = 3,
    /// A wrong number.
    Mismatch = 4,
    /// Nobody answered in time.
    Expired = 5,
    /// The caller took it back, or nothing was left that could answer it.
    Cancelled = 6,
    /// The same browser session asked for something else.
    Superseded = 7,
}

impl Decision {
    /// All decisions, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Approved,
        Self::Denied,
        Self::Reported,
        Self::Mismatch,
        Self::Expired,
        Self::Cancelled,
        Self::Superseded,
    ];

    /// Its stored code, 1 to 7.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// From its stored code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|decision| decision.code() == code)
    }

    /// Its name in the API.
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

/// What passed a challenge, or ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// An answer of this device.
    Push(DeviceId),
    /// A code of this TOTP factor.
    Totp(FactorId),
    /// A recovery code of this factor.
    RecoveryCode(FactorId),
    /// A right answer that was withheld, of this device, and then a code of this TOTP factor.
    Both(DeviceId, FactorId),
    /// A right answer that was withheld, of this device, and then a recovery code of this factor.
    BothByRecoveryCode(DeviceId, FactorId),
}

impl Proof {
    /// The method that it belongs to.
    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Push(_) => Method::Push,
            Self::Totp(_) | Self::Both(..) => Method::Totp,
            Self::RecoveryCode(_) | Self::BothByRecoveryCode(..) => Method::RecoveryCode,
        }
    }

    /// The device whose answer it is, or is part of it: what it approved lapses with it.
    #[must_use]
    pub const fn device(self) -> Option<DeviceId> {
        match self {
            Self::Push(device) | Self::Both(device, _) | Self::BothByRecoveryCode(device, _) => {
                Some(device)
            }
            Self::Totp(_) | Self::RecoveryCode(_) => None,
        }
    }

    /// What is left of a code with a withheld answer if the answer's device doesn't count any more.
    #[must_use]
    pub const fn alone(self) -> Option<Self> {
        match self {
            Self::Both(_, factor) => Some(Self::Totp(factor)),
            Self::BothByRecoveryCode(_, factor) => Some(Self::RecoveryCode(factor)),
            Self::Push(_) | Self::Totp(_) | Self::RecoveryCode(_) => None,
        }
    }
}

/// Whether an approval can still be redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collect {
    /// Yes, once.
    Open,
    /// It was.
    Redeemed,
    /// No longer: too late, reported, revoked or reset meanwhile, or asked for by wrong sessions.
    Lapsed,
}

/// Where a challenge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has been decided.
    Pending,
    /// Decided, for ever.
    Decided(Decided),
}

/// A decision with what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// How it ended.
    pub decision: Decision,
    /// When, by the ledger's clock.
    pub at: Timestamp,
    /// By what; `None` where nobody answered.
    pub proof: Option<Proof>,
    /// Whether it can still be redeemed; meaningful for approvals.
    pub collect: Collect,
}

impl State {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Decided(decided) => decided.decision.name(),
        }
    }
}

impl Decided {
    /// Whether an approval that nobody redeemed is past its window.
    #[must_use]
    pub fn window_closed(&self, now: Timestamp) -> bool {
        now >= self.at.plus(COLLECT_WINDOW)
    }
}
