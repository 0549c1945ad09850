//! The bodies of the REST API for integrations, as docs/openapi.json describes them.
//!
//! Requests refuse unknown fields: a mistyped optional field would otherwise be a bound that silently isn't
//! there. Replies don't, so that old clients can read newer servers. What holds a secret is redacted in
//! `Debug`. Times are RFC 3339, UTC, with milliseconds.

mod guard;

mod events;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::events::{
    Alert, AlertCounts, Around, Event, EventPrivate, Judgement, OriginTags, Shadow, Told,
};

pub use guard::{Approve, ClearUser, ContainUser, Standing};

macro_rules! redacted {
    ($($name:ident),* $(,)?) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    )*};
}

/// A request to prove that a user is there.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateChallenge {
    /// Who is asked: an id, or `name:` and the name.
    #[schema(example = "name:alice")]
    pub user: String,
    /// Where the sign-in happens.
    pub context: BrowserContext,
    /// The first factor that you checked. Without one of the last ten minutes nothing rings and only push is
    /// offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub first_factor: Option<FirstFactor>,
    /// Why. Default: what the integration is registered for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub purpose: Option<Purpose>,
    /// The ways to pass. Default: all that are registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub methods: Option<Vec<Method>>,
    /// How many seconds it lives. Default: 90.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 30, maximum = 300)]
    pub ttl_s: Option<u32>,
    /// What the person should see, shown as "NAME says" and signed with the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 8)]
    pub details: Vec<Detail>,
    /// To have a hosted page show the number: where that page sends the browser back to, to the letter one of those
    /// that you registered. Redeem then asks for the `return_code` that comes back along.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 512, example = "https://app.example.org/signed-in")]
    pub return_url: Option<String>,
}

/// The browser that signs in.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrowserContext {
    /// Random, made by you, one per browser session; kept only hashed. Redeem asks for it again.
    #[schema(min_length = 22, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    pub browser_session: String,
    /// The browser's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "203.0.113.9")]
    pub ip: Option<String>,
    /// Its `User-Agent`, at most 2048 bytes; reduced to browser and system before anybody sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub user_agent: Option<String>,
    /// The device cookie that an earlier redeem gave this browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub device_cookie: Option<String>,
}

/// A first factor that was checked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstFactor {
    /// Which, in your words.
    #[schema(example = "password", min_length = 1, max_length = 64)]
    pub method: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

/// A line that the person sees on the device.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// What it is.
    #[schema(min_length = 1, max_length = 32)]
    pub label: String,
    /// What it says.
    #[schema(min_length = 1, max_length = 128)]
    pub value: String,
}

/// Why presence is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "domain::challenge::Purpose has the words")]
pub enum Purpose {
    SignIn,
    StepUp,
    Transaction,
    Enrolment,
    Reset,
    HelpDesk,
}

/// A way to pass a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "domain::challenge::Method has the words")]
pub enum Method {
    Push,
    Totp,
    RecoveryCode,
}

/// Where a challenge stands. All but `pending` are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "domain::challenge::Decision has the words")]
pub enum State {
    Pending,
    Approved,
    Denied,
    Reported,
    Mismatch,
    Expired,
    Cancelled,
    Superseded,
}

/// A challenge as its creator gets it: the only reply with the number.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedChallenge {
    /// Its id.
    #[schema(example = "chl_064jp1m1c4000vb5cqg1l6eiqk8tnm9jde6k1f8")]
    pub id: String,
    /// `pending`, unless it is the replay of one that was decided meanwhile.
    pub state: State,
    /// The number to show in the browser that asked, and nowhere else. `null` once decided.
    #[schema(required = true, example = "042917")]
    pub number: Option<String>,
    /// How many digits the number has.
    pub digits: u8,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// The ways to pass: those that were asked for and are registered. Never what the user has.
    pub methods: Vec<Method>,
    /// The page that shows the number, if you gave a `return_url`: lead the browser there. It belongs to the first browser
    /// that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub page_url: Option<String>,
}

/// A challenge as it stands. `approved` is not yet proof: redeem it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Challenge {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// What approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub factor: Option<Method>,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Whether its approval was redeemed.
    pub redeemed: bool,
    /// Whether its approval can no longer be redeemed: too late, or reported, revoked or reset meanwhile.
    pub lapsed: bool,
}

/// A code that the person typed into the sign-in page.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitCode {
    /// Six digits of an authenticator app, or a recovery code.
    pub code: String,
}

/// Collects an approval.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemChallenge {
    /// The browser session that the challenge was created with.
    #[schema(min_length = 22, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    pub browser_session: String,
    /// What the hosted page's form gave to `return_url`, if the challenge has such a page. A missing or wrong one counts
    /// as a wrong browser session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 43, max_length = 43)]
    pub return_code: Option<String>,
}

/// An approval, collected.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Redeemed {
    /// Signed proof: an ES256 JWT of type `countersign-receipt+jwt`, good for a minute and for your
    /// integration alone. Check it with `/.well-known/jwks.json`.
    pub receipt: String,
    /// For a cookie of this browser; send it with the next challenge.
    pub device_cookie: String,
}

