//! What a message says: an event of the sign-in log, as docs/events.md shows it.

use app::EventView;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use statement::Timestamp;

use super::post::Message;

/// An event as a message. `tenant` is its organisation's name, where there are several.
pub(crate) fn message(event: &EventView, tenant: Option<&str>) -> Message {
    let id = event.id.to_string();
    let mut data = Map::new();
    data.insert("id".to_owned(), json!(id));
    data.insert("at".to_owned(), json!(rfc3339(event.at)));
    data.extend(tenant.map(|name| ("tenant".to_owned(), json!(name))));
    if let Ok(Value::Object(mut public)) = serde_json::to_value(&event.public) {
        // kind and severity are what receivers route by: beside the type, not a level deeper
        if let Some(Value::Object(alert)) = public.get("alert").cloned() {
            public.extend(alert);
        }
        data.extend(public);
    }
    if let Some(private) = event.private.as_ref().filter(|private| !private.is_empty()) {
        data.insert("private".to_owned(), json!(private));
    }
    Message { id, body: envelope(event.public.event.name(), event.at, data) }
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
