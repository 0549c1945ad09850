//! What security staff should see.

use serde::{Deserialize, Serialize};

use crate::challenge::Mode;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Somebody who seems to know a person's password keeps asking them to approve.
    Bombing,
    /// One address, one network or a whole campaign asks many people.
    Spray,
    /// Codes are being guessed.
    CodeGuessing,
    /// A stranger signs in at the same moment as the person.
    ConcurrentLogin,
    /// A client asks again and again although nobody answers.
    IntegrationLoop,
    /// Most sign-ins of one integration fail, though not elsewhere.
    IntegrationFailures,
    /// Prompts stopped being answered everywhere at once.
    PushOutage,
    /// A device or factor was asked for while the user was under attack.
    EnrolmentUnderAttack,
    /// A break-glass user was used.
    BreakGlass,
    /// A device counter went back: the key may have been copied.
    ClonedKey,
    /// The person reported a sign-in that was through already.
    ReportedLate,
}

impl AlertKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Bombing,
        Self::Spray,
        Self::CodeGuessing,
        Self::ConcurrentLogin,
        Self::IntegrationLoop,
        Self::IntegrationFailures,
        Self::PushOutage,
        Self::EnrolmentUnderAttack,
        Self::BreakGlass,
        Self::ClonedKey,
        Self::ReportedLate,
    ];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bombing => "bombing",
            Self::Spray => "spray",
            Self::CodeGuessing => "code_guessing",
            Self::ConcurrentLogin => "concurrent_login",
            Self::IntegrationLoop => "integration_loop",
            Self::IntegrationFailures => "integration_failures",
            Self::PushOutage => "push_outage",
            Self::EnrolmentUnderAttack => "enrolment_under_attack",
            Self::BreakGlass => "break_glass",
            Self::ClonedKey => "cloned_key",
            Self::ReportedLate => "reported_late",
        }
    }

    /// The MITRE ATT&CK technique that it is a sign of, if any.
    #[must_use]
    pub const fn technique(self) -> Option<&'static str> {
        match self {
            Self::Bombing | Self::Spray | Self::ConcurrentLogin | Self::ReportedLate => {
                Some("T1621")
            }
            Self::CodeGuessing => Some("T1110.001"),
            Self::EnrolmentUnderAttack => Some("T1098.005"),
            Self::BreakGlass => Some("T1078"),
            Self::ClonedKey => Some("T1552.004"),
            Self::IntegrationLoop | Self::IntegrationFailures | Self::PushOutage => None,
        }
    }

    /// What to do next, in one sentence.
    #[must_use]
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::Bombing => {
                "Ask the person by another channel whether it was them; if not, change their \
                 password and end their sessions."
            }
            Self::Spray => {
                "Treat the passwords of the users who were asked as known; block the source at the \
                 first factor."
            }
            Self::CodeGuessing => {
                "Change the person's password: whoever guesses codes has passed the first factor."
            }
            Self::ConcurrentLogin => {
                "Ask the person whether both sign-ins were theirs; look for a phishing page."
            }
            Self::IntegrationLoop => {
                "Find the client that retries by itself and stop or update its saved password."
            }
            Self::IntegrationFailures => {
                "Look at the integration: it may be misconfigured, or its key may be used by \
                 somebody else."
            }
            Self::PushOutage => "Check that devices can reach this server.",
            Self::EnrolmentUnderAttack => {
                "Confirm with the person that they asked for it before it takes effect."
            }
            Self::BreakGlass => "Confirm who used the break-glass user and why.",
            Self::ClonedKey => "Revoke the device and enrol it anew.",
            Self::ReportedLate => {
                "End the person's sessions at the integration and change their password."
            }
        }
    }
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To know, some day.
    Low,
    /// To look at today.
    Medium,
    /// To act on now.
    High,
}

impl Severity {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Where an alert about many users points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One user.
    User,
    /// One address.
    Address,
    /// One network.
    Network,
    /// One integration.
    Integration,
    /// The whole organisation.
    Organisation,
}

impl Scope {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Address => "address",
            Self::Network => "network",
            Self::Integration => "integration",
            Self::Organisation => "organisation",
        }
    }
}

/// Something that security staff should see. Raised once when it begins, not for each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alert {
    /// About what.
    pub kind: AlertKind,
    /// How urgent.
    pub severity: Severity,
    /// About whom or what.
    pub scope: Scope,
}

/// Whether the use of a break-glass user is told when it is asked for. If not, it is told when it passes: what
/// nobody vouched for a first factor of would be told for whoever types the name.
#[must_use]
pub const fn told_when_asked(first_factor: bool, mode: Mode) -> bool {
    first_factor && !matches!(mode, Mode::Decoy)
}

impl Alert {
    /// That a break-glass user was used.
    pub const BREAK_GLASS: Self = Self::user(AlertKind::BreakGlass, Severity::High);

    /// An alert about one user.
    #[must_use]
    pub const fn user(kind: AlertKind, severity: Severity) -> Self {
        Self { kind, severity, scope: Scope::User }
    }
}
