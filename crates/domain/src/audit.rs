//! What the audit says: one entry per change, written in the change's own transaction.

use serde::{Deserialize, Serialize};
use statement::{ChallengeId, DeviceId, IntegrationId, TenantId, TicketId, Timestamp, UserId};

use crate::challenge::{Decision, Method, Methods, Mode, Purpose};
use crate::guard::{
    Alert, AlertKind, Around, Evidence, Facts, Familiarity, Origin, Reason, Scope, Seconds, Tag,
    source_name,
};
use crate::notice::{NoticeKind, Tell};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each name says what happened; docs/events.md describes them")]
pub enum Event {
    ChallengeCreated,
    ChallengeDecided,
    ChallengeRedeemed,
    ChallengeLapsed,
    AnswerRefused,
    LoginRefused,
    AnswerWithheld,
    LateReport,
    TimeOutForgiven,
    RedeemRefused,
    CodeFailed,
    Alert,
    TicketCreated,
    TicketClaimed,
    TicketCancelled,
    DeviceEnrolled,
    DeviceWaiting,
    WaitHeld,
    DeviceApproved,
    DeviceRevoked,
    FactorCreated,
    FactorApproved,
    ResetRequested,
    BreakGlassRequested,
    FactorReset,
    FactorLocked,
    UserCreated,
    UserChanged,
    UserContained,
    UserCleared,
    TenantCreated,
    IntegrationCreated,
    KeyCreated,
    KeyRevoked,
    TokenKeyCreated,
    UserLinked,
    UserUnlinked,
    WebhookSkipped,
}

impl Event {
    /// All events.
    pub const ALL: [Self; 38] = [
        Self::ChallengeCreated,
        Self::ChallengeDecided,
        Self::ChallengeRedeemed,
        Self::ChallengeLapsed,
        Self::AnswerRefused,
        Self::LoginRefused,
        Self::AnswerWithheld,
        Self::LateReport,
        Self::TimeOutForgiven,
        Self::RedeemRefused,
        Self::CodeFailed,
        Self::Alert,
        Self::TicketCreated,
        Self::TicketClaimed,
        Self::TicketCancelled,
        Self::DeviceEnrolled,
        Self::DeviceWaiting,
        Self::WaitHeld,
        Self::DeviceApproved,
        Self::DeviceRevoked,
        Self::FactorCreated,
        Self::FactorApproved,
        Self::ResetRequested,
        Self::BreakGlassRequested,
        Self::FactorReset,
        Self::FactorLocked,
        Self::UserCreated,
        Self::UserChanged,
        Self::UserContained,
        Self::UserCleared,
        Self::TenantCreated,
        Self::IntegrationCreated,
        Self::KeyCreated,
        Self::KeyRevoked,
        Self::TokenKeyCreated,
        Self::UserLinked,
        Self::UserUnlinked,
        Self::WebhookSkipped,
    ];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChallengeCreated => "challenge_created",
            Self::ChallengeDecided => "challenge_decided",
            Self::ChallengeRedeemed => "challenge_redeemed",
            Self::ChallengeLapsed => "challenge_lapsed",
            Self::AnswerRefused => "answer_refused",
            Self::LoginRefused => "login_refused",
            Self::AnswerWithheld => "answer_withheld",
            Self::LateReport => "late_report",
            Self::TimeOutForgiven => "time_out_forgiven",
            Self::RedeemRefused => "redeem_refused",
            Self::CodeFailed => "code_failed",
            Self::Alert => "alert",
            Self::TicketCreated => "ticket_created",
            Self::TicketClaimed => "ticket_claimed",
            Self::TicketCancelled => "ticket_cancelled",
            Self::DeviceEnrolled => "device_enrolled",
            Self::DeviceWaiting => "device_waiting",
            Self::WaitHeld => "wait_held",
            Self::DeviceApproved => "device_approved",
            Self::DeviceRevoked => "device_revoked",
            Self::FactorCreated => "factor_created",
            Self::FactorApproved => "factor_approved",
            Self::ResetRequested => "reset_requested",
            Self::BreakGlassRequested => "break_glass_requested",
            Self::FactorReset => "factor_reset",
            Self::FactorLocked => "factor_locked",
            Self::UserCreated => "user_created",
            Self::UserChanged => "user_changed",
            Self::UserContained => "user_contained",
            Self::UserCleared => "user_cleared",
            Self::TenantCreated => "tenant_created",
            Self::IntegrationCreated => "integration_created",
            Self::KeyCreated => "key_created",
            Self::KeyRevoked => "key_revoked",
            Self::TokenKeyCreated => "token_key_created",
            Self::UserLinked => "user_linked",
            Self::UserUnlinked => "user_unlinked",
            Self::WebhookSkipped => "webhook_skipped",
        }
    }

    /// From its name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

