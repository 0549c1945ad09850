//! docs/event.schema.json: an event as JSON Schema (2020-12), from the type that is sent and the names that the
//! domain has.

use domain::audit::{Cause, Event};
use domain::challenge::{Decision, Mode};
use domain::guard::{AlertKind, Familiarity, Reason, Scope, Severity};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::openapi_json;

/// Said by the guard's lab alone: in the log these are events of their own.
const SAID_BY_THE_LAB: [Reason; 8] = [
    Reason::WithinBudget,
    Reason::BudgetSpent,
    Reason::FactorLocked,
    Reason::CodeWrong,
    Reason::NoSuchFactor,
    Reason::SameRequest,
    Reason::Noted,
    Reason::Released,
];

/// What events of a type never lack.
const NEVER_LACK: [(Event, &[&str]); 3] = [
    (
        Event::ChallengeCreated,
        &["challenge", "user", "integration", "mode", "purpose", "reasons", "guard"],
    ),
    (Event::ChallengeDecided, &["challenge", "user", "integration", "mode", "decision"]),
    (Event::Alert, &["alert"]),
];

/// Events whose cause is no name.
const CAUSED_FREELY: [Event; 3] =
    [Event::IntegrationCreated, Event::TokenKeyCreated, Event::WebhookSkipped];

const DESCRIPTION: &str = "An event of the sign-in log, as GET /v1/events, countersign events --json and the \
    data of a webhook's message hold it. docs/events.md says what each type means. Later versions may add types, \
    members and names: ignore what you don't know.";

/// The names of all variants: serde lists them when it is asked for one that isn't.
pub(crate) fn names<T: DeserializeOwned>() -> Vec<String> {
    let Err(error) = serde_json::from_value::<T>("?".into()) else { return Vec::new() };
    let error = error.to_string();
    error.split('`').skip(1).step_by(2).skip(1).map(str::to_owned).collect()
}

fn techniques() -> Vec<&'static str> {
    let mut all: Vec<_> = AlertKind::ALL.into_iter().filter_map(AlertKind::technique).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn event_schema() -> Value {
    let api: Value = serde_json::from_str(openapi_json()).unwrap();
    let mut defs = Map::new();
    collect(&api, "Event", &mut defs);
    let mut root = defs.remove("Event").unwrap();
    name_values(&mut root, &mut defs);
    let mut rules: Vec<Value> = NEVER_LACK
        .into_iter()
        .map(|(event, members)| {
            json!({
                "if": {"properties": {"type": {"const": event.name()}}},
                "then": {"required": members},
            })
        })
        .collect();
    rules.push(json!({
        "if": {"properties": {"type": {"enum": CAUSED_FREELY.map(Event::name)}}},
        "else": {"properties": {"cause": {"enum": names::<Cause>()}}},
    }));
    let more = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Countersign event",
        "description": DESCRIPTION,
        "allOf": rules,
        "$defs": defs,
    });
    root.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    root
}

/// Takes a schema of the API, and those that it refers to.
fn collect(api: &Value, name: &str, defs: &mut Map<String, Value>) {
    if defs.contains_key(name) {
        return;
    }
    let mut schema = api["components"]["schemas"][name].clone();
    let mut referred = Vec::new();
    adapt(&mut schema, &mut referred);
    defs.insert(name.to_owned(), schema);
    for other in referred {
        collect(api, &other, defs);
    }
}

/// Drops what only OpenAPI knows.
fn adapt(schema: &mut Value, referred: &mut Vec<String>) {
    let Value::Object(members) = schema else { return };
    if let Some(Value::String(to)) = members.get_mut("$ref") {
        let name = to.rsplit('/').next().unwrap().to_owned();
        *to = format!("#/$defs/{name}");
        referred.push(name);
    }
    // a property may have these names, too: its value is no text
    members.retain(|name, value| name != "example" || !value.is_string());
    members.retain(|name, value| name != "format" || !value.is_string() || value == "date-time");
    for value in members.values_mut() {
        adapt(value, referred);
    }
}

