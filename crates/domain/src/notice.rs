//! What a person is told about their account beside challenges. It is kept until each of their devices has had it,
//! so that a phone that was off finds out too.

use statement::{DeviceId, Timestamp, UserId};

/// Notices that are kept of one kind for one user, the newest: whoever causes many of one kind can't push out
/// another kind.
pub const KEPT_PER_KIND: u32 = 8;

/// What notices are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each name says what happened")]
pub enum NoticeKind {
    DeviceEnrolled = 1,
    TicketCreated = 2,
    FactorReset = 3,
    RecoveryCodeUsed = 4,
    RepeatedFailures = 5,
    FactorCreated = 6,
    DeviceRevoked = 7,
    DeviceWaiting = 8,
    Digest = 9,
}

impl NoticeKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::DeviceEnrolled,
        Self::TicketCreated,
        Self::FactorReset,
        Self::RecoveryCodeUsed,
        Self::RepeatedFailures,
        Self::FactorCreated,
        Self::DeviceRevoked,
        Self::DeviceWaiting,
        Self::Digest,
    ];

    /// Its stored code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// From its stored code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A notice, as a device is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its place in the order of all that are kept; `None` for one that only whoever is connected is told.
    pub id: Option<u64>,
    /// About what.
    pub kind: NoticeKind,
    /// When it happened.
    pub at: Timestamp,
    /// One plain sentence, at most 200 characters.
    pub text: String,
}

/// A notice to be kept. It travels with the audit entry of what it tells, and is stored if and only if that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tell {
    /// Whose devices are told.
    pub user: UserId,
    /// Which device is not: the one that it is about.
    pub except: Option<DeviceId>,
    /// About what.
    pub kind: NoticeKind,
    /// One plain sentence, at most 200 characters.
    pub text: String,
}