/// Why, in one word. docs/events.md says which events carry which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The signature doesn't match.
    Forged,
    /// A challenge of somebody else, or none.
    Foreign,
    /// The device was revoked.
    Revoked,
    /// The device doesn't count yet.
    Waiting,
    /// Another browser session.
    WrongSession,
    /// Not the number that the new device's owner sees.
    WrongNumber,
    /// Not the code.
    Wrong,
    /// A right code that had been used.
    UsedBefore,
    /// A recovery code that the user doesn't have.
    UnknownCode,
    /// No such code is compared any more.
    BudgetSpent,
    /// Too many tries of a ticket's code.
    CodeTries,
    /// Too many tries for good.
    HardCap,
    /// The person reported it.
    Reported,
    /// The user's level was raised when the wait was over.
    Raised,
    /// It counts after a while.
    Time,
    /// It counts when somebody else agrees.
    SecondApprover,
    /// For emergencies.
    BreakGlass,
    /// For emergencies no longer.
    NoBreakGlass,
    /// Their hosted sign-ins wait for another time.
    Ttl,
    /// A user code was drawn.
    UserCode,
    /// There is no user code any more.
    NoUserCode,
    /// Whoever asked chose the number.
    NumberByClient,
    /// Whoever asked chose a number that another open request of the user has.
    NumberTaken,
}

impl Cause {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Foreign => "foreign",
            Self::Revoked => "revoked",
            Self::Waiting => "waiting",
            Self::WrongSession => "wrong_session",
            Self::WrongNumber => "wrong_number",
            Self::Wrong => "wrong",
            Self::UsedBefore => "used_before",
            Self::UnknownCode => "unknown_code",
            Self::BudgetSpent => "budget_spent",
            Self::CodeTries => "code_tries",
            Self::HardCap => "hard_cap",
            Self::Reported => "reported",
            Self::Raised => "raised",
            Self::Time => "time",
            Self::SecondApprover => "second_approver",
            Self::BreakGlass => "break_glass",
            Self::NoBreakGlass => "no_break_glass",
            Self::Ttl => "ttl",
            Self::UserCode => "user_code",
            Self::NoUserCode => "no_user_code",
            Self::NumberByClient => "number_by_client",
            Self::NumberTaken => "number_taken",
        }
    }
}

impl From<Cause> for String {
    fn from(cause: Cause) -> Self {
        cause.name().to_owned()
    }
}

/// The chained part: opaque ids and reasons, nothing that names a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "ids by the name of their kind; docs/events.md describes the rest")]
pub struct Public {
    #[serde(rename = "type")]
    pub event: Event,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration: Option<IntegrationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<Method>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<Alert>,
    /// What the alert stood on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// What the guard stood on, and where the user stood after it: enough to judge again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Judgement>,
    /// What the guard was told of a challenge that was open, or of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// What the shadow policy would have done, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// A [`Cause`]; of new integrations, token keys and events that a webhook passed over, what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What the guard stood on. Tags are keyed hashes: they tell places apart and name none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Where the request came from.
    pub origin: Origin,
    /// How familiar that was.
    pub familiarity: Familiarity,
    /// What was known beyond the user.
    #[serde(default, skip_serializing_if = "Around::is_calm")]
    pub around: Around,
    /// How alarmed the guard was.
    pub level: u8,
    /// The number behind the level.
    pub score: f32,
    /// Whether a first factor was vouched for.
    pub first_factor: bool,
    /// How long the challenge lives, in seconds.
    pub ttl_s: u32,
    /// Which browser session asked, as a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Tag>,
    /// Whether push was offered.
    #[serde(default)]
    pub push: bool,
    /// Whether the user was for emergencies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

impl Judgement {
    /// What the guard was told of a request that was judged so.
    #[must_use]
    pub fn facts(&self, purpose: Purpose, enrolled: bool) -> Facts {
        Facts {
            enrolled,
            first_factor: self.first_factor,
            methods: if self.push { Methods::PUSH } else { Methods::default() },
            purpose,
            origin: self.origin,
            session: self.session,
            break_glass: self.break_glass,
            around: self.around,
        }
    }
}

/// What the guard was told after a challenge was opened, as it was told: enough to tell it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When, by the clock of who told it.
    pub at: Seconds,
    /// Whether the budget of such codes was spent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spent: bool,
    /// Whether the user had a code that works.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_code: bool,
    /// Where what was reported came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Told {
    /// At this second.
    #[must_use]
    pub const fn at(at: Seconds) -> Self {
        Self { at, spent: false, has_code: false, origin: None }
    }
}