/// A stretch of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub data: Vec<T>,
    /// `cursor` of the next page; `null` at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// What a user should be.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutUser {
    /// Whether they are for emergencies. Default: as it is; `false` for a new user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub break_glass: Option<bool>,
    /// How many seconds their sign-ins by OpenID Connect and Entra wait, for who needs more time to answer; where a
    /// first factor was checked. Default: as it is; 90 for a new user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 30, maximum = 300)]
    pub ttl_s: Option<u32>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Their id.
    #[schema(example = "usr_08g42g8s94m34hp0a2l8h6d0vo")]
    pub id: String,
    /// The name by which integrations know them.
    #[schema(example = "alice")]
    pub name: String,
    /// Whether they have any factor.
    pub enrolled: bool,
    /// The ways in which they could pass a challenge now.
    pub methods: Vec<Method>,
    /// Whether they are for emergencies: strangers never make their device ring, what they open themselves is
    /// never withheld, and each use is an alert.
    pub break_glass: bool,
    /// How many seconds their sign-ins by OpenID Connect and Entra wait, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ttl_s: Option<u32>,
    /// When they were made.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// A user in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedUser {
    /// Their id.
    pub id: String,
    /// Their name.
    pub name: String,
    /// Whether they are for emergencies.
    pub break_glass: bool,
    /// When they were made.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// What something waits for that was made while its user was under attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// It counts from `usable_from` on, or as soon as a second person agrees.
    Time,
    /// It doesn't count before a second person agrees.
    SecondApprover,
}

/// An enrolled authenticator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Its id.
    #[schema(example = "dev_08g42g8s94m34hp0a2l8h6d0vo")]
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// When it was enrolled.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was revoked, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub revoked_at: Option<String>,
    /// What it waits for; absent when it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waits_for: Option<WaitsFor>,
    /// When it works by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub usable_from: Option<String>,
}

/// A request for a ticket.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTicket {
    /// Why another device is needed; required for a user who has a factor, and audited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 200)]
    pub reason: Option<String>,
}

/// A permission to enrol one device, given out once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedTicket {
    /// Its id.
    #[schema(example = "tik_08g42g8s94m34hp0a2l8h6d0vo")]
    pub ticket: String,
    /// What the new device opens; the secret is in the fragment.
    pub link: String,
    /// What can be typed instead, together with the user's name.
    pub code: String,
    /// What a device that is enrolled by `code` shows: show it beside the code, because nothing else tells the
    /// person that the device speaks with the right server. The link holds it already.
    #[schema(example = "3f2a 90bc 11d4 7e65 a0c8 5b19 e7d2 4f36")]
    pub server_fingerprint: String,
    /// When it ends.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// What the device would wait for if it were enrolled now; absent if it would work at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waits_for: Option<WaitsFor>,
}

/// A ticket as whoever gave it out sees it.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// Its id.
    pub ticket: String,
    /// Where it stands.
    pub state: TicketState,
    /// The number to type on the new device, while it is claimed. One wrong try cancels the ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub number: Option<String>,
    /// What the device that claimed it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub device_name: Option<String>,
    /// When it ends, if nobody uses it.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Where a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "domain::ticket::TicketState has the words")]
pub enum TicketState {
    Open,
    Claimed,
    Used,
    Expired,
    Cancelled,
}

/// A request for a factor.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateFactor {
    /// `totp` or `recovery_code`; devices are enrolled with a ticket.
    pub r#type: Method,
}

/// A factor, given out once: `otpauth_uri` of a TOTP secret, or `codes`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedFactor {
    /// Its id.
    #[schema(example = "fac_08g42g8s94m34hp0a2l8h6d0vo")]
    pub factor: String,
    /// What authenticator apps scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub otpauth_uri: Option<String>,
    /// Codes to print, each good once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub codes: Option<Vec<String>>,
    /// What it waits for; absent when it works. Until then what the user had works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waits_for: Option<WaitsFor>,
    /// When it works by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub usable_from: Option<String>,
}

/// A factor that isn't a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Factor {
    /// Its id.
    pub factor: String,
    /// `totp` or `recovery_code`.
    pub r#type: Method,
    /// Of a TOTP secret: whether its cap of wrong codes is reached, so that it must be made anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub locked: Option<bool>,
    /// Of recovery codes: how many are unused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub left: Option<u32>,
    /// Of a TOTP secret: when it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub created_at: Option<String>,
    /// What it waits for; absent when it works. Until then the one before works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waits_for: Option<WaitsFor>,
    /// When it works by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub usable_from: Option<String>,
}

/// Removes all factors and devices.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetFactors {
    /// Why; required and audited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = true, nullable = false, max_length = 200)]
    pub reason: Option<String>,
}

/// A refusal (RFC 9457). Act on `code`; docs/problems.md explains each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Where it is explained.
    pub r#type: String,
    /// What it says to a person.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Its stable name.
    #[schema(example = "invalid_request")]
    pub code: String,
    /// More on this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub detail: Option<String>,
    /// The part of the request that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "context.browser_session")]
    pub field: Option<String>,
    /// The reply's `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub request_id: Option<String>,
}

redacted!(
    BrowserContext,
    CreatedChallenge,
    SubmitCode,
    RedeemChallenge,
    Redeemed,
    CreatedTicket,
    Ticket,
    CreatedFactor,
);
