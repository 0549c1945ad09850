//! Who there is: tenants, integrations, users, their devices and factors.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statement::{DeviceId, FactorId, IntegrationId, PublicKey, TenantId, Timestamp, UserId};

use crate::challenge::{Method, Methods, Purpose};
use crate::cookie::CookieId;
use crate::protocol::Protocol;

/// Longest name of a user, integration, tenant or device, in characters.
pub const MAX_NAME: usize = 64;
/// Most devices of a user at once: one person's phones and desktops.
pub const MAX_DEVICES: usize = 5;

/// A name that can be stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`MAX_NAME`].
    #[error("must have at most 64 characters")]
    TooLong,
    /// Holds a control or formatting character.
    #[error("must not hold control characters")]
    Control,
}

/// Trims and checks a name. Control characters and the bidirectional overrides, which could make a prompt
/// lie, are refused.
///
/// # Errors
/// [`NameError`].
pub fn name(text: &str) -> Result<String, NameError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.chars().count() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    if !text.chars().all(is_plain) {
        return Err(NameError::Control);
    }
    Ok(text.to_owned())
}

/// Whether a character may be shown in a prompt: none that controls, breaks lines, reorders what stands beside
/// it (Unicode `Bidi_Control`) or can't be seen. Devices drop the same ones.
#[must_use]
pub fn is_plain(c: char) -> bool {
    let is_unseen = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    );
    !c.is_control() && !is_unseen
}

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name; `default` exists from the start.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
}

/// What an API key may do beside asking for challenges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Ask for challenges; the default, and the only default.
    Challenges,
    /// See users.
    UsersRead,
    /// Change users and enrol devices.
    UsersWrite,
    /// Read the sign-in log: shows silent, withheld and decoys.
    EventsRead,
    /// Contain a user, and say that an attack is over.
    GuardWrite,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 5] =
        [Self::Challenges, Self::UsersRead, Self::UsersWrite, Self::EventsRead, Self::GuardWrite];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Challenges => "challenges",
            Self::UsersRead => "users:read",
            Self::UsersWrite => "users:write",
            Self::EventsRead => "events:read",
            Self::GuardWrite => "guard:write",
        }
    }

    /// From its name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A relying party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// Whose.
    pub tenant: TenantId,
    /// What prompts call it.
    pub name: String,
    /// How it speaks to this server.
    pub protocol: Protocol,
    /// Why it may ask, beside [`Purpose::EVERYDAY`]; the first is meant unless it says otherwise.
    pub purposes: Vec<Purpose>,
    /// The ways to pass that it allows.
    pub methods: Methods,
    /// What its keys may do.
    pub scopes: Vec<Scope>,
    /// Whether it always verifies a first factor before it asks.
    pub verifies_first_factor: bool,
    /// Whether it is told who exists instead of getting decoys.
    pub reveal_users: bool,
    /// When it was registered.
    pub created: Timestamp,
}

impl Integration {
    /// What it asks for unless it says otherwise: a sign-in, if nothing was registered.
    #[must_use]
    pub fn default_purpose(&self) -> Purpose {
        self.purposes.first().copied().unwrap_or(Purpose::SignIn)
    }

    /// Whether it may ask for `purpose`.
    #[must_use]
    pub fn may_ask(&self, purpose: Purpose) -> bool {
        Purpose::EVERYDAY.contains(&purpose) || self.purposes.contains(&purpose)
    }
}

/// A secret by which an integration proves itself; only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// SHA-256 of the key: 256 random bits need no slow hash.
    pub hash: [u8; 32],
    /// Whose.
    pub integration: IntegrationId,
    /// The first characters, to tell keys apart.
    pub hint: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it works.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Whose.
    pub tenant: TenantId,
    /// The name by which integrations know them.
    pub name: String,
    /// Raised by a report, revocation or reset: ends all older device cookies.
    pub epoch: u32,
    /// Whether they are for emergencies: never rung by strangers, never refused, each use an alert.
    pub break_glass: bool,
    /// How long their hosted sign-ins wait, for who needs more time; the default if absent.
    pub ttl: Option<Duration>,
    /// When their factors were last reset.
    pub reset: Option<Timestamp>,
    /// When they were made.
    pub created: Timestamp,
}

/// Why a device or factor doesn't count yet: it was made while its user was under attack. Its end is stored:
/// whoever holds one waits, whatever the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When it ends by itself; `None`: not before somebody else agrees.
    pub until: Option<Timestamp>,
    /// Who made what waits, and can't be the one who agrees.
    pub by: String,
}

impl Wait {
    /// Whether its time has come.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// An enrolled authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Whose.
    pub tenant: TenantId,
    /// Whose.
    pub user: UserId,
    /// What it calls itself.
    pub name: String,
    /// Its public key; the private one never leaves the device.
    pub key: PublicKey,
    /// When it was enrolled.
    pub created: Timestamp,
    /// When it was revoked. Kept for ever: what was ever bound stays known (NIST 800-63B-4 §4.1).
    pub revoked: Option<Timestamp>,
    /// Why it doesn't count yet: it is shown nothing, and its answers are refused.
    pub wait: Option<Wait>,
}