/// What a shadow policy would have done. It judges by the sums that the live one has added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// How the challenge would have reached its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How alarmed it would have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// Whether it would have withheld a right answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<bool>,
    /// What it would have alerted of, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Vec<AlertKind>>,
    /// Whether it would not have compared a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<bool>,
}

/// The erasable part: what names a person or their place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named after what they hold")]
pub struct Private {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Where the address is, in words, as devices showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The ISO 3166-1 code of its country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The number of its autonomous system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Who did it: an integration's key hint, or the operator's user id on the admin socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason that a person gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Private {
    /// Whether there is anything to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One audit entry, before its place in a lane is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Whose.
    pub tenant: TenantId,
    /// The chained part.
    pub public: Public,
    /// The erasable part.
    pub private: Private,
    /// What the user's devices are told of it.
    pub tell: Option<Tell>,
}

impl Entry {
    /// An entry that says only that `event` happened.
    #[must_use]
    pub fn new(tenant: TenantId, event: Event) -> Self {
        let public = Public {
            event,
            challenge: None,
            user: None,
            integration: None,
            device: None,
            ticket: None,
            mode: None,
            purpose: None,
            decision: None,
            factor: None,
            alert: None,
            evidence: None,
            reasons: Vec::new(),
            guard: None,
            told: None,
            shadow: None,
            cause: None,
        };
        Self { tenant, public, private: Private::default(), tell: None }
    }

    /// With a change to the chained part.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Public)) -> Self {
        change(&mut self.public);
        self
    }

    /// With a change to the erasable part.
    #[must_use]
    pub fn privately(mut self, change: impl FnOnce(&mut Private)) -> Self {
        change(&mut self.private);
        self
    }

    /// With a notice to the devices of `user`.
    #[must_use]
    pub fn telling(mut self, user: UserId, kind: NoticeKind, text: impl Into<String>) -> Self {
        self.tell = Some(Tell { user, except: None, kind, text: text.into() });
        self
    }

    /// With a notice to the devices of `user`, but for the one that it is about.
    #[must_use]
    pub fn telling_others(
        self,
        user: UserId,
        device: DeviceId,
        kind: NoticeKind,
        text: impl Into<String>,
    ) -> Self {
        let text = text.into();
        Self { tell: Some(Tell { user, except: Some(device), kind, text }), ..self }
    }
}

impl Alert {
    /// What is the same for alerts about the same thing on the same day (UTC), and differs for all others: kind,
    /// severity, so that what gets worse is told again, and whom or what it is about.
    #[must_use]
    pub fn dedupe_key(&self, tenant: TenantId, public: &Public, at: Timestamp) -> String {
        let about = match self.scope {
            Scope::User => public.user.map(|user| user.to_string()),
            Scope::Integration => public.integration.map(|id| id.to_string()),
            Scope::Address | Scope::Network => {
                public.evidence.and_then(|evidence| evidence.source).map(source_name)
            }
            Scope::Organisation => None,
        };
        let scope = self.scope.name();
        let about = about.map_or_else(|| tenant.to_string(), |about| format!("{tenant}:{about}"));
        let (kind, severity, day) = (self.kind.name(), self.severity.name(), at.seconds() / 86_400);
        format!("{kind}:{severity}:{scope}:{about}:{day}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::guard::Severity;

    /// A bug once gave all sprays of a day one key, over all tenants, and an escalation that of what it grew from.
    #[test]
    fn alerts_about_different_things_have_different_keys() {
        let mut keys = HashSet::new();
        let at = Timestamp::from_millis(1_800_000_000_000);
        let mut made = 0;
        for tenant in [1, 2].map(|n| TenantId::from_bytes([n; TenantId::LEN])) {
            for (scope, source) in [
                (Scope::Address, Some(1)),
                (Scope::Address, Some(2)),
                (Scope::Network, Some(1)),
                (Scope::Organisation, None),
                (Scope::User, None),
                (Scope::Integration, None),
            ] {
                for severity in [Severity::Medium, Severity::High] {
                    let alert = Alert { kind: AlertKind::Spray, severity, scope };
                    let mut entry = Entry::new(tenant, Event::Alert);
                    entry.public.user = Some(UserId::from_bytes([3; UserId::LEN]));
                    entry.public.integration =
                        Some(IntegrationId::from_bytes([4; IntegrationId::LEN]));
                    entry.public.evidence = Some(Evidence { source, ..Evidence::default() });
                    for at in [at, at.plus(std::time::Duration::from_secs(86_400))] {
                        let key = alert.dedupe_key(tenant, &entry.public, at);
                        assert_eq!(key, alert.dedupe_key(tenant, &entry.public, at));
                        keys.insert(key);
                        made += 1;
                    }
                }
            }
        }
        assert_eq!(keys.len(), made, "{keys:?}");
    }
}
