//! The sign-in log.

use app::{EventFilter, EventView};
use axum::extract::State;
use domain::audit::Event;
use http_limits::{Json, Problem, Query};
use ports::UserRef;
use serde::Deserialize;
use statement::IntegrationId;
use utoipa::IntoParams;
use wire::rest;

use crate::auth::{Allowed, EventsRead};
use crate::error::Refused;
use crate::{Rest, shapes};

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Of this type.
    #[param(example = "challenge_decided")]
    pub(crate) r#type: Option<String>,
    /// About this user: an id, or `name:` and the name.
    pub(crate) user: Option<String>,
    /// From this integration.
    pub(crate) integration: Option<String>,
    /// Not older than this: an RFC 3339 time.
    pub(crate) since: Option<String>,
    /// After this event: `next_cursor`, or the id of the last event that you have seen.
    pub(crate) cursor: Option<String>,
    /// At most so many. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u32>,
}

impl Which {
    /// What the app is asked for; who is named how differs between edges.
    pub(crate) fn filter(
        &self,
        user: Option<UserRef>,
        integration: Option<IntegrationId>,
    ) -> Result<EventFilter, Problem> {
        let event = self.r#type.as_deref().map(|name| {
            Event::from_name(name)
                .ok_or_else(|| Problem::invalid("type", "must be one of those in docs/events.md"))
        });
        let after = self.cursor.as_deref().map(|id| {
            id.parse()
                .map_err(|_| Problem::invalid("cursor", "must be a next_cursor, or an event's id"))
        });
        let since = self.since.as_deref();
        Ok(EventFilter {
            event: event.transpose()?,
            user,
            integration,
            since: since.map(|at| shapes::parse_time("since", at)).transpose()?,
            after: after.transpose()?,
            limit: shapes::limit(self.limit)?,
        })
    }
}

/// A page: as long as it is full, there may be another.
pub(crate) fn page(events: Vec<EventView>, limit: u32) -> rest::Page<rest::Event> {
    let last = events.last().map(|event| event.id.to_string());
    let next_cursor = last.filter(|_| events.len() >= limit as usize);
    rest::Page { data: events.into_iter().map(shapes::event).collect(), next_cursor }
}

/// The sign-in log, oldest first
///
/// For security staff: it shows what integrations aren't told, such as silent challenges, withheld answers and
/// decoys. To follow it, ask again with the id of the last event as `cursor`.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    params(Which),
    responses((status = 200, description = "A page of events", body = rest::Page<rest::Event>)),
    security(("key" = ["events:read"]))
)]
pub(crate) async fn list_events(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<EventsRead>,
    Query(which): Query<Which>,
) -> Result<Json<rest::Page<rest::Event>>, Refused> {
    let user = which.user.as_deref().map(shapes::user_ref).transpose()?;
    let integration = which.integration.as_deref().map(|id| {
        id.parse().map_err(|_| Problem::invalid("integration", "must be an integration's id"))
    });
    let filter = which.filter(user, integration.transpose()?)?;
    let limit = filter.limit;
    let events = state.app.events(caller.tenant(), filter).await?;
    Ok(Json(page(events, limit)))
}

#[cfg(test)]
mod tests {
    use domain::audit::Cause;
    use domain::guard::{AlertKind, Reason, Severity};

    use super::*;
    use crate::event_schema::names;

    #[test]
    fn every_event_is_documented_and_nothing_else_is() {
        let docs = include_str!("../../../docs/events.md");
        let documented: Vec<&str> = docs
            .lines()
            .filter_map(|line| line.strip_prefix("## ")?.strip_prefix('`')?.strip_suffix('`'))
            .collect();
        let known: Vec<&str> = Event::ALL.iter().map(|event| event.name()).collect();
        assert_eq!(documented, known);
    }

    /// The rows of a table of docs/events.md, by the names in their first cells.
    fn table(title: &str) -> Vec<(&'static str, Vec<&'static str>)> {
        let docs = include_str!("../../../docs/events.md");
        let (_, section) = docs.split_once(&format!("\n## {title}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let cells = |line: &'static str| {
            let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((name, cells.collect()))
        };
        section.lines().filter_map(cells).collect()
    }

    #[test]
    fn every_kind_of_alert_is_documented_with_its_technique_and_next_step() {
        let documented = table("Alerts");
        let names: Vec<&str> = documented.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, AlertKind::ALL.map(AlertKind::name));
        let severities = [Severity::Low, Severity::Medium, Severity::High].map(Severity::name);
        for ((name, cells), kind) in documented.into_iter().zip(AlertKind::ALL) {
            let [_, severity, _, technique, next_step] = cells[..] else { panic!("{name}") };
            assert!(severities.iter().any(|known| severity.contains(known)), "{name}");
            assert_eq!(technique, kind.technique().unwrap_or("-"), "{name}");
            assert_eq!(next_step, kind.next_step(), "{name}");
        }
    }

    #[test]
    fn every_reason_is_documented_with_its_clause() {
        let documented = table("Reasons");
        for (name, cells) in &documented {
            let reason: Reason = serde_json::from_value((*name).into()).unwrap();
            assert_eq!(cells[..], [reason.clause()], "{name}");
        }
        let documented: Vec<&str> = documented.iter().map(|(name, _)| *name).collect();
        assert_eq!(documented, names::<Reason>());
    }

    #[test]
    fn every_cause_is_documented() {
        let docs = include_str!("../../../docs/events.md");
        for name in names::<Cause>() {
            assert!(docs.contains(&format!("`{name}`")), "{name}");
            let cause: Cause = serde_json::from_value(name.as_str().into()).unwrap();
            assert_eq!(cause.name(), name);
        }
    }
}