/// A user's TOTP secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpFactor {
    /// Its id.
    pub id: FactorId,
    /// The secret, sealed (AAD: tenant, user, factor).
    pub secret: Vec<u8>,
    /// The last step that was accepted.
    pub last_step: u64,
    /// Whether the cap was reached: dead until bound anew.
    pub locked: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// One stored recovery code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCode {
    /// Its public id.
    pub id: [u8; 5],
    /// The set it belongs to.
    pub factor: FactorId,
    /// Salt of the hash.
    pub salt: [u8; crate::recovery::SALT_LEN],
    /// Argon2id over the peppered secret.
    pub hash: [u8; 32],
    /// Whether it was used.
    pub used: bool,
}

/// A TOTP secret or a set of recovery codes that will take the place of those before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingFactor {
    /// Its id.
    pub factor: FactorId,
    /// Which of the two.
    pub method: Method,
    /// Why it doesn't count yet.
    pub wait: Wait,
}

/// What takes a second person while a user is under attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesTwo {
    /// Removing all their factors and devices.
    Reset,
    /// Making them a user for emergencies, from whom no right answer is withheld.
    BreakGlass,
}

/// What somebody asked for that takes a second person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondRequest {
    /// When it was asked for.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// What.
    pub what: TakesTwo,
}

/// A user with everything that bears on a sign-in: one joined read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// The person.
    pub user: User,
    /// Their devices, revoked ones included.
    pub devices: Vec<Device>,
    /// Their TOTP secret.
    pub totp: Option<TotpFactor>,
    /// Their recovery codes.
    pub recovery: Vec<StoredCode>,
    /// What will take their place; at most one of each kind.
    pub waiting: Vec<WaitingFactor>,
    /// The last reset that was asked for and not done.
    pub second_request: Option<SecondRequest>,
    /// Device cookies that were killed one by one.
    pub killed_cookies: Vec<CookieId>,
}

impl UserRecord {
    /// The devices that were not revoked, whether or not they count yet.
    pub fn enrolled_devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.revoked.is_none())
    }

    /// The devices that can answer.
    pub fn active_devices(&self) -> impl Iterator<Item = &Device> {
        self.enrolled_devices().filter(|device| device.wait.is_none())
    }

    /// Whether anything has waited long enough.
    #[must_use]
    pub fn has_waited(&self, now: Timestamp) -> bool {
        self.waits().any(|wait| wait.is_over(now))
    }

    /// Whether something waits for time.
    #[must_use]
    pub fn waits_for_time(&self) -> bool {
        self.waits().any(|wait| wait.until.is_some())
    }

    fn waits(&self) -> impl Iterator<Item = &Wait> {
        let devices = self.enrolled_devices().filter_map(|device| device.wait.as_ref());
        devices.chain(self.waiting.iter().map(|factor| &factor.wait))
    }

    /// Whether there is or was something that the user could lose to whoever gets a new factor: anything
    /// enrolled, recovery codes that were used up, or devices that were revoked one by one. Only a reset makes a user
    /// new again.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        let since_reset = |at: Timestamp| self.user.reset.is_none_or(|reset| at > reset);
        let had_codes = !self.recovery.is_empty();
        let had_device = self.devices.iter().filter_map(|d| d.revoked).any(since_reset);
        self.is_enrolled() || had_codes || had_device
    }

    /// The ways in which this user could pass a challenge.
    #[must_use]
    pub fn methods(&self) -> Methods {
        let has = [
            (Method::Push, self.active_devices().next().is_some()),
            (Method::Totp, self.totp.as_ref().is_some_and(|totp| !totp.locked)),
            (Method::RecoveryCode, self.recovery.iter().any(|code| !code.used)),
        ];
        has.into_iter().filter(|(_, has)| *has).map(|(method, _)| method).collect()
    }

    /// Whether this user has any factor, working or not: a factor that is locked or waits doesn't make them new
    /// again.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        !self.methods().is_empty()
            || self.totp.is_some()
            || !self.waiting.is_empty()
            || self.enrolled_devices().next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reorders_or_hides_is_not_plain() {
        for bad in
            "\0\n\u{1b}\u{85}\u{ad}\u{61c}\u{180e}\u{200b}\u{200e}\u{202e}\u{2066}\u{feff}\u{e0041}"
                .chars()
        {
            assert!(!is_plain(bad), "{bad:?}");
            assert_eq!(name(&format!("a{bad}b")), Err(NameError::Control), "{bad:?}");
        }
        for good in ["Zürich", "東京", "العربية", "🙂", "a b-c_d@e.f"] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
    }
}
