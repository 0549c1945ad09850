//! What a message says: an event of the sign-in log, as docs/events.md shows it.

use std::time::Duration;

use app::EventView;
use bytes::Bytes;
use domain::challenge::Decision;
use serde_json::{Map, Value, json};
use statement::Timestamp;
use wire::rest;

use super::post::Message;

/// How far before an alert its link looks: what led to it happened within that, for the most part.
const LOOK_BACK: Duration = Duration::from_secs(60 * 60);

/// An event as a message. `tenant` is its organisation's name, where there are several.
pub(crate) fn message(event: &EventView, tenant: Option<&str>, public_url: &str) -> Message {
    let shown = edge_http::event(event.clone());
    let link = shown.alert.is_some().then(|| link(&shown, event.at, public_url));
    let mut data = match serde_json::to_value(&shown) {
        Ok(Value::Object(data)) => data,
        // it always is one
        _ => Map::new(),
    };
    // what receivers route by stands beside the type, not a level deeper
    if let Some(Value::Object(alert)) = data.get("alert").cloned() {
        data.extend(alert);
    }
    let more = [("link", link), ("tenant", tenant.map(str::to_owned))];
    data.extend(more.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))));
    Message { id: shown.id, body: envelope(&shown.r#type, event.at, data) }
}

/// How a challenge ended, as its integration may know it: no more than `GET /v1/challenges/{id}` tells, and the
/// same for challenges that never reached anybody.
pub(crate) fn decision(event: &EventView) -> Message {
    let public = &event.public;
    let mut data = Map::new();
    data.insert("id".to_owned(), json!(public.challenge.map(|id| id.to_string())));
    data.insert("state".to_owned(), json!(public.decision.map(Decision::name)));
    if let (Some(Decision::Approved), Some(factor)) = (public.decision, public.factor) {
        data.insert("factor".to_owned(), json!(factor.name()));
    }
    let kind = event.public.event.name();
    Message { id: event.id.to_string(), body: envelope(kind, event.at, data) }
}

/// Where the log of what led to an alert is, for a key that may read events.
fn link(shown: &rest::Event, at: Timestamp, public_url: &str) -> String {
    let since = rfc3339(at.minus(LOOK_BACK));
    let user = shown.user.as_ref().map(|user| format!("user={user}&")).unwrap_or_default();
    format!("{public_url}/v1/events?{user}since={since}")
}

/// A message that says only that messages arrive.
pub(crate) fn test(id: String, webhook: &str, now: Timestamp) -> Message {
    let mut data = Map::new();
    data.insert("webhook".to_owned(), json!(webhook));
    Message { id, body: envelope("test", now, data) }
}

/// The standard's recommended form: <https://www.standardwebhooks.com>.
fn envelope(kind: &str, at: Timestamp, data: Map<String, Value>) -> Bytes {
    json!({ "type": kind, "timestamp": rfc3339(at), "data": data }).to_string().into()
}

pub(crate) fn rfc3339(at: Timestamp) -> String {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.3}")
}
