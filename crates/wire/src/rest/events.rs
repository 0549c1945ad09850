//! The sign-in log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Method, Purpose, State};

/// What an alert stood on, as it was known when it was raised. What isn't counted for such an alert is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertCounts {
    /// Requests and wrong codes from places that aren't the user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tries: Option<u32>,
    /// Silent challenges that the person hasn't been told of yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub silent: Option<u32>,
    /// One if the person denied or reported something from elsewhere within a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub denied: Option<u32>,
    /// Users who were asked and didn't answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub users: Option<u32>,
    /// Rings from known places that timed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub timed_out: Option<u32>,
}

/// Something that security staff should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// What it is about, such as `bombing`, `spray` or `code_guessing`; docs/events.md has all.
    #[schema(example = "bombing")]
    pub kind: String,
    /// `low`, `medium` or `high`.
    #[schema(example = "medium")]
    pub severity: String,
    /// About whom: `user`, `address`, `network`, `integration` or `organisation`.
    #[schema(example = "user")]
    pub scope: String,
    /// Alerts with the same key are about the same thing, and as urgent.
    pub dedupe_key: String,
    /// The address or network that it is about, as a keyed hash: the same one reads the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub source: Option<String>,
    /// What counts fade over: something so many seconds ago counts half.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub window_s: Option<u32>,
    /// What was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub counts: Option<AlertCounts>,
    /// The MITRE ATT&CK technique.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "T1621")]
    pub technique: Option<String>,
    /// What to do next.
    pub next_step: String,
}

/// What the guard stood on when a challenge was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Judgement {
    /// How familiar the place was: `nowhere`, `unknown`, `near`, `known` or `own`.
    #[schema(example = "known")]
    pub familiarity: String,
    /// How alarmed the guard was: 0 calm, 1 silent elsewhere, 2 alerted, 3 confirmed.
    pub level: u8,
    /// The number behind the level.
    pub score: f32,
    /// Where the request came from.
    pub origin: OriginTags,
    /// The browser session, as a tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Int64)]
    pub session: Option<u32>,
    /// What was known beyond the user.
    pub around: Around,
    /// Whether a first factor was vouched for.
    pub first_factor: bool,
    /// Whether push was offered.
    pub push: bool,
    /// Whether the user was for emergencies.
    pub break_glass: bool,
    /// How long the challenge lives, in seconds.
    pub ttl_s: u32,
}

/// A place as the guard tells it from others: short keyed hashes, which name none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OriginTags {
    /// Of the valid device cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Int64)]
    pub cookie: Option<u32>,
    /// Of the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Int64)]
    pub address: Option<u32>,
    /// Of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Int64)]
    pub network: Option<u32>,
}

/// What was known beyond the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Around {
    /// The address asked many users without success.
    pub address_hot: bool,
    /// The network did.
    pub network_hot: bool,
    /// Many users were asked from unknown places without success.
    pub organisation_hot: bool,
    /// Prompts timed out everywhere.
    pub outage: bool,
}

/// What the guard was told after a challenge was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// When, in seconds since the epoch.
    #[schema(format = Int64)]
    pub at: u32,
    /// Whether the budget of such codes was spent.
    pub spent: bool,
    /// Whether the user had a code that works.
    pub has_code: bool,
}

/// What the shadow policy would have done, where that is something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shadow {
    /// How the challenge would have reached its user: `ring`, `silent` or `decoy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub mode: Option<String>,
    /// How alarmed it would have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub level: Option<u8>,
    /// Whether it would have withheld a right answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub withheld: Option<bool>,
    /// The kinds of alerts that it would have raised, where those are others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub alerts: Option<Vec<String>>,
    /// Whether it would not have compared a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refused: Option<bool>,
}

/// An event of the sign-in log. docs/events.md describes the types and what each carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "ids by the name of their kind")]
pub struct Event {
    /// Its id, which is also a cursor: `cursor` takes the last one that you have seen.
    pub id: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// What happened.
    #[schema(example = "challenge_decided")]
    pub r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub challenge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub integration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ticket: Option<String>,
    /// How the challenge reached its user: `ring`, `silent` or `decoy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub purpose: Option<Purpose>,
    /// How the challenge ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub decision: Option<State>,
    /// The factor that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub factor: Option<Method>,
    /// What security staff should look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub alert: Option<Alert>,
    /// What the guard stood on when the challenge was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub guard: Option<Judgement>,
    /// What the guard was told after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub told: Option<Told>,
    /// What the shadow policy would have done, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub shadow: Option<Shadow>,
    /// Why the challenge rang, or didn't, or a right answer was withheld.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Why, in one word; of new integrations, token keys and events that a webhook passed over, what they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cause: Option<String>,
    /// What names a person or their place; absent once erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub private: Option<EventPrivate>,
}

/// The erasable part of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventPrivate {
    /// The user's, or the thing's, name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// The browser's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub address: Option<String>,
    /// Where it is, as devices showed it: "Berlin, Germany"; "registered in Germany" where nobody knows more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub place: Option<String>,
    /// The ISO 3166-1 code of its country.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub country: Option<String>,
    /// The number of its autonomous system, where the operator mounted a table of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub asn: Option<u32>,
    /// Browser and system.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent: Option<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub by: Option<String>,
    /// The reason that they gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}
