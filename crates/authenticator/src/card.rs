//! A challenge as a person sees it.

use std::time::Duration;

use prost::Message as _;
use statement::{ChallengeId, IntegrationId, MAX_NUMBER_LEN, SignedChallenge, Timestamp};
use wire::device as proto;

use crate::Account;
use crate::hello::Hello;
use crate::text::plain;

/// The fewest digits that a number may have; fewer would be guessed.
const MIN_DIGITS: u32 = 2;
/// The longest that a card is kept, whatever the server says: NIST 800-63B-4 §3.1.3.2 allows ten minutes.
const MAX_LIFE: Duration = Duration::from_secs(10 * 60);
/// How many details are shown, and how many characters of each text: what fits a small screen.
const MAX_DETAILS: usize = 16;
const MAX_TEXT: usize = 200;

/// Why a prompt wasn't shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptFault {
    /// No key that the server's identity vouches for signed it.
    #[error("not signed by a certified key")]
    Signature,
    /// It doesn't parse, or wants something that version 1 doesn't know.
    #[error("malformed")]
    Malformed,
    /// It is for another tenant or user.
    #[error("not for this account")]
    OtherAccount,
    /// More live cards than a person could mean to have.
    #[error("too many open prompts")]
    TooMany,
}

/// Why presence is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    fn from_wire(purpose: i32) -> Option<Self> {
        Some(match proto::Purpose::try_from(purpose).ok()? {
            proto::Purpose::SignIn => Self::SignIn,
            proto::Purpose::StepUp => Self::StepUp,
            proto::Purpose::Transaction => Self::Transaction,
            proto::Purpose::Enrolment => Self::Enrolment,
            proto::Purpose::Reset => Self::Reset,
            proto::Purpose::HelpDesk => Self::HelpDesk,
            proto::Purpose::Unspecified => return None,
        })
    }

    /// Its name in JSON.
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
}

/// Where a request came from, as far as anybody knows; empty texts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The browser's address, as the integration told it.
    pub address: String,
    /// The browser, in a word or two.
    pub browser: String,
    /// The place.
    pub place: String,
}

/// Text of the integration's client: show it as "NAME says".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What it is.
    pub label: String,
    /// What is said about it.
    pub value: String,
}

/// A challenge to show. All texts are safe to print; nothing here tells the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The challenge.
    pub challenge: ChallengeId,
    /// Who asks.
    pub integration: IntegrationId,
    /// Who asks, by name.
    pub integration_name: String,
    /// The address of the server that asks: where the account was enrolled, not where the sign-in happens.
    pub origin: String,
    /// Why.
    pub purpose: Purpose,
    /// Where from.
    pub context: Context,
    /// What the integration's client adds.
    pub details: Vec<Detail>,
    /// How many digits to type.
    pub digits: u8,
    /// Whether to ring.
    pub alert: bool,
    /// When it was made, by the server's clock: for showing only.
    pub created_at: Timestamp,
    /// When it ends, by the server's clock: for showing only.
    pub expires_at: Timestamp,
    /// When it ends, by this device's monotonic time.
    pub expires: Duration,
}

impl Card {
    /// How long it can still be answered.
    #[must_use]
    pub const fn remaining(&self, now: Duration) -> Duration {
        self.expires.saturating_sub(now)
    }

    /// Checks a prompt and reads it. The signature comes first: nothing unsigned is parsed.
    pub(crate) fn open(
        prompt: &proto::Prompt,
        hello: &Hello,
        account: &Account,
        now: Duration,
    ) -> Result<Self, PromptFault> {
        let key = hello.key(prompt.certificate).ok_or(PromptFault::Signature)?;
        SignedChallenge(&prompt.challenge)
            .verify(key, &prompt.signature)
            .map_err(|_| PromptFault::Signature)?;
        let challenge = proto::Challenge::decode(prompt.challenge.clone())
            .map_err(|_| PromptFault::Malformed)?;
        if challenge.tenant.as_ref() != account.tenant.as_bytes()
            || challenge.user_name != account.user
        {
            return Err(PromptFault::OtherAccount);
        }
        let remaining = Duration::from_millis(u64::from(prompt.remaining_ms)).min(MAX_LIFE);
        read(challenge, prompt.alert, now + remaining).ok_or(PromptFault::Malformed)
    }
}

fn read(challenge: proto::Challenge, alert: bool, expires: Duration) -> Option<Card> {
    let digits = challenge.digits;
    if !(MIN_DIGITS..=u32::try_from(MAX_NUMBER_LEN).unwrap_or(0)).contains(&digits) {
        return None;
    }
    let context = challenge.context.unwrap_or_default();
    let detail = |detail: &proto::Detail| Detail {
        label: plain(&detail.label, MAX_TEXT),
        value: plain(&detail.value, MAX_TEXT),
    };
    Some(Card {
        challenge: ChallengeId::from_slice(&challenge.id).ok()?,
        integration: IntegrationId::from_slice(&challenge.integration).ok()?,
        integration_name: plain(&challenge.integration_name, MAX_TEXT),
        origin: plain(&challenge.origin, MAX_TEXT),
        purpose: Purpose::from_wire(challenge.purpose)?,
        context: Context {
            address: plain(&context.address, MAX_TEXT),
            browser: plain(&context.browser, MAX_TEXT),
            place: plain(&context.place, MAX_TEXT),
        },
        details: challenge.details.iter().take(MAX_DETAILS).map(detail).collect(),
        digits: u8::try_from(digits).ok()?,
        alert,
        created_at: Timestamp::from_millis(challenge.created_ms),
        expires_at: Timestamp::from_millis(challenge.expires_ms),
        expires,
    })
}
