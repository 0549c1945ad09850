//! What an alert stood on: counts, as they were known at that moment.

use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::decay::Seconds;
use super::memory::{DAY_S, Memory};
use super::origin::SourceKey;
use super::policy::Policy;

/// What was counted. What isn't counted for such an alert is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Requests and wrong codes from places that aren't the user's, fading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
    /// Silent challenges that the person hasn't been told of yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<u32>,
    /// One if the person denied or reported something from elsewhere within a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<u32>,
    /// Users who were asked and didn't answer, fading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// Rings from known places that timed out, fading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timed_out: Option<u32>,
}

/// What an alert stood on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The address or network that it is about, as a keyed hash: the same one reads the same.
    #[serde(default, with = "hex", skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceKey>,
    /// What fades counts half after so many seconds.
    pub window_s: Seconds,
    /// What was counted.
    pub counts: Counts,
}

/// An alert with what it stood on.
pub type Raised = (Alert, Evidence);

impl Evidence {
    /// Of a fading sum.
    pub(super) fn fading(window_s: f32, counts: Counts) -> Self {
        Self { source: None, window_s: Policy::seconds(window_s), counts }
    }
}

/// A fading sum as a count.
pub(super) fn count(sum: f32) -> Option<u32> {
    Some(Policy::seconds(sum.round()))
}

impl Memory {
    /// What an alert about the user stands on that is raised now.
    #[must_use]
    pub fn evidence(&self, policy: &Policy, now: Seconds) -> Evidence {
        let counts = Counts {
            tries: count(self.tries()),
            silent: Some(self.silent.into()),
            denied: Some(self.denied_within(DAY_S, now).into()),
            ..Counts::default()
        };
        Evidence::fading(policy.tries_half_life_s, counts)
    }

    /// Alerts about the user, with what they stand on.
    #[must_use]
    pub fn grounded(&self, policy: &Policy, alerts: Vec<Alert>, now: Seconds) -> Vec<Raised> {
        let evidence = self.evidence(policy, now);
        alerts.into_iter().map(|alert| (alert, evidence)).collect()
    }
}

/// Sixteen hexadecimal digits: JSON's numbers don't hold so many bits everywhere.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use super::SourceKey;

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(
        key: &Option<SourceKey>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match key {
            Some(key) => to.serialize_str(&super::source_name(*key)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SourceKey>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| SourceKey::from_str_radix(&text, 16).map_err(de::Error::custom)).transpose()
    }
}

/// A source as the log names it.
#[must_use]
pub fn source_name(key: SourceKey) -> String {
    format!("{key:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_reads_as_it_was_written() {
        let counts = Counts { users: Some(7), ..Counts::default() };
        let evidence = Evidence { source: Some(u64::MAX - 1), window_s: 7200, counts };
        let json = serde_json::to_string(&evidence).unwrap();
        assert_eq!(json, r#"{"source":"fffffffffffffffe","window_s":7200,"counts":{"users":7}}"#);
        assert_eq!(serde_json::from_str::<Evidence>(&json).unwrap(), evidence);
        let bare = r#"{"window_s":900,"counts":{}}"#;
        let read: Evidence = serde_json::from_str(bare).unwrap();
        assert_eq!((read.source, read.counts), (None, Counts::default()));
        assert_eq!(serde_json::to_string(&read).unwrap(), bare);
    }
}