/// The names that a text can be, where the API says only that it is one: its clients stay open for more.
fn name_values(root: &mut Value, defs: &mut Map<String, Value>) {
    let reasons = names::<Reason>().into_iter().filter(|name| {
        let reason: Reason = serde_json::from_value(name.as_str().into()).unwrap();
        !SAID_BY_THE_LAB.contains(&reason)
    });
    let properties = &mut root["properties"];
    properties["type"]["enum"] = json!(names::<Event>());
    properties["mode"]["enum"] = json!(names::<Mode>());
    properties["reasons"]["items"]["enum"] = json!(reasons.collect::<Vec<_>>());
    // no event says that a challenge is pending
    let decision = properties["decision"].as_object_mut().unwrap();
    decision.remove("$ref");
    decision.insert("enum".to_owned(), json!(names::<Decision>()));
    let alert = &mut defs["Alert"]["properties"];
    alert["kind"]["enum"] = json!(names::<AlertKind>());
    alert["severity"]["enum"] = json!(names::<Severity>());
    alert["scope"]["enum"] = json!(names::<Scope>());
    alert["technique"]["enum"] = json!(techniques());
    let guard = &mut defs["Judgement"]["properties"];
    guard["familiarity"]["enum"] = json!(names::<Familiarity>());
    guard["level"]["maximum"] = json!(3);
    let shadow = &mut defs["Shadow"]["properties"];
    shadow["mode"]["enum"] = json!(names::<Mode>());
    shadow["level"]["maximum"] = json!(3);
    shadow["alerts"]["items"]["enum"] = json!(names::<AlertKind>());
    defs.remove("State");
}

mod tests {
    use wire::rest;

    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/event.schema.json");

    #[test]
    fn the_committed_schema_is_this_one() {
        let schema = event_schema();
        if std::env::var_os("COUNTERSIGN_WRITE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, format!("{schema:#}\n")).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            serde_json::from_str(&committed).ok() == Some(schema),
            "docs/event.schema.json is out of date: run COUNTERSIGN_WRITE_OPENAPI=1 cargo test -p edge-http"
        );
    }

    #[test]
    fn it_names_every_member_that_an_event_can_have_and_no_other() {
        let event = serde_json::to_value(full()).unwrap();
        same_members("event", &event, &event_schema(), &event_schema()["$defs"]);
    }

    fn same_members(at: &str, value: &Value, schema: &Value, defs: &Value) {
        let Value::Object(members) = value else { return };
        let schema = match schema["$ref"].as_str() {
            Some(to) => &defs[to.rsplit('/').next().unwrap()],
            None => schema,
        };
        let properties = schema["properties"].as_object().unwrap();
        let mut described: Vec<_> = properties.keys().collect();
        let mut there: Vec<_> = members.keys().collect();
        described.sort_unstable();
        there.sort_unstable();
        assert_eq!(described, there, "{at}");
        for (name, value) in members {
            same_members(name, value, &properties[name], defs);
        }
    }

    /// With everything that no event has all of.
    fn full() -> rest::Event {
        let text = || Some(String::new());
        let alert = rest::Alert {
            kind: String::new(),
            severity: String::new(),
            scope: String::new(),
            dedupe_key: String::new(),
            source: text(),
            window_s: Some(0),
            counts: Some(rest::AlertCounts {
                tries: Some(0),
                silent: Some(0),
                denied: Some(0),
                users: Some(0),
                timed_out: Some(0),
            }),
            technique: text(),
            next_step: String::new(),
        };
        let guard = rest::Judgement {
            familiarity: String::new(),
            level: 0,
            score: 0.0,
            origin: rest::OriginTags { cookie: Some(0), address: Some(0), network: Some(0) },
            session: Some(0),
            around: rest::Around::default(),
            first_factor: true,
            push: true,
            break_glass: true,
            ttl_s: 0,
        };
        let private = rest::EventPrivate {
            name: text(),
            address: text(),
            place: text(),
            country: text(),
            asn: Some(0),
            agent: text(),
            by: text(),
            reason: text(),
        };
        rest::Event {
            id: String::new(),
            at: String::new(),
            r#type: String::new(),
            challenge: text(),
            user: text(),
            integration: text(),
            device: text(),
            ticket: text(),
            mode: text(),
            purpose: Some(rest::Purpose::SignIn),
            decision: Some(rest::State::Approved),
            factor: Some(rest::Method::Push),
            alert: Some(alert),
            guard: Some(guard),
            told: Some(rest::Told { at: 0, spent: true, has_code: true }),
            shadow: Some(rest::Shadow {
                mode: text(),
                level: Some(0),
                withheld: Some(true),
                alerts: Some(Vec::new()),
                refused: Some(true),
            }),
            reasons: vec![String::new()],
            cause: text(),
            private: Some(private),
        }
    }
}
